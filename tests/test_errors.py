"""The tree of failures: as its file draws it, and with the statuses, types and codes that clients rely on."""

from __future__ import annotations

import inspect
import re

import pytest

from claude_code_api import errors
from claude_code_api.errors import Failure, OperatorFailure, RequestFailure

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Failure)]
REQUEST_FAILURES = [each for each in CLASSES if issubclass(each, RequestFailure) and each is not RequestFailure]

# As the interface promises them.
PROMISED = {
    "InvalidRequest": (400, "invalid_request_error", "invalid_request"),
    "Unauthenticated": (401, "authentication_error", "invalid_api_key"),
    "PermissionDenied": (403, "permission_error", "permission_denied"),
    "NotFound": (404, "invalid_request_error", "not_found"),
    "MethodNotAllowed": (405, "invalid_request_error", "method_not_allowed"),
    "RequestTimeout": (408, "invalid_request_error", "request_timeout"),
    "Conflict": (409, "invalid_request_error", "conflict"),
    "PreconditionFailed": (412, "invalid_request_error", "precondition_failed"),
    "RequestTooLarge": (413, "invalid_request_error", "request_too_large"),
    "UnsupportedMediaType": (415, "invalid_request_error", "unsupported_media_type"),
    "RateLimited": (429, "rate_limit_error", "rate_limit_exceeded"),
    "HeadersTooLarge": (431, "invalid_request_error", "headers_too_large"),
    "InternalError": (500, "api_error", "internal_error"),
    "UpstreamError": (502, "api_error", "upstream_error"),
    "CredentialRefused": (502, "api_error", "invalid_credential"),
    "Overloaded": (503, "api_error", "overloaded"),
    "UpstreamTimeout": (504, "api_error", "timeout"),
}


def drawn() -> list[tuple[str, str, str | None]]:
    """Each class of the drawing: its name, its parent's, and its status where one stands beside it."""
    rows: list[tuple[str, str, str | None]] = []
    above: dict[int, str] = {}
    for line in str(errors.__doc__).splitlines():
        found = re.match(r" {4}([│├└─ ]*)(\w+)(?: +(\d{3})\b)?", line)
        if found:
            depth = len(found[1]) // 4
            above[depth] = found[2]
            rows.append((found[2], above.get(depth - 1, "Exception"), found[3]))
    return rows


def test_the_drawing_is_the_tree() -> None:
    tree = {(each.__name__, str(each.__base__.__name__)) for each in CLASSES if each.__base__}
    assert {(name, parent) for name, parent, _ in drawn()} == tree
    assert len(drawn()) == len(CLASSES)


def test_the_drawing_tells_the_statuses() -> None:
    told = {name: int(status) for name, _, status in drawn() if status}
    assert told == {each.__name__: each.status for each in REQUEST_FAILURES}


def test_every_failure_of_a_request_has_the_promised_status_type_and_code() -> None:
    assert {each.__name__: (each.status, each.type, each.default_code) for each in REQUEST_FAILURES} == PROMISED


@pytest.mark.parametrize("failure", REQUEST_FAILURES)
def test_a_failure_tells_its_message_code_field_and_time(failure: type[RequestFailure]) -> None:
    plain = failure("It failed.")
    assert (str(plain), plain.message, plain.code) == ("It failed.", "It failed.", failure.default_code)
    assert (plain.param, plain.retry_after) == (None, None)
    told = failure("It failed.", code="other", param="messages[0]", retry_after=7)
    assert (told.code, told.param, told.retry_after) == ("other", "messages[0]", 7)


@pytest.mark.parametrize("failure", [each for each in CLASSES if issubclass(each, OperatorFailure)])
def test_an_operators_failure_is_its_message(failure: type[OperatorFailure]) -> None:
    assert failure("It failed.").message == "It failed."
