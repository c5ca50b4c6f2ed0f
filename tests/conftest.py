"""What every test stands on: no network but loopback, one stand-in for Anthropic's API, tokens made at run time."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import gateways
import loopback
import pytest
import pytest_asyncio
from databases import DATABASES, fresh
from gateways import StartGateway
from postgres import Postgres, running_postgres
from redis_server import RedisServer, running_redis

from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.settings import Settings, load
from claude_code_api.stand_in import StandIn

StartEngine = Callable[..., Awaitable[ClaudeCode]]
NETWORK = loopback.confine()  # here, before there is any thread


def pytest_report_header() -> str:
    return f"network: {NETWORK}"


@pytest.fixture(scope="session", autouse=True)
def _no_credentials_of_the_caller() -> Iterator[None]:
    """The caller's settings, tokens and proxies count for nothing here."""
    import os

    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CCAPI_", "ANTHROPIC_", "CLAUDE_")) or name.upper() in {
                "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "PORT", "HTTPS_PORT", "LOG_LEVEL",
                "ADMIN_PASSWORD", "DATABASE_URL", "REDIS_URL", "SSL_CERT_FILE", "OPENAI_API_KEY", "OPENAI_BASE_URL",
            }:  # fmt: skip
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def _stand_in_server() -> Iterator[StandIn]:
    with StandIn.in_thread() as stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "every_database" in metafunc.fixturenames:
        of_sqlite = metafunc.definition.get_closest_marker("sqlite")
        metafunc.parametrize("every_database", ["sqlite"] if of_sqlite else DATABASES, indirect=True)


@pytest.fixture
def every_database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs on each database in turn: the settings name it, where it is not the default one."""
    if request.param != "sqlite":
        monkeypatch.setenv("DATABASE_URL", fresh(request.param, tmp_path, request).reveal())


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


@pytest.fixture
def stand_in(_stand_in_server: StandIn) -> StandIn:
    """The upstream, with no request recorded yet."""
    _stand_in_server.clear()
    return _stand_in_server


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(_redis_server: RedisServer) -> RedisServer:
    """One that knows nothing yet, whatever the test before has done to it."""
    return _redis_server.made_ready()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="session")
def png() -> str:
    """A real image, 16 by 16 pixels, in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = b"".join(b"\0" + bytes((x * 7 + y * 3) % 256 for x in range(48)) for y in range(16))
    header = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    whole = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + whole).decode()


@pytest.fixture
def settings(stand_in: StandIn, data_dir: Path) -> Callable[..., Settings]:
    def make(**fields: Any) -> Settings:
        given = {"spare_processes": 0, "retries": 0, "max_processes": 8, **fields}
        return load(data_dir=data_dir, anthropic_base_url=stand_in.url, **given)

    return make


@pytest_asyncio.fixture
async def start_engine(settings: Callable[..., Settings]) -> AsyncIterator[StartEngine]:
    """Starts engines, and ends them after the test."""
    started: list[ClaudeCode] = []

    async def start(credential_ids: tuple[str, ...] = ("cred-anna", "cred-bert"), **fields: Any) -> ClaudeCode:
        engine = ClaudeCode(settings(**fields))
        await engine.start(credential_ids)
        started.append(engine)
        return engine

    yield start
    for engine in started:
        await engine.stop()


@pytest_asyncio.fixture
async def engine(start_engine: StartEngine) -> ClaudeCode:
    """One without spares and without retries."""
    return await start_engine()
