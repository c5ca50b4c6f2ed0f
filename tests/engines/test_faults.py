"""Whatever fails, at whatever moment: one clear error for one client, counted, and the next request is served."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import signal
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from making import answer, oauth, outcome, texts
from making import chat as conversation_of

from claude_code_api.conversation import Conversation, Message, Text, TextDelta, Tool, ToolResult, ToolUse
from claude_code_api.engines.claude_code import ClaudeCode, process, session
from claude_code_api.engines.claude_code.process import Process
from claude_code_api.engines.claude_code.session import Session
from claude_code_api.errors import Overloaded, RequestFailure, UpstreamError, UpstreamTimeout
from claude_code_api.settings import load
from claude_code_api.stand_in import StandIn, script

StartEngine = Callable[..., Awaitable[ClaudeCode]]
Saying = Callable[[str], Awaitable[ClaudeCode]]
ANNA = oauth("anna")
LONG = f"Go {script(tokens=500, pause=0.02)}"
NEVER = f"Go {script(delay=60, text='Never')}"
TOOL = Tool(name="look", input_schema={"type": "object", "properties": {}})
_calls = itertools.count()


def chat(*turns: str, **fields: Any) -> Conversation:
    """All offer the same tool, and so may share a process."""
    return conversation_of(*turns, **{"tools": (TOOL,), **fields})


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (value := condition()):
            await asyncio.sleep(0.005)
        return value


@pytest_asyncio.fixture(scope="module")
async def _engine(_stand_in_server: StandIn, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClaudeCode]:
    directory = tmp_path_factory.mktemp("faults")
    engine = ClaudeCode(
        load(data_dir=directory, anthropic_base_url=_stand_in_server.url, spare_processes=0, retries=0, max_processes=6)
    )
    await engine.start([ANNA.id])
    yield engine
    await engine.stop()


@pytest_asyncio.fixture
async def engine(_engine: ClaudeCode, stand_in: StandIn) -> ClaudeCode:
    """One for all, with at most one process and no fault counted yet."""
    pool = _engine._pool
    for old in sorted(kept(_engine), key=lambda one: one.idle_since)[:-1]:
        pool._remove(old)
        await old.end()
    _engine.faults.clear()
    return _engine


@pytest_asyncio.fixture
async def spare(engine: ClaudeCode, monkeypatch: pytest.MonkeyPatch) -> psutil.Process:
    """The one spare, which the next request takes."""
    monkeypatch.setattr(engine._pool.spares, "_wanted", 1)
    engine._pool.keep_ready(ANNA.id)
    await until(lambda: engine._pool.spares.ready)
    ((waiting, _),) = [engine._pool.spares.oldest()]  # type: ignore[misc]
    return psutil.Process(waiting.process.pid)


def live(engine: ClaudeCode) -> Session:
    """The process that answered last."""
    return max((one for one in kept(engine) if one.owner), key=lambda one: one.idle_since)


def kept(engine: ClaudeCode) -> list[Session]:
    """All that wait: live ones and spares."""
    live = [one for line in engine._pool._live.values() for one in line]
    return live + [spare for credential in engine._pool.spares._in_use.values() for spare in credential.ready]


def busy(engine: ClaudeCode) -> Process | None:
    return next((session.process for session in engine._pool._busy), None)


def programs() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "stream-json" in " ".join(child.cmdline())]


async def served(engine: ClaudeCode, *turns: str, **fields: Any) -> None:
    """The next request is answered, and nothing but what is kept runs."""
    said, _ = await answer(engine, chat(*turns, f"Go {script(text='Fine')}", **fields), ANNA)
    assert said == "Fine"
    await until(lambda: {program.pid for program in programs()} == {one.process.pid for one in kept(engine)}, 3.0)


@asynccontextmanager
async def asked(engine: ClaudeCode, conversation: Conversation) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(outcome(engine, conversation, ANNA))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def parked(**then: Any) -> tuple[Conversation, Conversation]:
    """A question that is answered with a call, and the request that brings its result."""
    call_id = f"toolu_{next(_calls)}"
    calling = script(tools=[{"name": "mcp__client__look", "input": {}, "id": call_id}], then=then or {"text": "Seen"})
    question = Message("user", (Text(f"Go {calling}"),))
    call = Message("assistant", (ToolUse(call_id, "look", {}),))
    result = Message("user", (ToolResult(call_id, (Text("A tree"),)),))
    asking, bringing = (question,), (question, call, result)
    return tuple(Conversation(model="haiku", messages=turns, tools=(TOOL,)) for turns in (asking, bringing))  # type: ignore[return-value]


class TestKilled:
    async def test_while_it_is_idle_nobody_is_told(self, engine: ClaudeCode) -> None:
        first, _ = await answer(engine, chat("One"), ANNA)
        os.kill(live(engine).process.pid, signal.SIGKILL)
        await until(lambda: engine.faults["died"])
        await served(engine, "One", first)
        assert engine.faults == {"died": 1}

    async def test_while_it_is_a_spare_nobody_is_told(self, engine: ClaudeCode, spare: psutil.Process) -> None:
        spare.kill()
        await until(lambda: engine.faults["died"])
        await served(engine, system="Unseen 1")

    async def test_while_it_is_parked_its_calls_and_results_are_history(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        asking, bringing = parked()
        await outcome(engine, asking, ANNA)
        assert live(engine).parked
        os.kill(live(engine).process.pid, signal.SIGKILL)
        await until(lambda: engine.faults["died"])
        said, _ = await answer(engine, bringing, ANNA)
        assert said == "Seen"
        assert "A tree" in str(stand_in.requests[-1].body)

    async def test_while_it_goes_on_from_a_call(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        asking, bringing = parked(delay=60)
        await outcome(engine, asking, ANNA)
        async with asked(engine, bringing) as task:
            await until(lambda: len(stand_in.requests) == 2)
            os.kill(busy(engine).pid, signal.SIGKILL)  # type: ignore[union-attr]
            _, failure = await task
        assert type(failure) is UpstreamError
        await served(engine)

    @pytest.mark.parametrize("prompt", [NEVER, LONG], ids=["before the first token", "after it"])
    async def test_while_it_answers(self, engine: ClaudeCode, stand_in: StandIn, prompt: str) -> None:
        async with asked(engine, chat(prompt)) as task:
            await until(lambda: stand_in.requests)
            os.kill(busy(engine).pid, signal.SIGKILL)  # type: ignore[union-attr]
            _, failure = await task
        assert type(failure) is UpstreamError
        assert engine.faults == {"died": 1}
        await served(engine)

    async def test_while_it_is_opened(self, engine: ClaudeCode, spare: psutil.Process) -> None:
        spare.suspend()
        async with asked(engine, chat("Hello", system="Unseen 2")) as task:
            await until(lambda: busy(engine) and busy(engine)._client)  # type: ignore[union-attr]
            spare.kill()
            _, failure = await task
        assert type(failure) is UpstreamError
        assert engine.faults == {"died": 1}
        await served(engine, system="Unseen 2")

    async def test_while_it_is_stepped_back_another_one_answers(self, engine: ClaudeCode) -> None:
        await answer(engine, chat("One"), ANNA)
        stepped = live(engine).process
        os.kill(stepped.pid, signal.SIGSTOP)
        async with asked(engine, chat(f"Another {script(text='Fine')}")) as task:
            await until(lambda: stepped._answers)
            os.kill(stepped.pid, signal.SIGKILL)
            _, failure = await task
        assert failure is None
        assert engine.faults == {"died": 1}
        await served(engine)

    async def test_while_an_answer_that_was_left_is_cleared_away(self, engine: ClaudeCode) -> None:
        async with aclosing(engine.answer(chat(LONG), ANNA, "tenant")) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            left = busy(engine)
            assert left
            os.kill(left.pid, signal.SIGSTOP)
            closing = asyncio.create_task(events.aclose())
            await until(lambda: left._answers)
            os.kill(left.pid, signal.SIGKILL)
            await closing
        assert engine.faults == {"died": 1}
        await served(engine)


class TestHung:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session, "RESUME_TIMEOUT", 0.3)
        monkeypatch.setattr(session, "SETTLE_TIMEOUT", 0.3)

    async def test_as_a_spare(self, engine: ClaudeCode, spare: psutil.Process, monkeypatch: pytest.MonkeyPatch) -> None:
        spare.suspend()
        with monkeypatch.context() as patch:
            patch.setattr(process, "CONTROL_TIMEOUT", 0.3)
            _, failure = await outcome(engine, chat("Hello", system="Unseen 3"), ANNA)
        assert isinstance(failure, UpstreamTimeout)
        assert engine.faults["silent"]
        await served(engine, system="Unseen 3")

    async def test_while_it_is_idle_another_one_answers(self, engine: ClaudeCode) -> None:
        first, _ = await answer(engine, chat("One"), ANNA)
        os.kill(live(engine).process.pid, signal.SIGSTOP)
        await served(engine, "One", first)
        assert engine.faults["silent"]

    async def test_while_it_is_parked_another_one_goes_on(self, engine: ClaudeCode) -> None:
        asking, bringing = parked()
        await outcome(engine, asking, ANNA)
        os.kill(live(engine).process.pid, signal.SIGSTOP)
        assert (await answer(engine, bringing, ANNA))[0] == "Seen"
        assert engine.faults["silent"]

    async def test_while_it_answers(
        self, engine: ClaudeCode, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await served(engine)
        monkeypatch.setattr(engine, "_idle_timeout", 0.5)
        async with asked(engine, chat(LONG)) as task:
            await until(lambda: len(stand_in.requests) == 2)
            os.kill(busy(engine).pid, signal.SIGSTOP)  # type: ignore[union-attr]
            _, failure = await task
        assert isinstance(failure, UpstreamTimeout)
        monkeypatch.undo()
        await served(engine)

    async def test_with_a_pipe_that_it_does_not_read(self, engine: ClaudeCode) -> None:
        await served(engine)
        hung = live(engine).process
        os.kill(hung.pid, signal.SIGSTOP)
        hung.send({"type": "user", "message": "x" * 2_000_000})
        with pytest.raises(UpstreamTimeout):
            await hung.drain(0.2)
        assert engine.faults["silent"]
        await served(engine)

    async def test_when_an_answer_is_left(self, engine: ClaudeCode) -> None:
        async with aclosing(engine.answer(chat(LONG), ANNA, "tenant")) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            os.kill(busy(engine).pid, signal.SIGSTOP)  # type: ignore[union-attr]
        assert engine.faults["silent"]
        await served(engine)


class TestNotStarted:
    @pytest.mark.parametrize(
        ("number", "error"),
        [
            (errno.EMFILE, Overloaded),
            (errno.ENFILE, Overloaded),
            (errno.EAGAIN, Overloaded),
            (errno.ENOMEM, Overloaded),
            (errno.EACCES, UpstreamError),
        ],
    )
    async def test_is_told_and_leaves_nothing(
        self, engine: ClaudeCode, monkeypatch: pytest.MonkeyPatch, number: int, error: type[RequestFailure]
    ) -> None:
        async def start(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        scratch = set(engine._program.scratch.iterdir())
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "create_subprocess_exec", start)
            _, failure = await outcome(engine, chat("Hello", system="Unseen 4"), ANNA)
        assert type(failure) is error
        assert os.strerror(number) in failure.message
        assert (failure.retry_after is not None) == (error is Overloaded)
        assert engine.faults == {"start": 1}
        assert set(engine._program.scratch.iterdir()) == scratch


class TestTheSdkAndTheProgram:
    """What the SDK makes of a program that says something else than Claude Code does."""

    @pytest.fixture
    def saying(self, start_engine: StartEngine, tmp_path: Path) -> Saying:
        """An engine whose program reads the token and `initialize`, and then does what is given."""

        async def start(does: str) -> ClaudeCode:
            program = tmp_path / "claude"
            program.write_text(f"#!/bin/sh\nread -r first; read -r second\n{does}\n")
            program.chmod(0o755)
            engine = await start_engine((), claude_code_path=program)
            home = engine._program.home(ANNA.id)
            home.mkdir()
            (home / ".claude.json").write_text('{"userID": "x"}')
            return engine

        return start

    async def test_an_initialize_that_is_refused(self, saying: Saying) -> None:
        refusal = '{"type":"control_response","response":{"subtype":"error","request_id":"%s","error":"no"}}\\n'
        engine = await saying(
            f"""id=${{second#*request_id\\":\\"}}; printf '{refusal}' "${{id%%\\"*}}"; exec sleep 60"""
        )
        _, failure = await outcome(engine, chat("Hello"), ANNA)
        assert type(failure) is UpstreamError

    @pytest.mark.parametrize(
        "line",
        [
            '{"type":"control_response"}',
            '{"type":"control_response","response":7}',
            '{"type":"control_request","request_id":"1"}',
            '{"type":"control_request","request":{"subtype":"mcp_message"}}',
            '{"type":"stream_event"}',
            '{"type":"assistant","message":"x"}',
            '{"type":"result"',
        ],
    )
    async def test_a_message_without_its_parts(self, saying: Saying, line: str) -> None:
        engine = await saying(f"echo '{line}'; exec sleep 60")
        _, failure = await outcome(engine, chat("Hello"), ANNA)
        assert type(failure) is UpstreamError
        assert engine.faults == {"unreadable": 1}

    async def test_an_mcp_message_that_is_none_is_answered_with_an_error_and_the_rest_goes_on(
        self, saying: Saying
    ) -> None:
        wrong = '{"type":"control_request","request_id":"1","request":{"subtype":"mcp_message"}}'
        engine = await saying(f"echo '{wrong}'; read -r third; exit 3")
        _, failure = await outcome(engine, chat("Hello"), ANNA)
        assert type(failure) is UpstreamError
        assert engine.faults == {"died": 1}


class TestLeft:
    async def test_before_the_question_is_begun_it_is_not_asked_to_its_end(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        """The program then says of an interrupt that the question is still queued, and would answer it."""
        await served(engine)
        asked_one = live(engine)
        async with asked(engine, chat(LONG)) as task:
            await until(lambda: asked_one._running, 5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert live(engine) is asked_one
        # The answer takes ten seconds to its end; upstream hears within moments that nobody waits for it.
        await until(lambda: all(request.disconnected for request in stand_in.requests[1:]), 1.0)
        await served(engine)

    async def test_with_more_said_than_the_buffer_holds(self, engine: ClaudeCode) -> None:
        words = [f"{number} " for number in range(3 * process.BUFFERED_MESSAGES)]
        async with aclosing(engine.answer(chat(f"Go {script(chunks=words)}"), ANNA, "tenant")) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            left = busy(engine)
            assert left
            await until(lambda: len(left.said) >= process.BUFFERED_MESSAGES)
        assert live(engine).process is left, "the answer to the interrupt stood behind what nobody read"
        await served(engine)

    async def test_with_a_message_in_the_same_moment(self, engine: ClaudeCode) -> None:
        await served(engine)
        waiting = asyncio.create_task(live(engine).process.message(5.0))
        await asyncio.sleep(0)
        live(engine).process.said.put({"type": "result"})
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def test_what_was_said_between_turns_is_no_part_of_the_next(self, engine: ClaudeCode) -> None:
        await served(engine)
        live(engine).process.said.put({"type": "result", "is_error": True, "api_error_status": 429})
        await served(engine)

    async def test_a_result_that_is_brought_twice_is_one(self, engine: ClaudeCode) -> None:
        asking, bringing = parked()
        await outcome(engine, asking, ANNA)
        result = bringing.messages[-1].content
        twice = (*bringing.messages[:-1], Message("user", (*result, *result)))
        _, failure = await outcome(engine, Conversation(model="haiku", messages=twice, tools=(TOOL,)), ANNA)
        assert failure is None or isinstance(failure, RequestFailure)
        await served(engine)


@types.coroutine
def cancelled_at(number: int, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, bool]:
    """Does the work, and has its task cancelled where it waits for the `number`th time; whether it came so far."""
    step, given, waits = work.send, None, 0
    while True:
        try:
            waited_for = step(given)
        except StopIteration:
            return waits >= number
        waits += 1
        if waits == number:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
        step, given = work.send, None
        try:
            yield waited_for
        except BaseException as fault:  # noqa: BLE001 - handed on to the work
            step, given = work.throw, fault


class TestCancelled:
    """At each moment at which an answer waits for anything."""

    async def _cancel(self, engine: ClaudeCode, number: int, conversation: Conversation) -> bool:
        """Whether it was; afterwards nothing of it is left."""
        try:
            cancelled: bool = await asyncio.create_task(cancelled_at(number, outcome(engine, conversation, ANNA)))
        except asyncio.CancelledError:
            cancelled = True
        assert not engine._pool._busy
        return cancelled

    async def _next(self, engine: ClaudeCode, stand_in: StandIn, number: int) -> None:
        prompt = f"After {number} {script(text='Fine')}"
        assert (await answer(engine, chat(prompt), ANNA))[0] == "Fine"
        assert said_in(stand_in) == [prompt]

    async def test_a_long_answer_is_ended_upstream_and_leaves_no_trace(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        await served(engine)
        for number in range(1, 25):
            stand_in.clear()
            assert await self._cancel(engine, number, chat(LONG))
            await until(lambda: all(request.disconnected for request in stand_in.requests), 1.0)
            await self._next(engine, stand_in, number)

    async def test_a_short_answer_up_to_its_end(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await served(engine)
        number = 1
        while await self._cancel(engine, number, chat("One", "Two", f"Go {script(chunks=list('abc'), pause=0.05)}")):
            await self._next(engine, stand_in, number)
            number += 1
        assert number > 5, number

    async def test_a_call_and_what_follows_its_result(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await served(engine)
        number, cancelled = 1, True
        while cancelled:
            asking, bringing = parked()
            await outcome(engine, asking, ANNA)
            cancelled = await self._cancel(engine, number, bringing)
            await self._next(engine, stand_in, number)
            number += 2
        assert number > 5


def said_in(stand_in: StandIn) -> list[str]:
    """What went upstream last."""
    return [text for _, parts in texts(stand_in.requests[-1]) for text in parts]
