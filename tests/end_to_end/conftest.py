"""A gateway for each file of tests, with the stand-in behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gateways
import openai
import pytest
from gateways import StartGateway

from claude_code_api.stand_in import StandIn


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> Iterator[gateways.Gateway]:
    """Without limits on clients, without spares and retries."""
    with start_gateway() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway: gateways.Gateway) -> Iterator[openai.OpenAI]:
    """The official client with a key that works."""
    with gateway.client(gateway.key()) as client:
        yield client


@pytest.fixture
def client_for(gateway: gateways.Gateway) -> Iterator[Callable[..., openai.OpenAI]]:
    """Clients that are closed after the test; the arguments are those of `Gateway.key`."""
    opened: list[openai.OpenAI] = []

    def client_for(credential: str = "anna", *, gateway: gateways.Gateway = gateway, **key: Any) -> openai.OpenAI:
        opened.append(gateway.client(gateway.key(credential, **key)))
        return opened[-1]

    yield client_for
    for client in opened:
        client.close()


@pytest.fixture
def gateway_process(stand_in: StandIn, tmp_path: Path) -> Callable[..., gateways.GatewayProcess]:
    """A `serve` process that is not started yet."""

    def make(directory: str = "gateway", **fields: Any) -> gateways.GatewayProcess:
        return gateways.GatewayProcess(tmp_path / directory, stand_in.url, **fields)

    return make
