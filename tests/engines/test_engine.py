from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from making import answer, anthropic_key, chat, oauth, outcome

from claude_code_api.conversation import Accepted, Conversation, Finished, Message, Sampling, Started, Text, TextDelta
from claude_code_api.engines.claude_code import ClaudeCode, mailbox, probe, process
from claude_code_api.engines.claude_code import engine as engine_module
from claude_code_api.errors import (
    CredentialRefused,
    InvalidRequest,
    Overloaded,
    RequestFailure,
    UpstreamError,
    UpstreamTimeout,
)
from claude_code_api.settings import Settings
from claude_code_api.stand_in import StandIn, oauth_token, script

StartEngine = Callable[..., Awaitable[ClaudeCode]]


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def programs() -> list[psutil.Process]:
    """The Claude Code processes that this one has started."""
    return [child for child in psutil.Process().children(recursive=True) if "stream-json" in " ".join(child.cmdline())]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "FIRST_PAUSE", 0.01)


class TestAnswers:
    async def test_events_come_in_their_order(self, engine: ClaudeCode) -> None:
        events, failure = await outcome(engine, chat(f"Go {script(chunks=['a', 'b'])}"), oauth("anna"))
        shown = [event for event in events if isinstance(event, Accepted | Started | TextDelta | Finished)]
        assert failure is None
        assert [type(event).__name__ for event in shown] == [
            "Accepted",
            "Started",
            "TextDelta",
            "TextDelta",
            "Finished",
        ]

    @pytest.mark.parametrize(
        "end",
        [{"stop_reason": "end_turn"}, {"stop_reason": "max_tokens"}, {"stop_reason": "refusal"}, {"error_after": 3}],
    )
    async def test_the_end_of_an_answer_never_waits_and_brings_along_what_does(
        self, engine: ClaudeCode, monkeypatch: pytest.MonkeyPatch, end: dict[str, Any]
    ) -> None:
        monkeypatch.setattr(mailbox, "PIECES_HELD", 3600)
        asked = chat(f"Go {script(chunks=['a', 'b', 'c', 'd'], pause=0.01, **end)}")
        async with asyncio.timeout(10), aclosing(engine.answer(asked, oauth("anna"), tenant="t")) as events:
            said = []
            with suppress(RequestFailure):
                async for event in events:
                    said += [event.text] if isinstance(event, TextDelta) else []
        assert "".join(said) == ("abc" if "error_after" in end else "abcd")

    async def test_the_first_delta_never_waits(self, engine: ClaudeCode, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mailbox, "PIECES_HELD", 3600)
        asked = chat(f"Go {script(chunks=['a', 'b', 'c'], pause=3600)}")
        async with asyncio.timeout(10), aclosing(engine.answer(asked, oauth("anna"), tenant="t")) as events:
            while not isinstance(event := await anext(events), TextDelta):
                pass
        assert event.text == "a"

    @pytest.mark.parametrize("limit", [{"max_tokens": 100}, {}])
    async def test_an_answer_with_a_limit_is_never_left_unread_and_another_not_for_long(
        self, engine: ClaudeCode, monkeypatch: pytest.MonkeyPatch, limit: dict[str, Any]
    ) -> None:
        """Claude Code goes on by itself after an answer that was cut off."""
        monkeypatch.setattr(process, "REST", 3600 if limit else 0.3)
        monkeypatch.setattr(process, "REST_SINCE", 0)
        pieces = [f"{number} " for number in range(50)]
        asked = chat(f"Go {script(chunks=pieces, pause=0.002)}", sampling=Sampling(**limit))
        times = []
        async with asyncio.timeout(10), aclosing(engine.answer(asked, oauth("anna"), tenant="t")) as events:
            said = []
            async for event in events:
                if isinstance(event, TextDelta):
                    said.append(event.text)
                    times.append(asyncio.get_running_loop().time())
        assert said == pieces
        if not limit:
            longest = max(later - earlier for earlier, later in itertools.pairwise(times))
            assert longest >= 0.2, "what gathers while the pipe is left alone comes together"

    async def test_both_kinds_of_credential_are_answered_at_once(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        credentials = [oauth("anna"), anthropic_key("bert")]
        await asyncio.gather(*(answer(engine, chat("Hello"), credential) for credential in credentials))
        assert {request.account for request in stand_in.requests} == {c.token.reveal() for c in credentials}

    async def test_no_process_is_left_after_an_answer_where_none_is_reused(self, start_engine: StartEngine) -> None:
        engine = await start_engine(reuse_processes=False)
        await answer(engine, chat("Hello"), oauth("anna"))
        assert programs() == []

    async def test_the_gateway_goes_before_the_programs_that_it_starts(self, engine: ClaudeCode) -> None:
        await answer(engine, chat("Hello"), oauth("anna"))
        assert {program.nice() for program in programs()} == {min(19, psutil.Process().nice() + 5)}

    async def test_top_p_is_left_out_beside_a_temperature(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        both = Sampling(temperature=0.5, top_p=0.9)
        await answer(engine, chat("Hello", model="claude-haiku-4-5", sampling=both), oauth("anna"))
        body = stand_in.requests[0].body
        assert body["temperature"] == 0.5
        assert "top_p" not in body


class TestSamplingThatAModelRefuses:
    async def test_it_is_refused_with_the_fields_name(self, engine: ClaudeCode) -> None:
        _, failure = await outcome(engine, chat("Hello", sampling=Sampling(temperature=0.5)), oauth("anna"))
        assert isinstance(failure, InvalidRequest)
        assert failure.param == "temperature"

    async def test_it_is_left_out_where_a_setting_says_so(self, start_engine: StartEngine, stand_in: StandIn) -> None:
        engine = await start_engine(unsupported_parameters="ignore")
        sampling = Sampling(temperature=0.5, max_tokens=50)
        _, events = await answer(engine, chat("Hello", sampling=sampling), oauth("anna"))
        assert isinstance(events[-1], Finished)
        assert stand_in.requests[-1].body["max_tokens"] == 50


@pytest.mark.usefixtures("no_pause")
class TestRetries:
    async def test_a_passing_fault_is_tried_again_and_the_client_sees_one_answer(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(retries=2)
        said, events = await answer(
            engine, chat(f"Go {script(status=529, times=2, id=uuid4().hex, text='There')}"), oauth("anna")
        )
        assert said == "There"
        assert [type(event) for event in events].count(Accepted) == 1
        assert len(stand_in.requests) == 3

    async def test_a_lasting_fault_is_told_after_the_last_try(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(retries=1)
        _, failure = await outcome(engine, chat(f"Go {script(status=529)}"), oauth("anna"))
        assert isinstance(failure, Overloaded)
        assert len(stand_in.requests) == 2

    async def test_a_full_queue_is_told_after_its_time_and_not_tried_again(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(retries=5, max_processes=1, queue_timeout=0.3)
        task = asyncio.create_task(outcome(engine, chat(f"Go {script(tokens=500, pause=0.02)}"), oauth("anna")))
        await until(lambda: stand_in.requests)
        began = asyncio.get_running_loop().time()
        _, failure = await outcome(engine, chat("Hello"), oauth("anna"))
        assert isinstance(failure, Overloaded)
        assert asyncio.get_running_loop().time() - began < 3
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @pytest.mark.parametrize("fault", [{"status": 429}, {"status": 403}])
    async def test_what_will_not_pass_in_a_moment_is_not_tried_again(
        self, start_engine: StartEngine, stand_in: StandIn, fault: dict[str, Any]
    ) -> None:
        engine = await start_engine(retries=2)
        _, failure = await outcome(engine, chat(f"Go {script(**fault)}"), oauth("anna"))
        assert failure is not None
        assert len(stand_in.requests) == 1

    async def test_what_the_client_has_seen_is_never_begun_again(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(retries=2)
        events, failure = await outcome(engine, chat(f"Go {script(tokens=9, pause=0.02, cut=3)}"), oauth("anna"))
        assert isinstance(failure, UpstreamError)
        assert any(isinstance(event, TextDelta) for event in events)
        assert len(stand_in.requests) == 1


class TestEnds:
    async def test_closing_an_answer_ends_the_call_upstream_within_a_second(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        async with aclosing(engine.answer(chat(f"Go {script(tokens=500, pause=0.02)}"), oauth("anna"), "t")) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        await until(lambda: stand_in.requests[0].disconnected, 1.0)
        assert (await answer(engine, chat(f"Go {script(text='Fine')}"), oauth("anna")))[0] == "Fine"

    async def test_a_cancelled_answer_ends_its_call_too(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        task = asyncio.create_task(answer(engine, chat(f"Go {script(tokens=500, pause=0.02)}"), oauth("anna")))
        await until(lambda: stand_in.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: stand_in.requests[0].disconnected, 1.0)
        assert (await answer(engine, chat(f"Go {script(text='Fine')}"), oauth("anna")))[0] == "Fine"

    async def test_stopping_ends_spares_and_running_answers_and_clears_up(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(("cred-anna",), spare_processes=2)
        await until(lambda: len(programs()) == 2)
        task = asyncio.create_task(outcome(engine, chat(f"Go {script(tokens=500, pause=0.02)}"), oauth("anna")))
        await until(lambda: stand_in.requests)
        await engine.stop()
        _, failure = await task
        assert isinstance(failure, UpstreamError)
        assert programs() == []
        assert not engine._program.workplace.exists()
        assert not engine.ready


class TestFaults:
    @pytest.mark.parametrize("moment", ["answering", "starting"])
    async def test_a_process_that_dies_is_one_clear_error_and_the_next_request_works(
        self, engine: ClaudeCode, stand_in: StandIn, moment: str
    ) -> None:
        conversation = chat(f"Go {script(tokens=500, pause=0.02)}")
        task = asyncio.create_task(outcome(engine, conversation, oauth("anna")))
        await until(lambda: stand_in.requests if moment == "answering" else programs())
        programs()[0].kill()
        _, failure = await task
        assert isinstance(failure, UpstreamError)
        assert "process ended" in failure.message
        assert (await answer(engine, chat(f"Go {script(text='Fine')}"), oauth("anna")))[0] == "Fine"

    async def test_a_spare_that_died_is_passed_over(self, start_engine: StartEngine) -> None:
        engine = await start_engine(("cred-anna",), spare_processes=1)
        await until(programs)
        programs()[0].kill()
        assert (await answer(engine, chat(f"Go {script(text='Fine')}"), oauth("anna")))[0] == "Fine"

    async def test_a_process_that_hangs_is_given_up_after_its_time(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(idle_timeout=1.5)
        task = asyncio.create_task(outcome(engine, chat(f"Go {script(tokens=500, pause=0.05)}"), oauth("anna")))
        await until(lambda: stand_in.requests)
        os.kill(programs()[0].pid, signal.SIGSTOP)
        _, failure = await task
        assert isinstance(failure, UpstreamTimeout)
        assert programs() == []

    async def test_its_whole_process_group_ends_with_it(
        self, settings: Callable[..., Settings], start_engine: StartEngine, tmp_path: Path
    ) -> None:
        marker = str(600 + os.getpid() / 1e6)  # the processes of this test alone

        def sleepers() -> list[psutil.Process]:
            return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", marker]]

        program = tmp_path / "claude"
        program.write_text(f"#!/bin/sh\nsleep {marker} &\nexec sleep {marker}\n")
        program.chmod(0o755)
        engine = await start_engine((), claude_code_path=program)
        home = engine._program.home("cred-anna")
        home.mkdir(parents=True)
        (home / ".claude.json").write_text('{"userID": "x"}')
        task = asyncio.create_task(outcome(engine, chat("Hello"), oauth("anna")))
        await until(lambda: len(sleepers()) == 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: not sleepers(), 2.0)

    async def test_a_program_that_never_gets_ready_is_given_up(
        self, start_engine: StartEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "CONTROL_TIMEOUT", 0.3)
        monkeypatch.setattr(process, "IDENTITY_TIMEOUT", 0.1)
        program = tmp_path / "claude"
        program.write_text("#!/bin/sh\nwhile read line; do :; done\n")
        program.chmod(0o755)
        engine = await start_engine((), claude_code_path=program)
        _, failure = await outcome(engine, chat("Hello"), oauth("anna"))
        assert isinstance(failure, UpstreamTimeout)

    async def test_what_was_said_before_a_process_died_is_not_lost(self, engine: ClaudeCode) -> None:
        words = [f"{number} " for number in range(400)]
        heard: list[str] = []

        async def listen_slowly() -> None:
            async with aclosing(engine.answer(chat(f"Go {script(chunks=words)}"), oauth("anna"), "t")) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        heard.append(event.text)
                    if len(heard) == 1:  # meanwhile more is written than the buffer holds
                        await asyncio.sleep(0.5)
                        programs()[0].kill()
                        await asyncio.sleep(0.2)

        try:
            await listen_slowly()
        except UpstreamError:
            assert heard == words[: len(heard)]
        else:
            assert heard == words

    async def test_a_program_that_cannot_be_run_is_a_clear_error(
        self, start_engine: StartEngine, tmp_path: Path
    ) -> None:
        program = tmp_path / "claude"
        program.write_text("#!/bin/sh\nexit 3\n")
        program.chmod(0o755)
        engine = await start_engine((), claude_code_path=program)
        _, failure = await outcome(engine, chat("Hello"), oauth("anna"))
        assert isinstance(failure, UpstreamError)

    @pytest.mark.parametrize("output", ["nonsense", "[1]", "{broken"])
    async def test_nonsense_on_its_output_is_no_answer(
        self, start_engine: StartEngine, tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "IDENTITY_TIMEOUT", 0.1)
        program = tmp_path / "claude"
        program.write_text(f"#!/bin/sh\necho '{output}'\necho oops >&2\nread line\nexit 3\n")
        program.chmod(0o755)
        engine = await start_engine((), claude_code_path=program)
        _, failure = await outcome(engine, chat("Hello"), oauth("anna"))
        assert isinstance(failure, UpstreamError)


class TestWaiting:
    async def test_the_requests_of_one_tenant_do_not_hold_up_anothers(
        self, start_engine: StartEngine, stand_in: StandIn
    ) -> None:
        engine = await start_engine(max_processes=1)
        served: list[str] = []

        async def ask(tenant: str, text: str) -> None:
            async with aclosing(engine.answer(chat(text), oauth("anna"), tenant)) as events:
                assert isinstance(await anext(events), Accepted)
                served.append(tenant)
                async for _ in events:
                    pass

        first = asyncio.create_task(ask("greedy", f"Go {script(tokens=500, pause=0.02)}"))
        await until(lambda: stand_in.requests)
        waiting = []
        for tenant in ("greedy", "greedy", "greedy", "modest"):
            waiting.append(asyncio.create_task(ask(tenant, "Hello")))
            await until(lambda: engine._pool.places.waiting == len(waiting))
        first.cancel()
        await asyncio.gather(*waiting)
        assert served == ["greedy", "greedy", "modest", "greedy", "greedy"]


class TestModels:
    async def test_only_so_many_listings_are_remembered(
        self, engine: ClaudeCode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine_module, "LISTINGS", 2)
        for name in ("anna", "bert", "carla"):
            assert await engine.models(oauth(name), "tenant")
        assert list(engine._listings) == ["cred-bert", "cred-carla"]

    async def test_those_who_ask_at_once_are_told_by_one_process(self, start_engine: StartEngine) -> None:
        engine = await start_engine(max_processes=1)
        listings = await asyncio.gather(*(engine.models(oauth("anna"), f"tenant {n}") for n in range(5)))
        assert all(listing is listings[0] for listing in listings)


class TestProbe:
    async def test_a_credential_that_works_passes(self, settings: Callable[..., Settings]) -> None:
        await probe(settings(), oauth("anna"))
        assert programs() == []

    async def test_a_refused_one_is_told(self, settings: Callable[..., Settings]) -> None:
        from claude_code_api.credential import Credential, CredentialKind
        from claude_code_api.secret import Secret

        token = Secret(oauth_token("refused"))
        with pytest.raises(CredentialRefused):
            await probe(settings(), Credential(id="c", name="c", kind=CredentialKind.OAUTH, token=token))

    async def test_a_running_gateway_on_the_same_directory_goes_on(
        self, settings: Callable[..., Settings], engine: ClaudeCode
    ) -> None:
        await probe(settings(), oauth("anna"))
        assert (await answer(engine, chat(f"Go {script(text='Fine')}"), oauth("anna")))[0] == "Fine"


async def test_a_long_history_arrives_whole(engine: ClaudeCode, stand_in: StandIn) -> None:
    long = "x" * 200_000
    messages = tuple(Message("assistant" if n % 2 else "user", (Text(f"{n} {long}"),)) for n in range(9))
    await answer(engine, Conversation(model="haiku", messages=messages), oauth("anna"))
    assert stand_in.requests[0].size > 9 * 200_000
