"""Whatever a body holds, it is understood or told what is wrong with it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from described_bodies import bodies
from fuzzing import LONG
from hypothesis import HealthCheck, given, settings

from claude_code_api.dialects.openai_chat import ChatRequest, Limits, decode
from claude_code_api.errors import InvalidRequest
from claude_code_api.settings import Settings

STRICT = Limits.of(Settings())
LENIENT = Limits.of(Settings(unsupported_parameters="ignore", max_depth=12, max_messages=3))

pytestmark = [pytest.mark.fuzz, pytest.mark.policy("V2")]
many = settings(max_examples=4000 if LONG else 150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_understood_or_told(body: Any, limits: Limits) -> None:
    with suppress(InvalidRequest):
        assert isinstance(decode(json.dumps(body).encode(), limits), ChatRequest)


@pytest.mark.parametrize("limits", [STRICT, LENIENT], ids=["strict", "lenient"])
@many
@given(body=bodies(wild=False))
def test_a_body_as_it_is_described_is_understood_or_told_what_is_wrong(limits: Limits, body: Any) -> None:
    is_understood_or_told(body, limits)


@pytest.mark.parametrize("limits", [STRICT, LENIENT], ids=["strict", "lenient"])
@many
@given(body=bodies(wild=True))
def test_a_body_that_parts_from_the_description_is_too(limits: Limits, body: Any) -> None:
    is_understood_or_told(body, limits)
