"""Every failure that a client or an operator can be told of, as one tree.

    Failure
    ├── RequestFailure              one request fails; a surface renders it in its dialect's shape
    │   ├── InvalidRequest          400  the request itself is at fault; `param` names the field
    │   ├── Unauthenticated         401  no key, or none that we know: the same answer for each
    │   ├── PermissionDenied        403  a known key that may not do this
    │   ├── NotFound                404  no such endpoint, model or record
    │   ├── MethodNotAllowed        405
    │   ├── RequestTimeout          408  the client was too slow to send its request
    │   ├── Conflict                409
    │   ├── PreconditionFailed      412  what was to be changed is not any more as the client saw it
    │   ├── RequestTooLarge         413
    │   ├── UnsupportedMediaType    415
    │   ├── HeadersTooLarge         431
    │   ├── RateLimited             429  ours or Anthropic's; `retry_after` says when to come back
    │   ├── InternalError           500  a fault of ours; the log has it under the request's id
    │   ├── UpstreamError           502  Anthropic or the Claude Code program failed
    │   │   └── CredentialRefused   502  Anthropic refused the stored credential, not the client's key
    │   ├── Overloaded              503  no room here or at Anthropic's; `retry_after` says when
    │   └── UpstreamTimeout         504
    └── OperatorFailure             a command or the start fails; one line on standard error
        ├── WrongSetting            a setting's name, its value (unless secret) and what it may be
        ├── VaultFailure            wrong master key, or a record that does not open: fails closed
        └── StorageFailure          database missing, locked, or of another version

Statuses, types and codes are those of OpenAI's API where it has one. What Anthropic answered is
mapped to these in `engines.claude_code.failures`.
"""

from __future__ import annotations

from typing import ClassVar


class Failure(Exception):
    """Base of all; the message is one plain sentence for the person who can mend it, free of secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestFailure(Failure):
    """One request fails. `retry_after` is in whole seconds; `param` is the path of the field at fault."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.param = param
        self.retry_after = retry_after


class InvalidRequest(RequestFailure):
    status = 400
    type = "invalid_request_error"
    default_code = "invalid_request"


class Unauthenticated(RequestFailure):
    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class PermissionDenied(RequestFailure):
    status = 403
    type = "permission_error"
    default_code = "permission_denied"


class NotFound(RequestFailure):
    status = 404
    type = "invalid_request_error"
    default_code = "not_found"


class MethodNotAllowed(RequestFailure):
    """`allowed` are the methods that the endpoint has."""

    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"

    allowed: tuple[str, ...] = ()

    @classmethod
    def answers(cls, *methods: str) -> MethodNotAllowed:
        failure = cls(f"This endpoint answers {', '.join(methods)}.")
        failure.allowed = methods
        return failure


class RequestTimeout(RequestFailure):
    status = 408
    type = "invalid_request_error"
    default_code = "request_timeout"


class Conflict(RequestFailure):
    status = 409
    type = "invalid_request_error"
    default_code = "conflict"


class PreconditionFailed(RequestFailure):
    status = 412
    type = "invalid_request_error"
    default_code = "precondition_failed"


class RequestTooLarge(RequestFailure):
    status = 413
    type = "invalid_request_error"
    default_code = "request_too_large"


class UnsupportedMediaType(RequestFailure):
    status = 415
    type = "invalid_request_error"
    default_code = "unsupported_media_type"


class HeadersTooLarge(RequestFailure):
    status = 431
    type = "invalid_request_error"
    default_code = "headers_too_large"


class RateLimited(RequestFailure):
    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class InternalError(RequestFailure):
    status = 500
    type = "api_error"
    default_code = "internal_error"


class UpstreamError(RequestFailure):
    status = 502
    type = "api_error"
    default_code = "upstream_error"


class CredentialRefused(UpstreamError):
    default_code = "invalid_credential"


class Overloaded(RequestFailure):
    status = 503
    type = "api_error"
    default_code = "overloaded"


class UpstreamTimeout(RequestFailure):
    status = 504
    type = "api_error"
    default_code = "timeout"


class OperatorFailure(Failure):
    """A command or the start of the gateway fails."""


class WrongSetting(OperatorFailure):
    pass


class VaultFailure(OperatorFailure):
    pass


class StorageFailure(OperatorFailure):
    pass
