"""The request of OpenAI's Chat Completions, field by field: the one table of what each is and what happens to it.

Every field of https://platform.openai.com/docs/api-reference/chat/create stands here:

- *honoured*: it shapes the answer;
- *no effect*: accepted and not looked at, as it does not shape the answer;
- *refused*: Claude has nothing for it; only null and the neutral values named are accepted, anything else is a 400
  (unless the setting `unsupported_parameters` is `ignore`).

Fields that are not here are ignored. `docs/openai-chat.md` holds the same table, compared by a test.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from claude_code_api.dialects.openai_chat.treatment import Anything, Row, honoured, no_effect, refused, rows

# A `$` alone would also match before a line end; `\Z`, which does not, is unknown to other readers of a JSON schema.
Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$(?!\n)")]
CallId = Annotated[str, Meta(max_length=1024)]

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


class File(msgspec.Struct):
    """`file_data` is a data: URL or base64 alone; `file_id` is known, so that it can be refused by name."""

    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    file: File


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    content: str | list[TextPart]


class DeveloperMessage(SystemMessage, tag_field="role", tag="developer"):
    """The newer name of the same."""


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    content: str | list[TextPart | ImagePart | AudioPart | FilePart]


class FunctionCall(msgspec.Struct):
    """`arguments` is the text of a JSON object."""

    name: Name
    arguments: str


class FunctionToolCall(msgspec.Struct, tag_field="type", tag="function"):
    id: CallId
    function: FunctionCall


class CustomToolCall(msgspec.Struct, tag_field="type", tag="custom"):
    """Known, so that it can be refused by name."""


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    tool_calls: list[FunctionToolCall | CustomToolCall] | None = None
    function_call: FunctionCall | None = None
    audio: Annotated[Anything, refused()] = UNSET


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    content: str | list[TextPart | ImagePart | AudioPart | FilePart] | None
    tool_call_id: CallId


class FunctionMessage(msgspec.Struct, tag_field="role", tag="function"):
    """The older form of the same, of the time when an answer held one call at most."""

    content: str | list[TextPart | ImagePart | AudioPart | FilePart] | None
    name: str


Part = TextPart | ImagePart | RefusalPart | AudioPart | FilePart
Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage

# --- tools ----------------------------------------------------------------------------------------------


class Function(msgspec.Struct):
    """`strict` is taken and not looked at: Claude Code offers tools without it."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function"):
    function: Function


class CustomTool(msgspec.Struct, tag_field="type", tag="custom"):
    """Known, so that it can be refused by name."""


class NamedFunction(msgspec.Struct):
    name: str


class FunctionChoice(msgspec.Struct, tag_field="type", tag="function"):
    function: NamedFunction


class CustomChoice(msgspec.Struct, tag_field="type", tag="custom"):
    """Known, so that it can be refused by name."""


class AllowedToolsChoice(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """Known, so that it can be refused by name."""


# --- the answer's form ----------------------------------------------------------------------------------


class TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    """What an answer is anyway."""


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    pass


class NamedSchema(msgspec.Struct):
    name: Name
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    json_schema: NamedSchema


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

    tools: Annotated[
        Annotated[list[FunctionTool | CustomTool], Meta(max_length=128)] | None,
        honoured("Up to 128 of the type `function`. See *Tools*."),
    ] = None
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | FunctionChoice | CustomChoice | AllowedToolsChoice | None,
        honoured('`"none"`, `"auto"`, `"required"`, or one of the `tools` by name.'),
    ] = None
    parallel_tool_calls: Annotated[bool | None, honoured("`false`: one call in an answer at most.")] = None
    functions: Annotated[
        Annotated[list[Function], Meta(max_length=128)] | None,
        honoured("The older form of `tools`, with one call in an answer at most; not together with them."),
    ] = None
    function_call: Annotated[
        Literal["none", "auto"] | NamedFunction | None,
        honoured("The older form of `tool_choice`."),
    ] = None
    response_format: Annotated[
        TextFormat | JsonObjectFormat | JsonSchemaFormat | None,
        honoured("`text`, `json_object` or `json_schema`. See *Structured outputs*."),
    ] = None
    reasoning_effort: Annotated[
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None,
        honoured("Asks for thinking, and shows it. See *Thinking*."),
    ] = None

    metadata: Annotated[Anything, no_effect("Nothing is stored.")] = UNSET
    prediction: Annotated[Anything, no_effect("It would only save time.")] = UNSET
    prompt_cache_key: Annotated[Anything, no_effect("Claude Code sees to caching.")] = UNSET
    prompt_cache_options: Annotated[Anything, no_effect("Claude Code sees to caching.")] = UNSET
    prompt_cache_retention: Annotated[Anything, no_effect("Claude Code sees to caching.")] = UNSET
    safety_identifier: Annotated[Anything, no_effect("Neither stored nor sent on.")] = UNSET
    service_tier: Annotated[Anything, no_effect("The account decides.")] = UNSET

    audio: Annotated[Anything, refused()] = UNSET
    frequency_penalty: Annotated[Anything, refused("0")] = UNSET
    logit_bias: Annotated[Anything, refused("{}")] = UNSET
    logprobs: Annotated[Anything, refused("false")] = UNSET
    modalities: Annotated[Anything, refused('["text"]')] = UNSET
    moderation: Annotated[Anything, refused()] = UNSET
    n: Annotated[Anything, refused("1")] = UNSET
    presence_penalty: Annotated[Anything, refused("0")] = UNSET
    seed: Annotated[Anything, refused(note="Claude's answers cannot be made to repeat.")] = UNSET
    store: Annotated[Anything, refused("false", note="Nothing is stored.")] = UNSET
    top_logprobs: Annotated[Anything, refused("0")] = UNSET
    verbosity: Annotated[Anything, refused('"medium"')] = UNSET
    web_search_options: Annotated[Anything, refused()] = UNSET


REFUSED = {
    struct: tuple(row for row in rows(struct) if row.treatment == "refused") for struct in (Request, AssistantMessage)
}


def unsupported_field(value: Request | AssistantMessage) -> Row | None:
    """The first refused field that asks for something."""
    return next((row for row in REFUSED[type(value)] if not row.accepts(getattr(value, row.name))), None)
