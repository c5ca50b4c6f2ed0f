"""A gateway for each file of tests, with the stand-in behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import gateways
import openai
import pytest

from claude_code_api.settings import load
from claude_code_api.stand_in import StandIn

StartGateway = Callable[..., AbstractContextManager[gateways.Gateway]]


@pytest.fixture(scope="session")
def start_gateway(_stand_in_server: StandIn, tmp_path_factory: pytest.TempPathFactory) -> StartGateway:
    """Starts gateways in threads of their own: `with start_gateway(retries=1) as gateway:`."""

    def start(**fields: Any) -> AbstractContextManager[gateways.Gateway]:
        given = {
            "port": 0, "https_port": 0, "spare_processes": 0, "retries": 0, "rate_limit_per_ip": "off", "stop_grace": 1,
            "data_dir": tmp_path_factory.mktemp("gateway") / "data", "anthropic_base_url": _stand_in_server.url,
        }  # fmt: skip
        return gateways.in_thread(load(**(given | fields)))

    return start


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
