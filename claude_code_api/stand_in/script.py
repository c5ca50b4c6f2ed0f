"""The script in a prompt that tells the stand-in how to answer.

A script is a JSON object after the marker `stand-in:` in the last user message that has text; what Claude Code
adds as `<system-reminder>` does not count. `script(text="Hi", pause=0.1)` renders one. All fields are optional:

| field | meaning |
| --- | --- |
| `text` | the answer, sent word by word |
| `chunks` | the answer as a list of text deltas, split exactly so |
| `repeat` | how many times the text (or the chunks) is said |
| `tokens` | an answer of so many words, one delta each |
| `echo` | answers with what the request holds: `system`, `first` or `last` user text, `all` turns |
| `thinking` | a signed thinking block before the answer, where the request lets the model think |
| `redacted_thinking` | a redacted one after it |
| `tools` | tool calls after the text: a list of `{"name", "input", "id"?}` |
| `then` | the script for the request that brings these tools' results (without it, the default answer) |
| `stop_reason`, `stop_sequence` | how the answer says that it ended |
| `usage` | an object whose fields replace those of the answer's usage |
| `delay` | seconds before the response's head |
| `first_token_delay` | seconds between `message_start` and the first delta |
| `pause` | seconds between deltas; 0 writes each delta on its own, left out they are written together |
| `status`, `error_type`, `message` | an HTTP error; either of the first two is enough |
| `times`, `id` | the error, `cut` or `nonsense` comes only for the first so many requests whose script has this `id` |
| `retry_after` | seconds, the header `retry-after` |
| `rate_limit` | a subscription's limit: `{"status", "reset", "type", "utilization"}`, more by their headers' names |
| `headers` | further response headers |
| `cut` | the connection is cut after so many deltas; 0 is before any byte |
| `error_after` | after so many deltas comes an `error` event of `error_type` |
| `nonsense` | a 200 whose body is neither events nor JSON |

Times are in seconds, the reset time of a limit in seconds since 1970. A whole answer is under way as long as its
stream would be; `error_after` makes it an HTTP error, and `cut` halves it.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

from claude_code_api.stand_in.errors import invalid

MARKER = "stand-in:"


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    input: dict[str, Any] = {}
    id: str | None = None


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str | None = None
    chunks: tuple[str, ...] | None = None
    repeat: int = 1
    tokens: int | None = None
    echo: Literal["system", "first", "last", "all"] | None = None
    thinking: str | None = None
    redacted_thinking: str | None = None
    tools: tuple[ToolCall, ...] = ()
    then: Script | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: dict[str, Any] | None = None
    delay: float = 0
    first_token_delay: float = 0
    pause: float | None = None
    status: int | None = None
    error_type: str | None = None
    message: str | None = None
    times: int | None = None
    id: str = ""
    retry_after: int | None = None
    rate_limit: dict[str, str | float] | None = None
    headers: dict[str, str] | None = None
    cut: int | None = None
    error_after: int | None = None
    nonsense: bool = False

    @property
    def refuses(self) -> bool:
        """Whether it asks for an HTTP error."""
        return self.error_after is None and (self.status is not None or self.error_type is not None)

    @property
    def breaks_off_after(self) -> int | None:
        """How many deltas of a stream come, where it does not end well."""
        return self.cut if self.cut is not None else self.error_after

    def mended(self) -> Script:
        """The same script without its fault."""
        return msgspec.structs.replace(
            self, status=None, error_type=None, cut=None, error_after=None, nonsense=False, retry_after=None
        )


NO_SCRIPT = Script()
_json = json.JSONDecoder()


def script(**fields: Any) -> str:
    """The marker and the JSON, to be put anywhere into a prompt; fields as in the table above."""
    msgspec.convert(fields, Script)
    return f"{MARKER} {json.dumps(fields)}"


def script_in(text: str) -> Script | None:
    """The script in a text, if there is one; Refused (400) where it cannot be read."""
    at = text.find(MARKER)
    start = text.find("{", at + len(MARKER)) if at >= 0 else -1
    if start < 0:
        return None
    try:
        fields, _ = _json.raw_decode(text, start)
        return msgspec.convert(fields, Script)
    except (ValueError, msgspec.ValidationError) as error:
        raise invalid(f"stand-in: the script cannot be read: {error}") from None
