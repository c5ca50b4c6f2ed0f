"""What Anthropic or Claude Code answered instead of an answer, as one of our failures. Pure.

An error upstream looks like an answer (`subtype: "success"`, an assistant message with the error's text); only
`is_error` tells. Its text is Claude Code's, written for a person at a terminal: it reaches a client only where it
is Anthropic's own message about the request.
"""

from __future__ import annotations

import re
import time
from typing import Any

from claude_code_api.conversation import RateLimitStatus
from claude_code_api.errors import (
    CredentialRefused,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RequestFailure,
    RequestTooLarge,
    UpstreamError,
)
from claude_code_api.operations.redaction import redact

RETRY_OVERLOADED = 10  # seconds; an estimate, Anthropic tells none
RETRY_LIMITED = 60

_PREFIX = re.compile(r"^(?:Failed to authenticate\. )?API Error: (?:\d{3} )?")
_FIELD = re.compile(r"`?(temperature|top_p|max_tokens|stop_sequences|tool_choice)\b")
_FILE_FAULTS = (
    (
        re.compile(r"PDF too large"),
        "More pages of PDF than Anthropic takes: 600 in a request, or 100 where a model reads 200,000 tokens.",
    ),
    (re.compile(r"PDF is password protected"), "A PDF is protected by a password; Claude reads none that is."),
    (re.compile(r"(?:The )?PDF file was not valid"), "A PDF is not valid, as Anthropic says."),
    (re.compile(r"(A|a)n? (?P<kind>image|document) in the conversation"), "Anthropic could not read the {kind}."),
)
"""What Claude Code says of files is meant for a person at its terminal, who should try other tools."""
_NOT_SIGNED_IN = ("Not logged in", "Invalid API key", "Failed to authenticate", "OAuth token")


def failure_of(
    result: dict[str, Any], limit: RateLimitStatus | None = None, *, now: float | None = None
) -> RequestFailure:
    """The failure that a `result` with `is_error` tells of. `limit`: the last rate-limit event; `now`: in seconds."""
    status = result.get("api_error_status")
    raw = result.get("result") or "; ".join(map(str, result.get("errors") or ())) or ""
    text = redact(_PREFIX.sub("", raw).strip())
    match status:
        case 400:
            return _invalid(text)
        case 401:
            return CredentialRefused(
                "Anthropic refused the credential behind this key; whoever runs the gateway must replace it."
            )
        case 403:
            return PermissionDenied(f"Anthropic does not permit this: {text}")
        case 404:
            return NotFound(
                "Anthropic knows no such model, or the credential may not use it.",
                code="model_not_found",
                param="model",
            )
        case 413:
            return RequestTooLarge("The request is larger than Anthropic accepts (32 MB).")
        case 429:
            return RateLimited(
                "Anthropic's rate limit for the credential behind this key is reached.", retry_after=_wait(limit, now)
            )
        case 529:
            return Overloaded("Anthropic's API is overloaded; try again later.", retry_after=RETRY_OVERLOADED)
        case int():
            return UpstreamError(f"Anthropic's API failed (status {status}); try again later.")
        case _ if raw.startswith(_NOT_SIGNED_IN):
            return CredentialRefused("Claude Code did not accept the credential behind this key; replace it.")
        case _ if raw.startswith("Prompt is too long"):
            return _invalid(text)
        case _:
            return UpstreamError("Anthropic's API could not be reached, or it cut the answer off; try again later.")


def _invalid(text: str) -> InvalidRequest:
    for pattern, told in _FILE_FAULTS:
        if found := pattern.match(text):
            return InvalidRequest(told.format(**found.groupdict()), code="invalid_file", param="messages")
    named = _FIELD.match(text)
    return InvalidRequest(
        text or "Anthropic refused the request.",
        code="context_length_exceeded" if "prompt is too long" in text.lower() else None,
        param=named[1] if named else None,
    )


def _wait(limit: RateLimitStatus | None, now: float | None) -> int:
    if limit is None or limit.resets_at is None:
        return RETRY_LIMITED
    return max(1, round(limit.resets_at - (time.time() if now is None else now)))
