"""The request of OpenAI's Chat Completions, field by field: the one table of what each is and what happens to it.

Every field of https://platform.openai.com/docs/api-reference/chat/create stands here:

- *honoured*: it shapes the answer;
- *no effect*: accepted and not looked at, as it does not shape the answer;
- *refused*: Claude has nothing for it; only null and the neutral values named are accepted, anything else is a 400
  (unless the setting `unsupported_parameters` is `ignore`).

Fields that are not here are ignored. `docs/openai-chat.md` holds the same table, compared by a test.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

Treatment = Literal["honoured", "no effect", "refused"]


def honoured(note: str) -> Meta:
    return _row("honoured", note)


def no_effect(note: str = "") -> Meta:
    return _row("no effect", note)


def refused(*neutral: str, note: str = "") -> Meta:
    """`neutral` as JSON: unlike 0 and False, their texts differ for the cache that `typing` keeps of annotations."""
    return _row("refused", note, neutral)


def _row(treatment: Treatment, note: str, neutral: tuple[str, ...] = ()) -> Meta:
    return Meta(description=note or None, extra={"treatment": treatment, "note": note, "neutral": neutral})


Anything = Raw | UnsetType
"""A value that is kept as its bytes: what is not used is not built."""

# --- messages -------------------------------------------------------------------------------------------


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class ImageUrl(msgspec.Struct):
    url: str


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    """Known, so that it can be refused by name."""


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    """Known, so that it can be refused by name."""


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    content: str | list[TextPart]


class DeveloperMessage(SystemMessage, tag_field="role", tag="developer"):
    """The newer name of the same."""


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    content: str | list[TextPart | ImagePart | AudioPart | FilePart]


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    tool_calls: Annotated[Anything, refused("[]")] = UNSET
    function_call: Annotated[Anything, refused()] = UNSET
    audio: Annotated[Anything, refused()] = UNSET


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """Known, so that it can be refused by name."""


class FunctionMessage(msgspec.Struct, tag_field="role", tag="function"):
    """Known, so that it can be refused by name."""


Part = TextPart | ImagePart | RefusalPart | AudioPart | FilePart
Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage

# --- everything else ------------------------------------------------------------------------------------


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


StopSequence = Annotated[str, Meta(min_length=1)]
TokenLimit = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Request(msgspec.Struct):
    messages: Annotated[list[Message], Meta(min_length=1), honoured("See *Messages*.")]
    model: Annotated[str, Meta(min_length=1, max_length=256), honoured("A name from `/v1/models`, or an alias.")]

    max_completion_tokens: Annotated[TokenLimit | None, honoured("At least 1; beats `max_tokens`.")] = None
    max_tokens: Annotated[TokenLimit | None, honoured("At least 1.")] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        honoured("0 to 2; Claude knows 0 to 1, so that anything above 1 counts as 1."),
    ] = None
    top_p: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, honoured("0 to 1.")] = None
    stop: Annotated[
        StopSequence | Annotated[list[StopSequence], Meta(max_length=4)] | None,
        honoured("One text or up to four. Claude takes none that is only whitespace: refused."),
    ] = None
    stream: Annotated[bool | None, honoured("")] = None
    stream_options: Annotated[StreamOptions | None, honoured("`include_usage`; only with `stream`.")] = None
    user: Annotated[
        Annotated[str, Meta(max_length=1024)] | None,
        honoured("Keeps the conversations of one API key apart by person. Never stored, never sent as it is."),
    ] = None

    metadata: Annotated[Anything, no_effect("Nothing is stored.")] = UNSET
    parallel_tool_calls: Annotated[Anything, no_effect("There are no tools.")] = UNSET
    prediction: Annotated[Anything, no_effect("It would only save time.")] = UNSET
    prompt_cache_key: Annotated[Anything, no_effect("Claude Code sees to caching.")] = UNSET
    prompt_cache_options: Annotated[Anything, no_effect("Claude Code sees to caching.")] = UNSET
    prompt_cache_retention: Annotated[Anything, no_effect("Claude Code sees to caching.")] = UNSET
    safety_identifier: Annotated[Anything, no_effect("Neither stored nor sent on.")] = UNSET
    service_tier: Annotated[Anything, no_effect("The account decides.")] = UNSET

    audio: Annotated[Anything, refused()] = UNSET
    frequency_penalty: Annotated[Anything, refused("0")] = UNSET
    function_call: Annotated[Anything, refused('"none"', '"auto"')] = UNSET
    functions: Annotated[Anything, refused("[]")] = UNSET
    logit_bias: Annotated[Anything, refused("{}")] = UNSET
    logprobs: Annotated[Anything, refused("false")] = UNSET
    modalities: Annotated[Anything, refused('["text"]')] = UNSET
    moderation: Annotated[Anything, refused()] = UNSET
    n: Annotated[Anything, refused("1")] = UNSET
    presence_penalty: Annotated[Anything, refused("0")] = UNSET
    reasoning_effort: Annotated[Anything, refused('"none"')] = UNSET
    response_format: Annotated[Anything, refused('{"type": "text"}')] = UNSET
    seed: Annotated[Anything, refused(note="Claude's answers cannot be made to repeat.")] = UNSET
    store: Annotated[Anything, refused("false", note="Nothing is stored.")] = UNSET
    tool_choice: Annotated[Anything, refused('"none"', '"auto"')] = UNSET
    tools: Annotated[Anything, refused("[]")] = UNSET
    top_logprobs: Annotated[Anything, refused("0")] = UNSET
    verbosity: Annotated[Anything, refused('"medium"')] = UNSET
    web_search_options: Annotated[Anything, refused()] = UNSET


class Row(msgspec.Struct, frozen=True):
    """One row of the table. `neutral` are the values beside null that a refused field may have."""

    name: str
    treatment: Treatment
    note: str
    neutral: tuple[str, ...]

    def accepts(self, value: Anything) -> bool:
        """Whether the value asks for nothing."""
        if value is UNSET:
            return True
        encoded = bytes(value)
        if len(encoded) > 64:  # a neutral value is short; what is long need not be built to be refused
            return False
        try:
            given = msgspec.json.decode(encoded)
        except (msgspec.DecodeError, UnicodeDecodeError):  # what was skipped is not wholly checked
            return False
        return given is None or any(
            given == neutral and isinstance(given, bool) == isinstance(neutral, bool)
            for neutral in map(msgspec.json.decode, self.neutral)
        )


def rows(struct: type[msgspec.Struct]) -> tuple[Row, ...]:
    """The table of a struct's fields, for those that say what happens to them."""
    kinds = msgspec.inspect.type_info(struct)
    if not isinstance(kinds, msgspec.inspect.StructType):
        raise TypeError(f"{struct.__name__} is no struct")
    return tuple(
        Row(field.encode_name, **field.type.extra)
        for field in kinds.fields
        if isinstance(field.type, msgspec.inspect.Metadata) and field.type.extra
    )


REFUSED = {
    struct: tuple(row for row in rows(struct) if row.treatment == "refused") for struct in (Request, AssistantMessage)
}


def unsupported_field(value: Request | AssistantMessage) -> Row | None:
    """The first refused field that asks for something."""
    return next((row for row in REFUSED[type(value)] if not row.accepts(getattr(value, row.name))), None)
