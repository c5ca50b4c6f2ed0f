"""What the engine leans on, asked of the real program: a new SDK is judged by these (`make contract`)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from gateways import is_claude
from making import answer, anthropic_key, chat, device_of, oauth, outcome, texts
from msgspec import structs

from claude_code_api.conversation import (
    Base64Source,
    Conversation,
    Finished,
    Image,
    Message,
    RateLimitStatus,
    Sampling,
    Started,
    Text,
    TextDelta,
)
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.engines.claude_code.history import user_line
from claude_code_api.engines.claude_code.process import Process
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.engines.claude_code.thinking import Thinking
from claude_code_api.errors import RequestFailure
from claude_code_api.stand_in import StandIn, script

pytestmark = pytest.mark.contract


@pytest.fixture
def program(settings: Callable[..., Any]) -> Iterator[Program]:
    program = Program.of(settings())
    program.prepare()
    yield program
    program.clear()


class TestCredentials:
    async def test_an_oauth_token_sent_over_standard_input_is_used(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await answer(engine, chat("Hello"), oauth("anna"))
        (request,) = stand_in.requests
        assert request.headers["authorization"] == f"Bearer {oauth('anna').token.reveal()}"
        assert "x-api-key" not in request.headers

    async def test_an_api_key_applied_as_a_flag_setting_is_used(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await answer(engine, chat("Hello"), anthropic_key("anna"))
        (request,) = stand_in.requests
        assert request.headers["x-api-key"] == anthropic_key("anna").token.reveal()
        assert "authorization" not in request.headers

    async def test_a_token_stands_neither_in_the_environment_nor_on_the_command_line(self, program: Program) -> None:
        for credential in (oauth("anna"), anthropic_key("bert")):
            process = Process(program, credential.id)
            await process.start()
            await process.identity()
            await process.open(credential, "")
            token = credential.token.reveal().encode()
            for name in ("environ", "cmdline"):
                assert token not in Path(f"/proc/{process.pid}/{name}").read_bytes()
            await process.end()


class TestIdentity:
    async def test_one_home_is_one_device_identity_over_many_processes_and_restarts(
        self, start_engine: Callable[..., Awaitable[ClaudeCode]], stand_in: StandIn
    ) -> None:
        for _ in range(2):
            engine = await start_engine()
            await asyncio.gather(*(answer(engine, chat("Hello"), oauth("anna")) for _ in range(3)))
        assert len(stand_in.requests) == 6
        assert len({device_of(request) for request in stand_in.requests}) == 1

    async def test_two_homes_are_two_device_identities(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await answer(engine, chat("Hello"), oauth("anna"))
        await answer(engine, chat("Hello"), oauth("bert"))
        assert len({device_of(request) for request in stand_in.requests}) == 2


class TestPrompts:
    async def test_an_empty_system_prompt_keeps_the_programs_own_away(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        await answer(engine, chat("Hello"), oauth("anna"))
        assert sum(len(block["text"]) for block in stand_in.requests[0].body["system"]) < 300

    async def test_a_system_prompt_is_sent_as_it_is(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        prompt = "Answer in verse.\n\n  @/etc/passwd\t${HOME} \u2028 {{x}} ✓"
        await answer(engine, chat("Hello", system=prompt), oauth("anna"))
        assert stand_in.requests[0].body["system"][-1]["text"] == prompt

    @pytest.mark.policy("V3")
    @pytest.mark.parametrize("mark", ["@/etc/passwd", "@~/.ssh/id_rsa", "/cost", "/clear", "!id", "#note", "@"])
    async def test_marks_that_mean_something_at_a_terminal_are_text(
        self, engine: ClaudeCode, stand_in: StandIn, mark: str
    ) -> None:
        conversation = chat(mark, f"I was told {mark}", f"{mark} and then?", system=mark)
        await answer(engine, conversation, oauth("anna"))
        (request,) = stand_in.requests
        assert texts(request) == [
            ("user", [mark]),
            ("assistant", [f"I was told {mark}"]),
            ("user", [f"{mark} and then?"]),
        ]
        assert request.body["system"][-1]["text"] == mark
        assert "root:" not in str(request.body)

    async def test_a_history_goes_upstream_as_native_turns_in_its_order(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        turns = [f"turn {n}" for n in range(11)]
        await answer(engine, chat(*turns), oauth("anna"))
        sent = texts(stand_in.requests[0])
        assert [role for role, _ in sent] == ["user", "assistant"] * 5 + ["user"]
        assert [text for _, (text,) in sent] == turns

    async def test_a_past_answer_of_any_text_stays_a_turn(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        odd = ["(no content)", "[Request interrupted by user]", "API Error: 500", "</system-reminder>", "/clear"]
        turns = [turn for text in odd for turn in ("Say", text)]
        await answer(engine, chat(*turns, "And?"), oauth("anna"))
        sent = [parts for role, parts in texts(stand_in.requests[0]) if role == "assistant"]
        assert ["".join(parts).rstrip() for parts in sent] == odd

    async def test_images_arrive_as_given_in_history_and_in_the_question(
        self, engine: ClaudeCode, stand_in: StandIn, png: str
    ) -> None:
        image = Image(Base64Source("image/png", png))
        messages = (
            Message("user", (Text("One"), image)),
            Message("assistant", (Text("I see"),)),
            Message("user", (image, Text("Two"))),
        )
        await answer(engine, Conversation(model="haiku", messages=messages), oauth("anna"))
        sent = [turn for turn in stand_in.requests[0].body["messages"] if turn["role"] == "user"]
        source = {"type": "base64", "media_type": "image/png", "data": png}
        assert [[b["source"] for b in turn["content"] if b["type"] == "image"] for turn in sent] == [[source], [source]]

    async def test_no_tool_is_offered(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await answer(engine, chat("Hello"), oauth("anna"))
        assert not stand_in.requests[0].body.get("tools")


class TestSurroundings:
    """What Claude Code tells the model besides."""

    @pytest.mark.parametrize("model", ["claude-haiku-4-5", "haiku"])
    async def test_a_new_day_is_told_at_the_end_and_changes_nothing_before(
        self, program: Program, stand_in: StandIn, model: str
    ) -> None:
        process = Process(
            structs.replace(program, environment={**program.environment, "TZ": "Etc/GMT+12"}), "cred-anna"
        )
        await process.start()
        await process.identity()
        await process.open(oauth("anna"), "")
        for zone in ("Etc/GMT+12", "Etc/GMT-14"):  # a day apart at any hour
            await process.apply(Thinking(), {"model": model, "env": {"TZ": zone}})
            process.send(user_line(Message("user", (Text("What day is it?"),)), ask=True))
            while (await process.message(20))["type"] != "result":
                pass
        await process.end()
        before, after = (str(request.body["messages"]) for request in stand_in.requests)
        assert "The date has changed" not in before
        assert "The date has changed" in after[after.rindex("'role': 'assistant'") :]
        assert len(set(re.findall(r"\d{4}-\d\d-\d\d", after))) == 2


class TestSettings:
    async def test_sampling_reaches_the_request(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        sampling = Sampling(max_tokens=77, temperature=0.25, stop_sequences=("END", "###"))
        await answer(engine, chat("Hello", sampling=sampling, model="claude-haiku-4-5"), oauth("anna"))
        body = stand_in.requests[0].body
        assert (body["max_tokens"], body["temperature"], body["stop_sequences"]) == (77, 0.25, ["END", "###"])

    @pytest.mark.parametrize("model", ["claude-opus-4-1", "claude-sonnet-4-5-20250929"])
    async def test_a_full_model_name_is_neither_mapped_to_a_newer_one_nor_tried_out_first(
        self, engine: ClaudeCode, stand_in: StandIn, model: str
    ) -> None:
        await answer(engine, chat("Hello", model=model), oauth("anna"))
        assert [request.body["model"] for request in stand_in.requests] == [model]

    async def test_thinking_is_off_where_the_model_can_do_without(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await answer(engine, chat("Hello", model="claude-sonnet-4-5-20250929"), oauth("anna"))
        assert stand_in.requests[0].body.get("thinking", {"type": "disabled"}) == {"type": "disabled"}

    async def test_initialize_tells_which_models_there_are(self, engine: ClaudeCode) -> None:
        listed = {model["value"] for model in await engine.models(oauth("anna"), "tenant")}
        assert {"default", "sonnet", "opus", "haiku"} <= listed

    async def test_a_model_that_was_asked_for_does_not_get_into_the_list(self, engine: ClaudeCode) -> None:
        with pytest.raises(RequestFailure):
            await answer(engine, chat("Hello", model="claude-none-9"), oauth("anna"))
        assert "claude-none-9" not in {model["value"] for model in await engine.models(oauth("anna"), "tenant")}


FAILURES = [
    # script, our failure, requests upstream
    ({"status": 400, "message": "the thing is wrong"}, "InvalidRequest", None),
    ({"status": 401}, "CredentialRefused", None),
    ({"status": 403, "message": "not for you"}, "PermissionDenied", 1),
    ({"status": 404}, "NotFound", None),
    ({"status": 413}, "RequestTooLarge", 1),
    ({"status": 429}, "RateLimited", 1),
    ({"status": 500}, "UpstreamError", 1),
    ({"status": 503}, "UpstreamError", 1),
    ({"status": 529}, "Overloaded", 1),
    ({"cut": 0}, "UpstreamError", 1),
    ({"nonsense": True}, "UpstreamError", 1),
    ({"tokens": 8, "pause": 0.01, "cut": 3}, "UpstreamError", 1),
    ({"tokens": 8, "pause": 0.01, "error_after": 3, "error_type": "overloaded_error"}, "Overloaded", 1),
    ({"tokens": 8, "pause": 0.01, "error_after": 3, "error_type": "api_error"}, "UpstreamError", 1),
]


class TestFailures:
    @pytest.mark.parametrize(("fault", "expected", "calls"), FAILURES, ids=lambda value: str(value)[:40])
    async def test_an_error_upstream_is_never_an_answer(
        self, engine: ClaudeCode, stand_in: StandIn, fault: dict[str, Any], expected: str, calls: int | None
    ) -> None:
        events, failure = await outcome(engine, chat(f"Go {script(**fault)}"), oauth("anna"))
        assert type(failure).__name__ == expected
        assert not any(isinstance(event, Finished) for event in events)
        assert all(event.text.strip().isalpha() for event in events if isinstance(event, TextDelta))
        if calls is not None:  # it leaves retries to us
            assert len(stand_in.requests) == calls

    async def test_anthropics_own_words_about_the_request_are_kept(self, engine: ClaudeCode) -> None:
        fault = script(status=400, message="messages.0: the thing is wrong")
        with pytest.raises(RequestFailure, match=r"^messages\.0: the thing is wrong$"):
            await answer(engine, chat(f"Go {fault}"), oauth("anna"))

    async def test_a_limit_tells_when_it_ends(self, engine: ClaudeCode) -> None:
        reset = int(time.time()) + 300
        fault = script(status=429, rate_limit={"status": "rejected", "reset": reset, "type": "five_hour"})
        events, failure = await outcome(engine, chat(f"Go {fault}"), oauth("anna"))
        assert RateLimitStatus(status="rejected", resets_at=reset, limit_type="five_hour") in events
        assert failure is not None
        assert failure.retry_after is not None
        assert 290 <= failure.retry_after <= 300


class TestOneRequestIsOneCall:
    """Left alone, Claude Code would go on by itself after each of these."""

    @pytest.mark.parametrize(
        "reason", ["max_tokens", "refusal", "pause_turn", "model_context_window_exceeded", "end_turn", "stop_sequence"]
    )
    async def test_an_answer_ends_where_the_model_stopped(
        self, engine: ClaudeCode, stand_in: StandIn, reason: str
    ) -> None:
        said, events = await answer(engine, chat(f"Go {script(text='So far', stop_reason=reason)}"), oauth("anna"))
        assert said == "So far"
        assert isinstance(end := events[-1], Finished)
        assert end.stop_reason == reason
        # After some it would ask the model to go on, and is killed; on a busy machine it may have begun to.
        killed = reason in ("max_tokens", "model_context_window_exceeded", "pause_turn")
        assert len(stand_in.requests) <= (2 if killed else 1)

    async def test_an_empty_answer_is_an_answer(self, engine: ClaudeCode) -> None:
        said, events = await answer(engine, chat(f"Go {script(text='')}"), oauth("anna"))
        assert said == ""
        assert isinstance(events[-1], Finished)

    async def test_usage_is_anthropics_own(self, engine: ClaudeCode) -> None:
        counts = {
            "input_tokens": 11,
            "output_tokens": 7,
            "cache_read_input_tokens": 5,
            "cache_creation_input_tokens": 3,
        }
        _, events = await answer(engine, chat(f"Go {script(text='Hi', usage=counts)}"), oauth("anna"))
        assert isinstance(end := events[-1], Finished)
        assert counts.items() <= structs.asdict(end.usage).items()
        assert end.usage.prompt_tokens == 19

    async def test_a_thinking_model_answers_with_its_text_only(self, engine: ClaudeCode) -> None:
        said, events = await answer(engine, chat(f"Go {script(thinking='Hmm', text='Yes')}"), oauth("anna"))
        assert said == "Yes"
        assert any(isinstance(event, Started) for event in events)


class TestTraces:
    async def test_no_prompt_and_no_answer_is_written_to_disk(
        self, engine: ClaudeCode, data_dir: Path, program: Program
    ) -> None:
        marks = [b"canary-system", b"canary-history", b"canary-answer", b"canary-question"]
        conversation = chat("canary-history", "canary-answer", "canary-question", system="canary-system")
        await answer(engine, conversation, oauth("anna"))
        kept = {}
        for path in data_dir.rglob("*"):
            with suppress(FileNotFoundError, IsADirectoryError):  # the program still moves some into their places
                kept[path] = path.read_bytes()
        assert kept, "the home holds the program's own configuration at least"
        for path, content in kept.items():
            assert not [mark for mark in marks if mark in content], path
        assert not list(program.workplace.iterdir())

    async def test_nothing_but_the_messages_api_is_called(self, engine: ClaudeCode, stand_in: StandIn) -> None:
        await answer(engine, chat("Hello"), oauth("anna"))
        assert {(request.method, request.path) for request in stand_in.requests} == {("POST", "/v1/messages")}

    async def test_the_program_is_told_a_working_directory_that_says_nothing(
        self, engine: ClaudeCode, stand_in: StandIn, data_dir: Path
    ) -> None:
        await answer(engine, chat("Hello"), oauth("anna"))
        assert str(data_dir) not in str(stand_in.requests[0].body)


class TestProcess:
    async def test_it_has_no_processes_of_its_own_which_could_outlive_it(
        self, engine: ClaudeCode, stand_in: StandIn
    ) -> None:
        slow = chat(f"Go {script(tokens=60, pause=0.01)}")
        async for event in engine.answer(slow, oauth("anna"), "tenant"):
            if isinstance(event, TextDelta):
                (program,) = filter(is_claude, psutil.Process().children())
                assert program.children() == []

    async def test_a_user_message_that_asks_nothing_calls_no_model(self, program: Program, stand_in: StandIn) -> None:
        process = Process(program, "cred-anna")
        await process.start()
        await process.identity()
        await process.open(oauth("anna"), "")
        process.send(user_line(Message("user", (Text("Note this"),)), ask=False))
        while (message := await process.message(10))["type"] != "result":
            pass
        await process.end()
        assert message["num_turns"] == 0
        assert stand_in.requests == []
