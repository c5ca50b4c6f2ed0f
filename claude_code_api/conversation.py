"""The value that everything else speaks: a conversation, and the events that answer it.

Blocks, roles and stop reasons follow Anthropic's Messages API, the only shape rich enough for all dialects
(https://docs.anthropic.com/en/api/messages). Nothing here knows a wire format, a key or a process.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

# --- a conversation -------------------------------------------------------------------------------------


class Text(msgspec.Struct, frozen=True, tag="text"):
    text: str


class Base64Source(msgspec.Struct, frozen=True, tag="base64"):
    """`data` is standard base64 without line breaks; `media_type` one of IMAGE_TYPES, or PDF_TYPE."""

    media_type: str
    data: str


class UrlSource(msgspec.Struct, frozen=True, tag="url"):
    """An image elsewhere. The gateway fetches it (where allowed) before an engine sees the conversation."""

    url: str


class Image(msgspec.Struct, frozen=True, tag="image"):
    source: Base64Source | UrlSource


class TextSource(msgspec.Struct, frozen=True, tag="text"):
    """A text of any kind; Anthropic knows one media type for all."""

    data: str
    media_type: Literal["text/plain"] = "text/plain"


class Document(msgspec.Struct, frozen=True, tag="document", omit_defaults=True):
    """A file that the model reads: a PDF (`application/pdf`), or a text."""

    source: Base64Source | TextSource
    title: str | None = None


class ToolUse(msgspec.Struct, frozen=True, tag="tool_use"):
    """The assistant calls a tool of the client's. `input` is a JSON object."""

    id: str
    name: str
    input: dict[str, Any]


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result"):
    """What a call came to. It stands in the user turn right after the assistant's, one for each of its calls."""

    tool_use_id: str
    content: tuple[Text | Image | Document, ...]
    is_error: bool = False


Block = Text | Image | Document | ToolUse | ToolResult
PDF_TYPE = "application/pdf"
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


class Message(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant"]
    content: tuple[Block, ...]


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the client runs. `input_schema` is a JSON schema whose type is `object`."""

    name: str
    description: str = ""
    input_schema: dict[str, Any]


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the model must call tools: as it likes, any one, a named one, or none; and only one at a time."""

    type: Literal["auto", "any", "tool", "none"] = "auto"
    name: str | None = None
    disable_parallel_tool_use: bool = False


Effort = Literal["low", "medium", "high", "xhigh", "max"]


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What shapes one answer; None is Anthropic's default. `max_tokens` counts tokens of the answer."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    tool_choice: ToolChoice | None = None
    output_schema: dict[str, Any] | None = None
    """The answer is JSON of this schema (structured outputs)."""
    effort: Effort | Literal["none"] | None = None
    """How much to think first. "none": as little as the model can; None: likewise, but of its usual effort."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A request for the next assistant message.

    `messages` alternates user and assistant turns, begins and ends with the user's, and has no empty turn;
    `system` may be empty; `model` is the name that the client gave; `end_user` keeps the conversations of one
    API key apart by person, and is never stored.
    """

    model: str
    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    sampling: Sampling = Sampling()
    end_user: str | None = None


# --- its answer -----------------------------------------------------------------------------------------

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "refusal", "tool_use", "pause_turn",
                     "model_context_window_exceeded"]  # fmt: skip


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, as Anthropic counts them: `input_tokens` excludes what was read from or written to the cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    """Of those written to the cache: for an hour, which costs more, rather than for five minutes."""
    reasoning_tokens: int | None = 0
    """Of `output_tokens`: spent on thinking. None where Claude thought and Anthropic did not tell how much."""

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt, cached ones included."""
        return self.input_tokens + self.cache_read_input_tokens + self.cache_creation_input_tokens


class Accepted(msgspec.Struct, frozen=True):
    """A process or connection answers for this request now; before it, the request waited."""


class Started(msgspec.Struct, frozen=True):
    """The answer begins. `model` is the full name of the model that answers, `usage` what is known so far."""

    model: str
    usage: Usage = Usage()


class TextDelta(msgspec.Struct, frozen=True):
    text: str


class ThinkingDelta(msgspec.Struct, frozen=True):
    """A piece of what Claude thinks before it speaks, where it shows that."""

    text: str


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a client's tool begins; its arguments follow. `index` counts the calls of this answer from 0."""

    index: int
    id: str
    name: str


class ToolArguments(msgspec.Struct, frozen=True):
    """A piece of the arguments of the call with this index; the pieces together are a JSON object."""

    index: int
    json: str


class RateLimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What Anthropic last said of a credential's limit. `resets_at` is in seconds since the epoch."""

    status: str
    resets_at: int | None = None
    limit_type: str | None = None


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The answer is whole. An answer that is not ends in an exception of `errors`, never in this."""

    stop_reason: StopReason
    usage: Usage
    stop_sequence: str | None = None


Event = Accepted | Started | ThinkingDelta | TextDelta | ToolCall | ToolArguments | RateLimitStatus | Finished
"""Their order: Accepted, Started, any number of ThinkingDelta, TextDelta, ToolCall and ToolArguments, Finished;
RateLimitStatus anywhere. `Finished` with the stop reason `tool_use` means that the client's next request brings the
results."""
