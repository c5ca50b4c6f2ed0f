"""The stand-in starts and ends cleanly in every way, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from claude_code_api.stand_in import StandIn, api_key, oauth_token, script
from claude_code_api.stand_in.record import RecordedRequest, Records

Ask = Callable[..., Awaitable[tuple[int, bytes]]]
HEADERS = {"x-api-key": api_key(), "anthropic-version": "2023-06-01"}


def user(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5", "max_tokens": 1000, "messages": [{"role": "user", "content": text}]} | fields


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_requests_are_recorded_as_they_came(stand_in: StandIn) -> None:
    headers = {"Authorization": f"Bearer {oauth_token('Ada')}", "anthropic-version": "2023-06-01", "X-Mark": "ä"}
    before = datetime.now(UTC)
    async with asking(stand_in.url, headers) as ask:
        await ask("POST", "/v1/messages?beta=true", json=user("Hello"))
        await ask("GET", "/v1/models")
        await ask("POST", "/v1/messages", data=b"{")
    sent, listed, broken = stand_in.requests
    assert (sent.method, sent.path, sent.query) == ("POST", "/v1/messages", "beta=true")
    assert sent.body == user("Hello")
    assert sent.headers["x-mark"].encode("latin-1").decode() == "ä"
    assert sent.account == oauth_token("Ada")
    assert timedelta() <= sent.received - before < timedelta(seconds=10)
    assert (listed.path, listed.body) == ("/v1/models", None)
    assert broken.body == "{"
    stand_in.clear()
    assert stand_in.requests == []


async def test_records_are_shown_and_cleared_from_outside(stand_in: StandIn) -> None:
    async with asking(stand_in.url) as ask:
        await ask("POST", "/v1/messages", json=user("Hello"), headers=HEADERS)
        (shown,) = json.loads((await ask("GET", "/stand-in/requests"))[1])
        assert (shown["account"], shown["body"]["max_tokens"], shown["disconnected"]) == (api_key(), 1000, False)
        assert (await ask("DELETE", "/stand-in/requests"))[0] == 200
        assert json.loads((await ask("GET", "/stand-in/requests"))[1]) == []
        assert (await ask("POST", "/stand-in/requests"))[0] == 405


async def test_wrong_paths_and_methods_are_told(stand_in: StandIn) -> None:
    async with asking(stand_in.url, HEADERS) as ask:
        assert (await ask("GET", "/v1/messages"))[0] == 405
        status, body = await ask("GET", "/v1/nothing")
        assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")


async def test_a_body_that_is_too_large_is_refused(stand_in: StandIn) -> None:
    body = io.BytesIO(bytes(33 * 1024 * 1024))
    async with (
        aiohttp.ClientSession(stand_in.url, headers=HEADERS) as session,
        session.post("/v1/messages", data=body) as answer,
    ):
        assert answer.status == 413
        assert (await answer.json())["error"]["type"] == "request_too_large"


async def send(stand_in: StandIn, body: bytes, length: int) -> asyncio.StreamWriter:
    """Sends a request whose answer nobody reads."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(stand_in.url.rpartition(":")[2]))
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    writer.write(f"POST /v1/messages HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n".encode() + body)
    await writer.drain()
    return writer


@pytest.mark.parametrize(
    "fields",
    [{"delay": 60}, {"first_token_delay": 60}, {"tokens": 100, "pause": 1}, {"text": "x" * 10**6, "repeat": 50}],
    ids=lambda fields: next(iter(fields)),
)
async def test_a_client_that_goes_away_is_noticed(stand_in: StandIn, fields: dict[str, Any]) -> None:
    body = json.dumps(user(script(**fields), stream=True)).encode()
    writer = await send(stand_in, body, len(body))
    await until(lambda: stand_in.requests)
    assert not stand_in.requests[-1].disconnected
    writer.close()
    await writer.wait_closed()
    await until(lambda: stand_in.requests[-1].disconnected)


async def test_a_client_that_breaks_off_its_request_leaves_no_record(stand_in: StandIn) -> None:
    writer = await send(stand_in, b"half", 100)
    writer.close()
    await writer.wait_closed()
    async with asking(stand_in.url, HEADERS) as ask:
        await ask("GET", "/v1/models")
    assert [request.path for request in stand_in.requests] == ["/v1/models"]


async def test_a_long_answer_arrives_whole(stand_in: StandIn) -> None:
    async with aiohttp.ClientSession(stand_in.url, headers=HEADERS) as session:
        answer = await session.post("/v1/messages", json=user(script(tokens=900), stream=True))
        events = (await answer.text()).split("\n\n")
    assert sum(event.startswith("event: content_block_delta") for event in events) == 900
    assert not stand_in.requests[-1].disconnected


@pytest.mark.parametrize("stream", [False, True])
async def test_the_end_of_the_stand_in_cuts_what_is_under_way(stream: bool) -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        async with StandIn() as stand_in:
            url = stand_in.url + "/v1/messages"
            prompt = script(tokens=100, delay=0 if stream else 60, pause=1)
            reading = asyncio.create_task(_read(session, url, user(prompt, stream=stream)))
            await until(lambda: stand_in.requests)
        with pytest.raises(aiohttp.ClientError):
            await reading
        with pytest.raises(aiohttp.ClientError):
            await session.get(stand_in.url)


@asynccontextmanager
async def asking(base_url: str, headers: dict[str, str] | None = None) -> AsyncIterator[Ask]:
    """Asks, and reads each answer whole: one that is left unread would leave its connection open."""

    async def ask(method: str, path: str, **fields: Any) -> tuple[int, bytes]:
        async with session.request(method, path, **fields) as answer:
            return answer.status, await answer.read()

    async with aiohttp.ClientSession(base_url, headers=headers) as session:
        yield ask


async def _read(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bytes:
    async with session.post(url, json=body) as answer:
        return await answer.read()


def test_the_thread_ends_with_its_block() -> None:
    before = threading.active_count()
    with StandIn.in_thread() as stand_in:
        assert stand_in.url.startswith("http://127.0.0.1:")
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_port_that_is_taken_is_told_to_the_starter() -> None:
    with StandIn.in_thread() as stand_in:
        port = int(stand_in.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"), StandIn.in_thread(port):
            pytest.fail("two servers on one port")


async def test_ending_one_that_never_began_does_nothing() -> None:
    await StandIn().__aexit__(None, None, None)


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "claude_code_api.stand_in"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_program_prints_its_url_and_ends_when_told(program: subprocess.Popen[str], number: int) -> None:
    assert program.stdout
    url = program.stdout.readline().strip()
    async with asking(url, HEADERS) as ask:
        assert (await ask("GET", "/v1/models"))[0] == 200
    program.send_signal(number)
    rest, complaints = program.communicate(timeout=10)
    assert (program.returncode, rest, complaints) == (0, "", "")


def recorded(body: bytes) -> RecordedRequest:
    record = RecordedRequest({"method": "POST", "path": "/", "query_string": b"", "headers": []})
    record.take(body)
    return record


def test_records_are_bounded_by_number_and_by_size() -> None:
    records = Records(max_requests=3, max_bytes=10)
    for body in (b"1", b"2", b"3", b"4"):
        records.add(recorded(body))
    assert [record.body for record in records.snapshot()] == [2, 3, 4]
    records.add(recorded(b"123456789"))
    assert [record.body for record in records.snapshot()] == [4, 123456789]
    records.add(recorded(b"[1, 2, 3, 4, 5]"))
    assert [record.body for record in records.snapshot()] == [[1, 2, 3, 4, 5]]
