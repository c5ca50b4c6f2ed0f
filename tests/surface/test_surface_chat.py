"""The chat route: whole and streamed answers, failures before and after the first byte, clients that leave."""

from __future__ import annotations

import asyncio
import json
from itertools import repeat
from typing import Any

import pytest
import structlog
from surface_server import CHAT, FINISHED, HELLO, KEY, Gate, chat_body, chat_request, happened

from claude_code_api.conversation import Accepted, RateLimitStatus, Started, TextDelta
from claude_code_api.errors import Overloaded, RateLimited, UpstreamError

SSE = "text/event-stream; charset=utf-8"


def events(body: bytes) -> list[str]:
    return [block for block in body.decode().split("\n\n") if block]


async def test_a_whole_answer_is_one_json_document(serve, http):
    served = serve()
    async with http.post(served.http + CHAT, json=json.loads(chat_body())) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        shown = await answer.json()
    assert shown["choices"][0]["message"]["content"] == "Hello"
    assert shown["usage"]["total_tokens"] == 9


async def test_a_stream_gives_each_delta_and_ends_with_done(serve, http):
    served = serve()
    async with http.post(served.http + CHAT, data=chat_body(stream=True)) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, SSE)
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Cache-Control"] == "no-store"
        shown = events(await answer.read())
    assert shown[-1] == "data: [DONE]"
    chunks = [json.loads(block.removeprefix("data: ")) for block in shown[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "Hello"


async def test_each_delta_goes_out_at_once(serve, http, gateway):
    gate = Gate()
    gateway.script = [Accepted(), Started("m"), TextDelta("first"), gate, TextDelta("second"), FINISHED]
    served = serve()
    async with http.post(served.http + CHAT, data=chat_body(stream=True)) as answer:
        async with asyncio.timeout(5):
            while b"first" not in await answer.content.readline():
                pass
        assert not gate.left.is_set()
        gate.open()
        assert b"second" in await answer.read()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_byte_has_its_own_status(serve, http, gateway, stream):
    gateway.script = [RateLimitStatus(status="rejected"), Accepted(), RateLimited("Too much.", retry_after=17)]
    served = serve()
    async with http.post(served.http + CHAT, data=chat_body(stream=stream)) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "17")
        assert (await answer.json())["error"]["type"] == "rate_limit_error"


async def test_a_failure_after_the_first_byte_is_an_error_event_and_the_end(serve, http, gateway):
    gateway.script = [Accepted(), Started("m"), TextDelta("Hel"), UpstreamError("It broke.")]
    served = serve()
    async with http.post(served.http + CHAT, data=chat_body(stream=True)) as answer:
        assert answer.status == 200
        shown = events(await answer.read())
    assert json.loads(shown[-1].removeprefix("data: "))["error"]["code"] == "upstream_error"
    assert "data: [DONE]" not in shown


@pytest.mark.policy("V2")
@pytest.mark.parametrize("begun", [False, True])
async def test_a_fault_of_ours_is_logged_without_values_and_never_shown(serve, http, gateway, begun):
    gateway.script = [*HELLO[: 3 if begun else 1], ValueError("what the client wrote")]
    served = serve()
    with structlog.testing.capture_logs() as logs:
        async with http.post(served.http + CHAT, data=chat_body(stream=True)) as answer:
            shown = (await answer.read()).decode()
            assert answer.status == (200 if begun else 500)
            request_id = answer.headers["X-Request-Id"]
    assert "internal_error" in shown
    assert "client wrote" not in shown + str(logs)
    fault = next(line for line in logs if line["event"] == "request failed")
    assert fault["request_id"] == request_id
    assert "builtins.ValueError" in fault["fault"]


async def test_comments_break_the_silence_once_a_process_answers(serve, http, gateway):
    gate = Gate()
    gateway.script = [Accepted(), gate, Started("m"), TextDelta("late"), FINISHED]
    served = serve(keepalive_interval=0.02)
    async with http.post(served.http + CHAT, data=chat_body(stream=True)) as answer:
        for _ in range(3):
            assert await answer.content.readline() == b": keep-alive\n"
            assert await answer.content.readline() == b"\n"
        gate.open()
        rest = events(await answer.read())
    assert rest[-1] == "data: [DONE]"


async def test_no_comment_while_the_request_waits_so_that_a_503_can_be_told(serve, http, gateway):
    gate = Gate()
    gateway.script = [gate, Overloaded("All are busy.", retry_after=3)]
    served = serve(keepalive_interval=0.01)
    asked = asyncio.ensure_future(http.post(served.http + CHAT, data=chat_body(stream=True)))
    assert await happened(gate.reached)
    await asyncio.sleep(0.05)  # five intervals
    gate.open()
    async with await asked as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "3")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("before", [[], [Accepted()], [Accepted(), Started("m"), TextDelta("Hel")]])
async def test_the_work_ends_when_the_client_leaves(serve, gateway, stream, before):
    """Queued, accepted or in the midst of an answer."""
    gate = Gate()
    gateway.script = [*before, gate]
    served = serve()
    with structlog.testing.capture_logs() as logs:
        async with served.raw() as (_, writer):
            writer.write(chat_request(stream=stream))
            assert await happened(gate.reached)
            writer.transport.abort()
            assert await happened(gateway.closed, 1)
            served.on_loop(lambda: None)
    line = next(line for line in logs if line["event"] == "request")
    assert line["disconnected"] is True


async def test_a_client_that_only_stops_sending_counts_as_one_that_left(serve, gateway):
    """It sends what every client sends that disconnects, and the work is to end within a second then."""
    gate = Gate()
    gateway.script = [gate]
    served = serve()
    async with served.raw() as (_, writer):
        writer.write(chat_request())
        assert await happened(gate.reached)
        writer.write_eof()
        assert await happened(gateway.closed, 1)


async def test_a_client_that_left_a_large_body_behind_is_noticed_too(serve, gateway):
    gate = Gate()
    gateway.script = [gate]
    served = serve()
    async with served.raw() as (_, writer):
        writer.write(chat_request(messages=[{"role": "user", "content": "x" * 300_000}]))
        assert await happened(gate.reached)
        writer.transport.abort()
        assert await happened(gateway.closed, 1)


async def test_a_client_that_leaves_within_its_body_is_no_fault(serve, gateway):
    gateway.before_key = Gate()
    served = serve()
    with structlog.testing.capture_logs() as logs:
        async with served.raw() as (_, writer):
            writer.write(chat_request()[:-5])
            assert await happened(gateway.before_key.reached)
            gateway.before_key.open()
            assert await happened(gateway.before_key.left)
        while not logs:
            await asyncio.sleep(0.01)
    assert [(line["event"], line["disconnected"]) for line in logs] == [("request", True)]


async def test_a_slow_reader_slows_the_answer(serve, gateway):
    gateway.script = [Accepted(), Started("m"), *repeat(TextDelta("x" * 1000), 40_000), FINISHED]
    served = serve(keepalive_interval=0.02)
    async with served.raw() as (reader, writer):
        writer.write(chat_request(stream=True))
        await reader.readexactly(100)
        given = -1
        while given != gateway.given:  # until it stands still
            given = gateway.given
            await asyncio.sleep(0.2)
        assert given < 20_000
        received = 0
        while data := await reader.read(1 << 20):
            received += len(data)
        assert received > 40_000_000
        assert gateway.given == 40_003


async def test_a_client_that_reads_nothing_at_all_is_given_up(serve, gateway):
    gateway.script = [Accepted(), Started("m"), *repeat(TextDelta("x" * 1000), 40_000), FINISHED]
    served = serve(body_timeout=0.3)
    async with served.raw() as (reader, writer):
        writer.write(chat_request(stream=True))
        await reader.readexactly(100)
        assert await happened(gateway.closed, 5)
        assert gateway.given < 40_000


@pytest.mark.policy("V1")
@pytest.mark.parametrize("fields", [{"messages": None}, {"messages": []}, {"messages": "Hi"}])
async def test_wrong_messages_are_told_in_the_policys_words(serve, http, fields):
    served = serve()
    async with http.post(served.http + CHAT, data=chat_body(**fields)) as answer:
        assert answer.status == 400
        fault = (await answer.json())["error"]
    assert (fault["type"], fault["code"]) == ("invalid_request_error", "invalid_messages")
    assert fault["message"].startswith("Invalid request format")


async def test_authentication_comes_before_the_body_is_read(serve):
    served = serve()
    answer = await served.exchange(
        f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n".encode()
    )
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_body_that_is_waited_for_is_asked_for(serve):
    served = serve()
    async with served.raw() as (reader, writer):
        body = chat_body()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n"
        writer.write(head.encode() + b"expect: 100-continue\r\n\r\n")
        assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")


@pytest.mark.policy("L2")
async def test_the_log_has_one_line_for_a_request_and_no_content(serve, http, gateway):
    served = serve()
    with structlog.testing.capture_logs() as logs:
        headers = {"x-client-request-id": "mine-1"}
        async with http.post(
            served.http + CHAT + "?q=private", data=chat_body(user="private"), headers=headers
        ) as answer:
            request_id = answer.headers["X-Request-Id"]
            await answer.read()
        served.on_loop(lambda: None)
    [line] = [line for line in logs if line["event"] == "request"]
    assert line["request_id"] == request_id
    expected: dict[str, Any] = {
        "method": "POST",
        "path": CHAT,
        "status": 200,
        "key_id": "key_a",
        "model": "claude-sonnet",
        "stream": False,
        "input_tokens": 7,
        "output_tokens": 2,
        "stop_reason": "end_turn",
        "client": "127.0.0.0/24",
        "client_request_id": "mine-1",
    }
    assert expected.items() <= line.items()
    assert line["first_token_ms"] <= line["ms"]
    assert "private" not in str(logs)
    assert "Hi" not in str(logs)
