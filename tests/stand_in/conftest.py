"""A stand-in in a thread of its own, and the official client for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from claude_code_api.stand_in import StandIn, api_key

MODEL = "claude-sonnet-5"


@pytest.fixture(scope="module")
def running_stand_in() -> Iterator[StandIn]:
    with StandIn.in_thread() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(running_stand_in: StandIn) -> StandIn:
    running_stand_in.clear()
    return running_stand_in


@pytest.fixture
def client(stand_in: StandIn) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=api_key(), base_url=stand_in.url, max_retries=0) as client:
        yield client


@pytest.fixture
def ask(client: anthropic.Anthropic) -> Any:
    """Asks with one user message and gives the whole answer."""

    def ask(text: str, **fields: Any) -> anthropic.types.Message:
        request: dict[str, Any] = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": text}]}
        return client.messages.create(**(request | fields))

    return ask
