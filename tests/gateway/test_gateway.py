from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from making import chat
from scripted_engine import END, ScriptedEngine

from claude_code_api.access import Access, ApiKey
from claude_code_api.conversation import Event, RateLimitStatus, Started
from claude_code_api.errors import (
    CredentialRefused,
    NotFound,
    PermissionDenied,
    RateLimited,
    StorageFailure,
    Unauthenticated,
    UpstreamError,
)
from claude_code_api.gateway import gateway as gateway_module
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.gateway.request import Request
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.usage.recorder import Recorder

REQUEST = Request("req_1", "/v1/chat/completions", False)


async def key_for(access: Access, **limits: Any) -> ApiKey:
    return (await access.keys.create("program", "main", **limits))[0]


async def answered(gateway: Gateway, key: ApiKey, model: str = "sonnet") -> list[Event]:
    try:
        return [event async for event in gateway.answer(key, chat("Hello", model=model), REQUEST)]
    finally:
        await gateway.close()


async def test_a_key_is_known_or_the_answer_is_the_same_for_every_reason(gateway: Gateway, access: Access) -> None:
    record, secret = await access.keys.create("program", "main")
    assert (await gateway.authenticate(secret, "192.0.2.0/24")).id == record.id
    for wrong in (None, Secret("sk-" + "x" * 48)):
        with pytest.raises(Unauthenticated):
            await gateway.authenticate(wrong, "192.0.2.0/24")


async def test_the_engine_gets_the_resolved_model_and_the_keys_credential(
    gateway: Gateway, access: Access, engine: ScriptedEngine
) -> None:
    key = await key_for(access)
    for given, resolved in (("mine", "haiku"), ("gpt-4o", "sonnet"), ("fable", "fable"), ("claude-opus-4-1",) * 2):
        assert await answered(gateway, key, given) == [Started("claude-x"), END]
        conversation, credential, tenant = engine.asked[-1]
        assert (conversation.model, tenant) == (resolved, key.id)
        assert credential.token == Secret(oauth_token("one"))


async def test_an_unknown_model_and_one_that_the_key_may_not_use_are_told_apart(
    gateway: Gateway, access: Access, engine: ScriptedEngine
) -> None:
    key = await key_for(access, models=["haiku"])
    with pytest.raises(NotFound) as unknown:
        await answered(gateway, key, "nonsense")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(PermissionDenied) as forbidden:
        await answered(gateway, key, "sonnet")
    assert forbidden.value.code == "model_not_allowed"
    assert engine.asked == []
    assert [model.id for model in await gateway.models(key)] == ["haiku", "mine"]
    assert (await gateway.model(key, "haiku")).id == "haiku"


class TestAtOnce:
    """How many answers one key may have under way."""

    @staticmethod
    async def first(gateway: Gateway, key: ApiKey) -> AsyncGenerator[Event, None]:
        """An answer that has begun."""
        events = gateway.answer(key, chat("Hello"), REQUEST)
        await anext(events)
        return events

    async def test_one_too_many_is_refused_until_another_has_ended(self, gateway: Gateway, access: Access) -> None:
        key = await key_for(access, max_concurrent=2)
        one, two = [await self.first(gateway, key) for _ in range(2)]
        with pytest.raises(RateLimited, match="may have 2 under way") as refused:
            await answered(gateway, key)
        assert refused.value.code == "rate_limit_exceeded"
        assert refused.value.retry_after
        assert await answered(gateway, await key_for(access)), "another key has nothing to do with it"
        await one.aclose()
        assert await answered(gateway, key)
        await two.aclose()

    @pytest.mark.parametrize(("own", "default", "most"), [(None, 1, 1), (2, 1, 2), (1, None, 1), (None, None, 3)])
    async def test_a_keys_own_limit_counts_before_the_setting(
        self,
        access: Access,
        engine: ScriptedEngine,
        recorder: Recorder,
        own: int | None,
        default: int | None,
        most: int,
    ) -> None:
        settings = given_only(max_concurrent_per_key=default)
        gateway = Gateway(settings, access, engine, recorder)  # type: ignore[arg-type]
        key = await key_for(access, max_concurrent=own)
        running = []
        with suppress(RateLimited):
            for _ in range(3):
                running.append(await self.first(gateway, key))  # noqa: PERF401 - those before the refusal
        assert len(running) == most
        for events in running:
            await events.aclose()

    async def test_whatever_ends_an_answer_it_is_counted_off_once(
        self, gateway: Gateway, access: Access, engine: ScriptedEngine
    ) -> None:
        """Its end, its first event, a failure, an unknown model, a cancellation while it waits, and being refused."""
        key = await key_for(access, max_concurrent=1)
        for _ in range(2):
            await answered(gateway, key)
            await (await self.first(gateway, key)).aclose()
            with pytest.raises(NotFound):
                await answered(gateway, key, "nonsense")
            engine.events = [UpstreamError("It broke.")]
            with pytest.raises(UpstreamError):
                await answered(gateway, key)
            engine.events, engine.meanwhile = [END], asyncio.Event().wait
            waiting = asyncio.create_task(answered(gateway, key))
            await asyncio.sleep(0)
            with pytest.raises(RateLimited):
                await answered(gateway, key)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            engine.meanwhile = None
            assert gateway._concurrency._under_way == {}, "nothing is kept of a key without answers"


async def test_a_database_that_does_not_answer_gathers_no_notes(
    gateway: Gateway, access: Access, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = asyncio.Event()

    async def stuck(*_: Any) -> None:
        await answers.wait()

    monkeypatch.setattr(access.credentials, "note_working", stuck)
    key = await key_for(access)
    for _ in range(gateway_module.MOST_NOTES + 10):
        assert [event async for event in gateway.answer(key, chat("Hello", model="sonnet"), REQUEST)]
    assert len(gateway._notes) == gateway_module.MOST_NOTES
    answers.set()
    await gateway.close()
    assert not gateway._notes


async def test_what_anthropic_says_of_a_limit_is_kept_with_the_credential(
    gateway: Gateway, access: Access, engine: ScriptedEngine
) -> None:
    limit = RateLimitStatus(status="allowed_warning", resets_at=4_000_000_000, limit_type="five_hour")
    engine.events = [Started("claude-x"), limit, END]
    assert limit not in await answered(gateway, await key_for(access))
    assert (await access.credentials.get("main")).limit == limit


async def test_a_refused_credential_is_marked_until_it_works_again(
    gateway: Gateway, access: Access, engine: ScriptedEngine
) -> None:
    key = await key_for(access)
    engine.events = [CredentialRefused("no")]
    with pytest.raises(CredentialRefused):
        await answered(gateway, key)
    assert (await access.credentials.get("main")).refused_at is not None
    engine.events = [END]
    await answered(gateway, key)
    assert (await access.credentials.get("main")).refused_at is None


async def test_a_token_that_was_put_in_place_meanwhile_is_not_marked_for_the_old_one(
    gateway: Gateway, access: Access, engine: ScriptedEngine
) -> None:
    engine.events = [CredentialRefused("no")]

    async def replace() -> None:
        await access.credentials.replace("main", Secret(oauth_token("two")))

    engine.meanwhile = replace
    with pytest.raises(CredentialRefused):
        await answered(gateway, await key_for(access))
    assert (await access.credentials.get("main")).refused_at is None


async def test_a_fault_of_the_database_does_not_spoil_an_answer(
    gateway: Gateway, access: Access, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StorageFailure("locked")

    key = await key_for(access)
    for name in ("note_limit", "note_working", "note_refused"):
        monkeypatch.setattr(access.credentials, name, fail)
    engine.events = [RateLimitStatus(status="allowed"), END]
    assert await answered(gateway, key) == [END]
    engine.events = [CredentialRefused("no")]
    with pytest.raises(CredentialRefused):
        await answered(gateway, key)


def test_it_is_ready_when_its_engine_is(gateway: Gateway, engine: ScriptedEngine) -> None:
    assert gateway.ready()
    engine.ready = False
    assert not gateway.ready()
