from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.conversation import RateLimitStatus
from claude_code_api.engines.claude_code.failures import RETRY_LIMITED, RETRY_OVERLOADED, failure_of
from claude_code_api.errors import RequestFailure


def result(status: int | None, text: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": "result", "is_error": True, "api_error_status": status, "result": text, **fields}


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        (result(400, "API Error: 400 messages.0: wrong"), 400, "invalid_request"),
        (result(400, "Prompt is too long"), 400, "context_length_exceeded"),
        (result(None, "Prompt is too long"), 400, "context_length_exceeded"),
        (result(400, "PDF too large (max 100 pages, 20MB). Try reading it differently"), 400, "invalid_file"),
        (result(400, "PDF is password protected. Try using a CLI tool"), 400, "invalid_file"),
        (result(400, "The PDF file was not valid. Try converting it"), 400, "invalid_file"),
        (result(400, "API Error: a document in the conversation could not be processed"), 400, "invalid_file"),
        (result(400, "API Error: an image in the conversation could not be processed"), 400, "invalid_file"),
        (result(401, "Failed to authenticate. API Error: 401 no"), 502, "invalid_credential"),
        (result(None, "Not logged in · Please run /login"), 502, "invalid_credential"),
        (result(403, "Failed to authenticate. API Error: 403 no"), 403, "permission_denied"),
        (result(404, "There's an issue with the selected model"), 404, "model_not_found"),
        (result(413, "Request too large"), 413, "request_too_large"),
        (result(429, "You've hit your limit"), 429, "rate_limit_exceeded"),
        (result(500, "API Error: 500 x"), 502, "upstream_error"),
        (result(529, "API Error: 529 x"), 503, "overloaded"),
        (result(None, "API Error: Connection dropped (ECONNRESET)"), 502, "upstream_error"),
        (result(None, "", errors=["boom"]), 502, "upstream_error"),
        ({"type": "result", "is_error": True}, 502, "upstream_error"),
    ],
)
def test_each_error_upstream_has_its_status_and_code(told: dict[str, Any], status: int, code: str) -> None:
    failure = failure_of(told)
    assert (failure.status, failure.code) == (status, code)


def test_a_clients_key_is_never_blamed_for_a_refused_credential() -> None:
    assert failure_of(result(401)).status != 401


def test_the_field_that_anthropic_names_is_named() -> None:
    assert failure_of(result(400, "API Error: 400 `temperature` is deprecated for this model.")).param == "temperature"
    assert failure_of(result(400, "API Error: 400 max_tokens: 9 > 8")).param == "max_tokens"


def test_when_to_come_back_is_when_the_limit_ends_or_an_estimate() -> None:
    limit = RateLimitStatus(status="rejected", resets_at=1_000)
    assert failure_of(result(429), limit, now=940).retry_after == 60
    assert failure_of(result(429), limit, now=2_000).retry_after == 1
    assert failure_of(result(429)).retry_after == RETRY_LIMITED
    assert failure_of(result(429), RateLimitStatus(status="rejected")).retry_after == RETRY_LIMITED
    assert failure_of(result(529)).retry_after == RETRY_OVERLOADED


@pytest.mark.policy("T1")
@given(st.one_of(st.none(), st.integers(100, 599).filter(lambda status: status not in (400, 403))), st.text())
def test_claude_codes_own_words_do_not_reach_a_client(status: int | None, text: str) -> None:
    mark = "sk-ant-oat01-canary"
    told = result(status, f"API Error: {text} {mark}")
    if status is None and "Prompt is too long" in told["result"]:
        return
    failure = failure_of(told)
    assert isinstance(failure, RequestFailure)
    assert mark not in failure.message


@pytest.mark.policy("T1")
def test_a_token_in_anthropics_own_words_is_redacted() -> None:
    token = "sk-ant-oat01-" + "q" * 80
    for status in (400, 403):
        assert token not in failure_of(result(status, f"API Error: {status} no such {token}")).message
