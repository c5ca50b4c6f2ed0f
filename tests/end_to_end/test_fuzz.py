"""Nothing that schemathesis makes of the interface's own description, true to it or not, is a fault of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from described_bodies import bodies
from fuzzing import LONG, SECONDS, TIMES
from gateways import Gateway
from hypothesis import HealthCheck, given, settings

from claude_code_api.dialects.openai_chat import Limits, decode
from claude_code_api.errors import InvalidRequest
from claude_code_api.settings import Settings

UNFIT = (
    "positive_data_acceptance",  # a schema cannot tell everything: that a tool's result answers a call, say
    "negative_data_rejection",  # unknown fields and headers are accepted on purpose
)
SHORT = ["--phases", "examples,fuzzing", "--max-examples", "25", "--seed", "1"]
OTHERS = "^/(admin/|metrics$)"  # by HTTPS alone: tests/admin/test_admin_fuzz.py
WHOLE = ["--phases", "examples,coverage,fuzzing", "--max-time", str(SECONDS)]
LIMITS = Limits.of(Settings())


def _is_understood(body: dict[str, Any]) -> bool:
    try:
        decode(json.dumps(body).encode(), LIMITS)
    except InvalidRequest:
        return False
    return True


@pytest.mark.fuzz
@pytest.mark.policy("V2")
def test_schemathesis_finds_no_fault_of_ours(gateway: Gateway, tmp_path: Path) -> None:
    key = gateway.key()
    with gateway.client(key) as client:
        client.models.list()  # from now on an unknown name is told without a process
    command = [
        sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
        f"{gateway.http_url}/openapi.json", "--header", f"Authorization: Bearer {key}", "--header", f"x-api-key: {key}",
        "--exclude-checks", ",".join(UNFIT), "--warnings", "off", "--no-color",
        "--exclude-path-regex", OTHERS if LONG else f"{OTHERS}|health", *(WHOLE if LONG else SHORT),
    ]  # fmt: skip
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.fuzz
@pytest.mark.policy("V2")
@settings(
    max_examples=10 * TIMES, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
@given(bodies(wild=False).filter(_is_understood))
def test_whatever_is_understood_is_answered_or_told_what_is_wrong(client: openai.OpenAI, body: dict[str, Any]) -> None:
    """Each of these is asked of the real Claude Code, and the stand-in is as strict as Anthropic."""
    path = client.base_url.join("chat/completions")
    sent = json.dumps(body | {"model": "haiku"})
    answer = client._client.post(path, content=sent, headers=client.auth_headers)
    assert answer.status_code < 500, answer.text
