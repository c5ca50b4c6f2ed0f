"""Live processes are a cache of conversations: found by what they hold, stepped back, never shared, without a trace."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from making import answer, chat, oauth, outcome, texts
from msgspec import structs

from claude_code_api.conversation import (
    Base64Source,
    Conversation,
    Document,
    Image,
    Message,
    Sampling,
    Text,
    TextDelta,
    TextSource,
    Tool,
    ToolUse,
)
from claude_code_api.credential import Credential, CredentialKind
from claude_code_api.engines.claude_code import ClaudeCode, pool, session
from claude_code_api.engines.claude_code.process import Process
from claude_code_api.engines.claude_code.session import Owner
from claude_code_api.engines.claude_code.turns import digest_of
from claude_code_api.errors import RequestFailure
from claude_code_api.secret import Secret
from claude_code_api.stand_in import StandIn, script
from claude_code_api.stand_in.record import RecordedRequest

StartEngine = Callable[..., Awaitable[ClaudeCode]]


@pytest_asyncio.fixture
async def engine(start_engine: StartEngine) -> ClaudeCode:
    return await start_engine(reuse_processes=True, max_processes=4)


def session_of(request: RecordedRequest) -> str:
    """The session that a request came from: one for each process."""
    return request.headers["x-claude-code-session-id"]


def processes(stand_in: StandIn) -> list[str]:
    """The processes that served the requests, in order, by number of appearance."""
    seen: dict[str, str] = {}
    return [seen.setdefault(session_of(request), f"p{len(seen) + 1}") for request in stand_in.requests]


def said(request: RecordedRequest) -> list[str]:
    return [text for _, parts in texts(request) for text in parts]


class TestFinding:
    async def test_the_next_turn_is_served_by_the_process_that_holds_the_conversation(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        first, _ = await answer(engine, chat("One"), oauth("anna"))
        second, _ = await answer(engine, chat("One", first, "Two"), oauth("anna"))
        await answer(engine, chat("One", first, "Two", second, "Three"), oauth("anna"))
        assert processes(stand_in) == ["p1", "p1", "p1"]
        assert said(stand_in.requests[-1]) == ["One", first, "Two", second, "Three"]

    async def test_an_edited_message_a_regenerated_answer_and_a_branch_step_back(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        first, _ = await answer(engine, chat("One"), oauth("anna"))
        second, _ = await answer(engine, chat("One", first, "Two"), oauth("anna"))
        third, _ = await answer(engine, chat("One", first, "Two, edited"), oauth("anna"))
        await answer(engine, chat("One", first, "Two, edited"), oauth("anna"))
        await answer(engine, chat("One", first, "Two", second, "A branch"), oauth("anna"))
        assert set(processes(stand_in)) == {"p1"}
        assert [said(request) for request in stand_in.requests[2:]] == [
            ["One", first, "Two, edited"],
            ["One", first, "Two, edited"],
            ["One", first, "Two", second, "A branch"],
        ]
        assert third

    async def test_a_new_one_shot_with_the_same_system_prompt_takes_a_live_process(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        for number in range(4):
            await answer(engine, chat(f"Shot {number}", system="Be brief"), oauth("anna"))
        assert set(processes(stand_in)) == {"p1"}
        assert said(stand_in.requests[-1]) == ["Shot 3"]

    async def test_what_a_client_sends_back_may_be_split_and_trimmed(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        first, _ = await answer(engine, chat(f"One {script(text='Hello there.  ')}"), oauth("anna"))
        question = stand_in.requests[0]
        parts = (Text("Hello "), Text("there."))
        messages = (
            Message("user", (Text(said(question)[0]),)),
            Message("assistant", parts),
            Message("user", (Text("Two"),)),
        )
        await answer(engine, Conversation(model="haiku", messages=messages), oauth("anna"))
        assert processes(stand_in) == ["p1", "p1"]
        assert first

    async def test_sampling_may_change_from_turn_to_turn(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        first, _ = await answer(engine, chat("One", sampling=Sampling(max_tokens=11)), oauth("anna"))
        await answer(engine, chat("One", first, "Two", sampling=Sampling(max_tokens=22)), oauth("anna"))
        await answer(engine, chat("One", first, "Three"), oauth("anna"))
        assert set(processes(stand_in)) == {"p1"}
        assert [request.body["max_tokens"] for request in stand_in.requests[:2]] == [11, 22]
        assert stand_in.requests[2].body["max_tokens"] > 22

    async def test_another_model_gets_the_history_afresh_since_a_change_would_leave_a_mark(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        first, _ = await answer(engine, chat("One"), oauth("anna"))
        await answer(engine, chat("One", first, "Two", model="sonnet"), oauth("anna"))
        assert said(stand_in.requests[1]) == ["One", first, "Two"]


class TestWithoutATrace:
    @pytest.mark.parametrize("model", ["haiku", "sonnet"])
    async def test_after_stepping_back_the_request_is_the_one_of_a_fresh_process(
        self, engine: ClaudeCode, start_engine: StartEngine, stand_in: StandIn, model: str
    ) -> None:
        """The second conversation's model may be another one."""
        await answer(engine, chat("Something secret"), oauth("anna"))
        await answer(engine, chat("Fresh", model=model), oauth("anna"))
        reused = stand_in.requests[-1]
        fresh_engine = await start_engine(reuse_processes=False)
        await answer(fresh_engine, chat("Fresh", model=model), oauth("anna"))
        fresh = stand_in.requests[-1]
        assert processes(stand_in) == ["p1", "p1", "p2"]
        for part in ("model", "messages", "system", "tools", "max_tokens", "thinking"):
            assert reused.body.get(part) == fresh.body.get(part)

    @pytest.mark.parametrize("end", ["max_tokens", "refusal", "empty", "error", "cancelled"])
    async def test_an_answer_that_did_not_end_well_is_not_in_the_next_request(
        self, engine: ClaudeCode, stand_in: StandIn, end: str
    ) -> None:
        fault = {
            "max_tokens": script(text="MARK cut", stop_reason="max_tokens"),
            "refusal": script(text="MARK no", stop_reason="refusal"),
            "empty": script(text=""),
            "error": script(status=429, message="MARK"),
            "cancelled": script(text="MARK " * 50, pause=0.02),
        }[end]
        async with aclosing(engine.answer(chat(f"MARK {fault}"), oauth("anna"), "tenant")) as events:
            with suppress(RequestFailure):
                async for event in events:
                    if end == "cancelled" and isinstance(event, TextDelta):
                        break
        await answer(engine, chat("Fresh"), oauth("anna"))
        # After max_tokens the process is ended: it would ask the model to go on.
        assert processes(stand_in)[-1] == ("p2" if end == "max_tokens" else "p1")
        assert said(stand_in.requests[-1]) == ["Fresh"]
        assert "MARK" not in str(stand_in.requests[-1].body)

    async def test_the_prefix_of_a_live_conversation_is_the_same_bytes_from_turn_to_turn(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        turns = ["One"]
        for number in range(4):
            reply, _ = await answer(engine, chat(*turns), oauth("anna"))
            turns += [reply, f"Turn {number}"]
        for earlier, later in zip(stand_in.requests, stand_in.requests[1:], strict=False):
            before, after = (without_marks(request.body["messages"]) for request in (earlier, later))
            assert after[: len(before)] == before
            assert later.body["system"] == earlier.body["system"]


def without_marks(turns: list[dict[str, object]]) -> list[tuple[object, str]]:
    """Roles and texts; where the cache is cut (`cache_control`) moves on with the conversation."""
    plain = []
    for turn in turns:
        content = turn["content"]
        blocks = [{"text": content}] if isinstance(content, str) else content
        plain.append((turn["role"], "".join(block["text"] for block in blocks)))  # type: ignore[union-attr,index]
    return plain


class TestIsolation:
    @pytest.mark.parametrize("other", ["tenant", "end_user", "credential", "system"])
    async def test_a_process_never_serves_another_owner(
        self, engine: ClaudeCode, stand_in: StandIn, other: str
    ) -> None:
        async def ask(tenant: str, user: str | None, name: str, system: str) -> None:
            conversation = chat("Hello", end_user=user, system=system)
            async with aclosing(engine.answer(conversation, oauth(name), tenant)) as events:
                async for _ in events:
                    pass

        await ask("t1", "u1", "anna", "s1")
        await ask(
            "t2" if other == "tenant" else "t1",
            "u2" if other == "end_user" else "u1",
            "bert" if other == "credential" else "anna",
            "s2" if other == "system" else "s1",
        )
        assert processes(stand_in) == ["p1", "p2"]

    async def test_nor_one_who_only_looks_like_its_owner(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        """No user and an empty one, and another token under the same credential."""
        anna = oauth("anna")
        replaced = structs.replace(oauth("bert"), id=anna.id, name=anna.name)
        for user, credential in ((None, anna), ("", anna), (None, replaced)):
            await answer(engine, chat("Hello", end_user=user), credential)
        assert processes(stand_in) == ["p1", "p2", "p3"]

    async def test_without_reuse_no_process_serves_twice(self, start_engine: StartEngine, stand_in: StandIn) -> None:
        engine = await start_engine(reuse_processes=False, spare_processes=1, max_processes=3)
        first, _ = await answer(engine, chat("One"), oauth("anna"))
        await answer(engine, chat("One", first, "Two"), oauth("anna"))
        await asyncio.gather(*(answer(engine, chat("Hello"), oauth("anna")) for _ in range(2)))
        assert len(set(processes(stand_in))) == 4


class TestChoosing:
    """What a spare could do as well harms no conversation."""

    EXAMPLES = ("What is 2 and 2?", "4", "And 3 and 3?", "6")

    @pytest_asyncio.fixture
    async def engine(self, start_engine: StartEngine) -> ClaudeCode:
        return await start_engine(("cred-anna",), reuse_processes=True, spare_processes=1, max_processes=6)

    async def a_spare(self, engine: ClaudeCode) -> None:
        async with asyncio.timeout(10):
            while not engine._pool.spares.ready:
                await asyncio.sleep(0.01)

    async def ask(self, engine: ClaudeCode, *turns: str) -> str:
        await self.a_spare(engine)
        return (await answer(engine, chat(*turns), oauth("anna")))[0]

    async def test_conversations_that_only_begin_with_the_same_examples_leave_each_other_alone(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        one = await self.ask(engine, *self.EXAMPLES, "One")
        other = await self.ask(engine, *self.EXAMPLES, "Other")
        await self.ask(engine, *self.EXAMPLES, "One", one, "More")
        await self.ask(engine, *self.EXAMPLES, "Other", other, "More")
        assert processes(stand_in) == ["p1", "p2", "p1", "p2"]

    async def test_nor_do_those_that_begin_with_the_same_question(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        first = await self.ask(engine, "Hello")
        await self.ask(engine, "Hello")
        await self.ask(engine, "Hello", first, "More")
        assert processes(stand_in) == ["p1", "p2", "p1"]

    async def test_the_same_question_again_takes_its_own_process(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await self.ask(engine, *self.EXAMPLES, "One")
        await self.ask(engine, *self.EXAMPLES, "One")
        assert processes(stand_in) == ["p1", "p1"]

    async def test_the_one_that_ends_where_the_request_goes_on_is_taken(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        first = await self.ask(engine, "One")
        slow = chat("One", first, f"Long {script(tokens=100, pause=0.02)}")
        long = asyncio.create_task(answer(engine, slow, oauth("anna")))
        async with asyncio.timeout(10):
            while len(stand_in.requests) < 2:
                await asyncio.sleep(0.01)
        second = await self.ask(engine, "One", first, "Two")  # meanwhile, so on a process of its own
        await long
        await self.ask(engine, "One", first, "Two", second, "Three")
        assert processes(stand_in) == ["p1", "p1", "p2", "p2"]

    async def test_two_requests_for_one_conversation_at_once_are_both_answered(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        first = await self.ask(engine, "One")
        asked = [answer(engine, chat("One", first, f"Two {script(text=name)}"), oauth("anna")) for name in "ab"]
        assert [said for said, _ in await asyncio.gather(*asked)] == ["a", "b"]
        assert len(set(processes(stand_in)[1:])) == 2
        assert all(said(request)[:2] == ["One", first] for request in stand_in.requests[1:])

    async def test_a_process_that_only_listed_models_is_not_kept(self, engine: ClaudeCode) -> None:
        await engine.models(oauth("anna"), "tenant")
        assert not engine._pool._live


class TestMakingWay:
    async def test_a_one_shots_process_goes_before_that_of_a_conversation(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(reuse_processes=True, max_processes=2)
        first, _ = await answer(engine, chat("One", system="A"), oauth("anna"))
        second, _ = await answer(engine, chat("One", first, "Two", system="A"), oauth("anna"))
        await answer(engine, chat("Shot", system="B"), oauth("anna"))
        await answer(engine, chat("Shot", system="C"), oauth("anna"))  # one has to go
        await answer(engine, chat("One", first, "Two", second, "Three", system="A"), oauth("anna"))
        assert processes(stand_in) == ["p1", "p1", "p2", "p3", "p1"]

    async def test_one_that_waits_for_a_tool_goes_last(self, start_engine: StartEngine, stand_in: StandIn) -> None:
        engine = await start_engine(reuse_processes=True, max_processes=2)
        tool = Tool(name="look", input_schema={"type": "object", "properties": {}})
        call = script(tools=[{"name": "mcp__client__look", "input": {}}])
        await answer(engine, chat(f"Look {call}", tools=(tool,)), oauth("anna"))
        for system in "AB":
            await answer(engine, chat("Shot", system=system), oauth("anna"))
        ((parked,),) = [line for line in engine._pool._live.values() if line[0].parked]
        assert parked.alive

    async def test_what_is_of_no_use_for_long_makes_way_for_a_spare(
        self, start_engine: StartEngine, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = await start_engine(reuse_processes=True, spare_processes=1, max_processes=2)
        for system in "AB":
            await answer(engine, chat("Shot", system=system), oauth("anna"))
        assert not engine._pool.spares.ready, "of late, they are rather kept"
        monkeypatch.setattr(pool, "LIKELY_TO_GO_ON", -1.0)
        engine._pool.keep_ready("cred-anna")
        async with asyncio.timeout(10):
            while not engine._pool.spares.ready:
                await asyncio.sleep(0.01)
        ((left,),) = engine._pool._live.values()
        await answer(engine, chat("Shot", system="B"), oauth("anna"))
        assert left.process.alive, "the one that was of use longest ago has gone"

    async def test_there_are_never_more_processes_than_the_limit(
        self, start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        most, running = 0, 0
        start, end = Process.start, Process.end

        async def started(process: Process) -> None:
            nonlocal most, running
            running += 1
            most = max(most, running)
            await start(process)

        async def ended(process: Process) -> None:
            nonlocal running
            if not process._ended:
                running -= 1
            await end(process)

        monkeypatch.setattr(Process, "start", started)
        monkeypatch.setattr(Process, "end", ended)
        monkeypatch.setattr(pool, "SPARE_DELAY", 0.0)
        engine = await start_engine(reuse_processes=True, spare_processes=2, max_processes=3)
        await asyncio.gather(
            *(answer(engine, chat("Hello", system=f"{n % 3}"), oauth(("anna", "bert")[n % 2])) for n in range(12))
        )
        assert most == 3


class TestKeeping:
    async def test_a_conversation_that_may_go_on_is_not_taken_while_a_spare_waits(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(reuse_processes=True, spare_processes=1)
        first, _ = await answer(engine, chat("One"), oauth("anna"))
        async with asyncio.timeout(10):
            while not engine._pool.spares.ready:
                await asyncio.sleep(0.01)
        await answer(engine, chat("Another conversation"), oauth("anna"))
        await answer(engine, chat("One", first, "Two"), oauth("anna"))
        assert processes(stand_in) == ["p1", "p2", "p1"]

    async def test_live_processes_make_way_for_requests_of_others(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(reuse_processes=True, max_processes=1)
        for name in ("anna", "bert", "anna"):
            await answer(engine, chat("Hello"), oauth(name))
        assert processes(stand_in) == ["p1", "p2", "p3"]

    async def test_a_process_is_retired_after_its_turns_and_its_age(
        self, engine: ClaudeCode, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "MOST_TURNS", 2)
        for _ in range(3):
            await answer(engine, chat("Hello"), oauth("anna"))
        monkeypatch.setattr(session, "OLDEST", 0.0)
        await answer(engine, chat("Hello"), oauth("anna"))
        await answer(engine, chat("Hello"), oauth("anna"))
        assert processes(stand_in) == ["p1", "p1", "p2", "p2", "p3"]

    async def test_a_process_that_holds_too_much_memory_is_retired(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(reuse_processes=True, max_process_memory=1024 * 1024)
        for _ in range(2):
            await answer(engine, chat("Hello"), oauth("anna"))
        assert processes(stand_in) == ["p1", "p2"]

    async def test_a_conversation_that_nobody_goes_on_with_is_ended(
        self, engine: ClaudeCode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await answer(engine, chat("Hello"), oauth("anna"))
        monkeypatch.setattr(pool, "LIVE_KEPT", -1.0)
        engine._pool.keep_ready("cred-anna")
        async with asyncio.timeout(10):
            while engine._pool._live:
                await asyncio.sleep(0.01)

    async def test_one_that_hangs_is_given_up_for_another(
        self, engine: ClaudeCode, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "RESUME_TIMEOUT", 0.3)
        first, _ = await answer(engine, chat("One"), oauth("anna"))
        ((live,),) = engine._pool._live.values()
        os.kill(live.process.pid, signal.SIGSTOP)
        await answer(engine, chat("One", first, "Two"), oauth("anna"))
        assert processes(stand_in) == ["p1", "p2"]
        assert said(stand_in.requests[-1]) == ["One", first, "Two"]

    async def test_one_that_died_meanwhile_is_passed_over(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        first, _ = await answer(engine, chat("One"), oauth("anna"))
        ((live,),) = engine._pool._live.values()
        os.kill(live.process.pid, signal.SIGKILL)
        _, failure = await outcome(engine, chat("One", first, "Two"), oauth("anna"))
        assert failure is None
        assert said(stand_in.requests[-1]) == ["One", first, "Two"]


WORDS = st.text('\0[]{}"ab', max_size=4)
TOKENS = st.text("ab", max_size=4)
TOOLS = st.lists(st.builds(Tool, name=WORDS, input_schema=st.just({}), description=WORDS), max_size=2).map(tuple)
OWNERS = st.tuples(WORDS, st.none() | WORDS, WORDS, TOKENS, WORDS, TOOLS)


@given(OWNERS, OWNERS)
def test_two_owners_are_the_same_only_where_all_of_it_is(one: Any, other: Any) -> None:
    def owner(tenant: str, user: str | None, credential: str, token: str, system: str, tools: Any) -> Owner:
        given = Credential(id=credential, name="", kind=CredentialKind.OAUTH, token=Secret(token))
        return Owner.of(chat("Hello", end_user=user, system=system, tools=tools), given, tenant)

    assert (owner(*one) == owner(*other)) == (one == other)


@given(st.text(), st.integers(0, 20), st.sampled_from(["", " ", "\n"]))
def test_the_digest_of_a_turn_does_not_depend_on_how_its_text_is_split_or_trimmed(
    text: str, at: int, space: str
) -> None:
    whole = Message("assistant", (Text(text),))
    parts = Message("assistant", (Text(space + text[:at]), Text(text[at:] + space)))
    assert digest_of(whole) == digest_of(parts)


@given(st.text(), st.text())
def test_the_digest_of_another_text_is_another(one: str, other: str) -> None:
    same = digest_of(Message("user", (Text(one),))) == digest_of(Message("user", (Text(other),)))
    assert same == (one.strip() == other.strip())


def test_the_digest_knows_images_and_where_they_stand() -> None:
    image, other = (Image(Base64Source("image/png", data)) for data in ("aaaa", "bbbb"))
    turns = [(image,), (other,), (Text("a"), image), (image, Text("a")), (Text("a"),), (image, image)]
    assert len({digest_of(Message("user", turn)) for turn in turns}) == len(turns)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def in_javascript(value: object) -> object:
    """What a client in JavaScript writes of a value that it has read: one kind of number, an order of its own."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: in_javascript(value[name]) for name in sorted(value)}
        case list():
            return [in_javascript(inner) for inner in value]
        case _:
            return value


@given(st.dictionaries(st.text(max_size=3), values, max_size=3), st.text(max_size=9))
def test_the_digest_of_a_call_does_not_depend_on_how_a_client_writes_its_arguments(
    arguments: dict[str, object], text: str
) -> None:
    said = Message("assistant", (Text(text), ToolUse("c", "f", arguments)))
    back = Message("assistant", (Text(text), ToolUse("c", "f", in_javascript(arguments))))  # type: ignore[arg-type]
    assert digest_of(said) == digest_of(back)
    assert digest_of(said) != digest_of(Message("assistant", (Text(text), ToolUse("c", "f", {**arguments, "more": 1}))))


def test_the_digest_knows_documents_and_their_names() -> None:
    pdf, text = Base64Source("application/pdf", "aaaa"), TextSource("aaaa")
    blocks = [Document(pdf), Document(text), Document(pdf, "a"), Document(pdf, "b"), Image(pdf), Text("aaaa")]
    assert len({digest_of(Message("user", (block,))) for block in blocks}) == len(blocks)
