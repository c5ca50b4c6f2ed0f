"""How the vendor's own client is told of everything that goes wrong: its error classes, their codes and fields."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from asking import ask, said, stream
from gateways import Gateway

from claude_code_api.stand_in import StandIn, script

ClientFor = Callable[..., openai.OpenAI]


def fault(error: openai.APIStatusError) -> tuple[int, str | None, str | None, str | None]:
    return error.status_code, error.type, error.code, error.param


class TestErrors:
    def test_keys_that_do_not_work_are_all_answered_alike(self, gateway: Gateway) -> None:
        revoked, expiring = (
            gateway.key("bert"),
            gateway.key("bert", expires_at=datetime.now(UTC) + timedelta(seconds=1)),
        )
        misspelt = revoked[:-1] + ("a" if revoked[-1] != "a" else "b")

        async def revoke(access: Any) -> None:
            for key in await access.keys.list():
                if key.hint == revoked[-4:]:
                    await access.keys.revoke(key.id)

        gateway.access(revoke)
        time.sleep(1)  # the one that expires: nothing else tells that it has
        told = set()
        for key in (revoked, expiring, misspelt, "sk-" + "a" * 48, "anything"):
            with gateway.client(key) as client, pytest.raises(openai.AuthenticationError) as raised:
                ask(client)
            told.add((*fault(raised.value), str(raised.value)))
        ((*shape, _),) = told
        assert tuple(shape) == (401, "authentication_error", "invalid_api_key", None)

    def test_the_key_may_come_as_x_api_key(self, gateway: Gateway) -> None:
        headers = {"x-api-key": gateway.key(), "Authorization": openai.Omit()}
        with gateway.client("sk-none") as client:
            assert said(ask(client, script(text="Welcome"), extra_headers=headers)) == "Welcome"

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({"messages": []}, "invalid_messages", "messages"),
            ({"messages": "Hello"}, "invalid_messages", "messages"),
            ({"messages": [{"role": "narrator", "content": "x"}]}, "invalid_messages", "messages.0"),
            ({"max_tokens": 0}, "invalid_value", "max_tokens"),
            ({"temperature": 3}, "invalid_value", "temperature"),
            ({"n": 2}, "unsupported_parameter", "n"),
            ({"tools": [{"type": "function", "function": {"name": "f g"}}]}, "invalid_value", "tools.0.function.name"),
            ({"modalities": ["audio"]}, "unsupported_parameter", "modalities"),
        ],
    )
    def test_a_wrong_request_is_told_by_its_field(
        self, client: openai.OpenAI, stand_in: StandIn, fields: dict[str, Any], code: str, param: str
    ) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            ask(client, **fields)
        status, type_, told, where = fault(raised.value)
        assert (status, type_, told) == (400, "invalid_request_error", code)
        assert where is not None
        assert where.startswith(param)
        assert stand_in.requests == []

    def test_a_body_over_the_limit_is_too_large(self, start_gateway: Any, client_for: ClientFor) -> None:
        with start_gateway(max_body_bytes=2048) as gateway:
            with pytest.raises(openai.APIStatusError) as raised:
                ask(client_for(gateway=gateway), "x" * 4096)
            assert fault(raised.value)[:3] == (413, "invalid_request_error", "request_too_large")

    def test_an_endpoint_that_is_not_there_is_not_found(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as raised:
            client.embeddings.create(model="sonnet", input="x")
        assert fault(raised.value)[:3] == (404, "invalid_request_error", "not_found")

    def test_a_refused_credential_is_no_fault_of_the_clients_key(self, gateway: Gateway, client_for: ClientFor) -> None:
        with pytest.raises(openai.InternalServerError) as raised:
            ask(client_for("refused"))
        assert fault(raised.value)[:3] == (502, "api_error", "invalid_credential")

        async def refused(access: Any) -> Any:
            return (await access.credentials.get("refused")).refused_at

        assert gateway.access(refused) is not None

    @pytest.mark.parametrize(
        ("upstream", "error", "status", "code"),
        [
            ({"status": 400, "message": "no such thing"}, openai.BadRequestError, 400, "invalid_request"),
            ({"status": 403}, openai.PermissionDeniedError, 403, "permission_denied"),
            ({"status": 413}, openai.APIStatusError, 413, "request_too_large"),
            ({"status": 500}, openai.InternalServerError, 502, "upstream_error"),
            ({"cut": 0}, openai.InternalServerError, 502, "upstream_error"),
            ({"nonsense": True}, openai.InternalServerError, 502, "upstream_error"),
            ({"status": 529}, openai.InternalServerError, 503, "overloaded"),
        ],
    )
    def test_what_goes_wrong_upstream_is_told_and_never_an_answer(
        self,
        client: openai.OpenAI,
        upstream: dict[str, Any],
        error: type[openai.APIStatusError],
        status: int,
        code: str,
    ) -> None:
        with pytest.raises(error) as raised:
            stream(client, script(**upstream))
        assert (raised.value.status_code, raised.value.code) == (status, code)
        assert ("retry-after" in raised.value.response.headers) == (status == 503)
        assert raised.value.request_id

    def test_a_limit_of_anthropics_tells_when_to_come_back(self, client: openai.OpenAI, gateway: Gateway) -> None:
        limit = {"status": "rejected", "reset": int(time.time()) + 300, "type": "five_hour"}
        with pytest.raises(openai.RateLimitError) as raised:
            ask(client, script(status=429, rate_limit=limit))
        assert fault(raised.value)[:3] == (429, "rate_limit_error", "rate_limit_exceeded")
        assert 280 <= int(raised.value.response.headers["retry-after"]) <= 300

        async def noted(access: Any) -> Any:
            return (await access.credentials.get("anna")).limit

        assert gateway.access(noted).resets_at == limit["reset"]

    @pytest.mark.parametrize(
        ("upstream", "code"),
        [
            ({"tokens": 8, "pause": 0.05, "cut": 3}, "upstream_error"),
            ({"tokens": 8, "pause": 0.05, "error_after": 3, "error_type": "overloaded_error"}, "overloaded"),
        ],
    )
    def test_what_goes_wrong_in_the_middle_is_never_a_silent_stop(
        self, client: openai.OpenAI, upstream: dict[str, Any], code: str
    ) -> None:
        seen: list[Any] = []
        with pytest.raises(openai.APIError) as raised, ask(client, script(**upstream), stream=True) as chunks:
            seen.extend(chunks)
        assert said(seen)
        assert "river stone light ".startswith(said(seen))  # a cut may take the last of it with it
        assert raised.value.code == code
        assert not any(chunk.choices[0].finish_reason for chunk in seen)
        with pytest.raises(openai.InternalServerError):  # and a whole answer is none
            ask(client, script(**upstream))

    def test_a_failure_that_passes_is_tried_again_before_anybody_hears_of_it(
        self, start_gateway: Any, client_for: ClientFor, stand_in: StandIn
    ) -> None:
        with start_gateway(retries=1) as gateway:
            question = script(text="At last", status=529, times=1, id="passing")
            assert said(ask(client_for(gateway=gateway), question)) == "At last"
        assert len(stand_in.requests) == 2
