"""What Anthropic's API answers when it refuses: a status, an error type and a message."""

from __future__ import annotations

import msgspec

STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_TYPE_OF_STATUS = {status: type_ for type_, status in STATUS_OF_TYPE.items()}

MESSAGES = {
    "rate_limit_error": "This request would exceed your account's rate limit. Please try again later.",
    "overloaded_error": "Overloaded",
    "api_error": "Internal server error",
    "authentication_error": "invalid x-api-key",
    "permission_error": "Your account does not have permission to use this resource.",
    "request_too_large": "Request exceeds the maximum size",
    "timeout_error": "Request timed out",
}


class Refused(Exception):
    """The request ends here with an HTTP error."""

    def __init__(self, status: int, type_: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.message = message

    def body(self, request_id: str) -> bytes:
        error = {"type": self.type, "message": self.message}
        return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


def invalid(message: str) -> Refused:
    return Refused(400, "invalid_request_error", message)


def type_of(status: int) -> str:
    """The error type that goes with a status; 503 is an `api_error`."""
    return _TYPE_OF_STATUS.get(status, "api_error" if status >= 500 else "invalid_request_error")
