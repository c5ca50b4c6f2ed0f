"""The real Claude Code program takes the stand-in for Anthropic's API."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import claude_agent_sdk
import pytest
from PIL import Image

from claude_code_api.stand_in import StandIn, oauth_token, script

PROGRAM = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
OPTIONS = [
    "--print", "--input-format=stream-json", "--output-format=stream-json", "--verbose", "--include-partial-messages",
    "--setting-sources=", "--tools=", "--no-session-persistence",
]  # fmt: skip

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(stand_in: StandIn, tmp_path: Path) -> Run:
    """Gives the program one user message and returns everything that it told."""

    def run(content: Any, *options: str, account: str = "demo") -> list[dict[str, Any]]:
        home, configuration, empty = (tmp_path / name for name in ("home", "configuration", "empty"))
        for directory in (home, configuration, empty):
            directory.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(configuration),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            "CLAUDE_CODE_OAUTH_TOKEN": oauth_token(account),
            "ANTHROPIC_BASE_URL": stand_in.url,
        }
        message = {"type": "user", "client_composed": True, "message": {"role": "user", "content": content}}
        done = subprocess.run(
            [PROGRAM, *OPTIONS, *options],
            input=json.dumps(message) + "\n", cwd=empty, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def deltas(told: list[dict[str, Any]]) -> list[str]:
    events = [line["event"] for line in told if line["type"] == "stream_event"]
    return [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]


def test_it_gets_its_answer_streamed(run: Run, stand_in: StandIn) -> None:
    told = run(script(chunks=["Grüß ", "dich", "!"]))
    assert deltas(told) == ["Grüß ", "dich", "!"]
    assert (told[-1]["type"], told[-1]["is_error"], told[-1]["result"]) == ("result", False, "Grüß dich!")
    assert [(request.path, request.account) for request in stand_in.requests] == [("/v1/messages", oauth_token())]


@pytest.mark.parametrize("model", ["sonnet", "opus", "haiku", "claude-sonnet-4-5", "claude-opus-4-6"])
def test_its_requests_obey_the_rules_for_every_kind_of_model(run: Run, model: str) -> None:
    assert run("Hello", "--model", model)[-1]["result"] == 'I see 1 turn, which says "Hello".'


def test_its_own_system_prompt_is_cached(run: Run) -> None:
    written, read = (run("Hello", "--tools=default")[-1]["usage"] for _ in range(2))
    assert written["cache_creation_input_tokens"] > 1000
    assert read["cache_read_input_tokens"] > 1000


def test_it_sends_images(run: Run) -> None:
    file = io.BytesIO()
    Image.new("RGB", (31, 17)).save(file, "PNG")
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(file.getvalue()).decode()}
    told = run([{"type": "text", "text": "Look"}, {"type": "image", "source": source}])
    assert told[-1]["result"].endswith("With it came an image/png of 31×17 pixels.")


def test_a_tool_that_it_does_not_have_is_answered_and_the_script_goes_on(run: Run, stand_in: StandIn) -> None:
    told = run(
        script(text="Wait.", tools=[{"name": "nothing", "input": {"a": "é"}}], then={"text": "It is not there."})
    )
    assert told[-1]["result"] == "It is not there."
    last = stand_in.requests[-1].body["messages"]
    assert [block["type"] for message in last for block in message["content"] if "tool_use_id" in block] == [
        "tool_result"
    ]


@pytest.mark.parametrize(
    ("fields", "account", "status"),
    [
        ({"status": 400, "message": "out of luck"}, "demo", 400),
        ({"status": 529}, "demo", 529),
        ({}, "refused", 401),
        ({}, "revoked", 403),
    ],
)
def test_it_tells_of_errors(run: Run, fields: dict[str, Any], account: str, status: int) -> None:
    last = run(script(**fields), account=account)[-1]
    assert (last["is_error"], last["api_error_status"]) == (True, status)


def test_it_reads_the_limits_of_a_subscription(run: Run) -> None:
    limit = {"status": "rejected", "reset": 2_000_000_000, "type": "seven_day"}
    told = run(script(status=429, rate_limit=limit))
    (event,) = [line["rate_limit_info"] for line in told if line["type"] == "rate_limit_event"]
    assert (event["status"], event["resetsAt"], event["rateLimitType"]) == ("rejected", 2_000_000_000, "seven_day")
    assert told[-1]["api_error_status"] == 429
