"""What clients do wrong on the wire: each fault gets a clear answer in our shape, with every security header."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from contextlib import suppress

import pytest
import structlog
from surface_server import (
    CHAT,
    HELLO,
    KEY,
    Gate,
    RawAnswer,
    Served,
    chat_body,
    chat_request,
    happened,
    request,
)

from claude_code_api.surface import connection
from claude_code_api.surface.body import _SLICE

SECURITY_HEADERS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "x-xss-protection": "1; mode=block",
    "referrer-policy": "strict-origin-when-cross-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


def assert_refused(answer: RawAnswer, status: int, code: str) -> None:
    assert answer.status == status
    assert answer.error["code"] == code
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.headers.items() >= SECURITY_HEADERS.items()
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-ratelimit-limit"] == "1000"
    assert "server" not in answer.headers


def limited(serve, **given) -> Served:
    return serve(rate_limit_per_ip="1000/minute", **given)


async def send_for_ever(writer: asyncio.StreamWriter, data: bytes, *, pause: float) -> None:
    while True:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(pause)


HEAD = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nauthorization: Bearer " + KEY.encode() + b"\r\n"

BROKEN = {
    "no HTTP": b"\x16\x03\x01\x02\x00hello\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tunnel": b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "length and chunks": HEAD + b"host: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"host: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "unknown coding": HEAD + b"host: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + b"host: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": HEAD + b"host: a\r\ncontent-length: -1\r\n\r\n",
    "broken chunk": HEAD + b"host: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "folded field": b"GET /health HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
    "field without colon": b"GET /health HTTP/1.1\r\nhost: a\r\nnonsense\r\n\r\n",
    "bare carriage return": b"GET /health HTTP/1.1\r\nhost: a\rb\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
}


@pytest.mark.policy("V2")
@pytest.mark.policy("N3")
@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
async def test_a_broken_request_is_told_so(serve, sent):
    assert_refused(await limited(serve).exchange(sent), 400, "invalid_http")


@pytest.mark.policy("N3")
async def test_a_broken_request_over_https_bears_hsts(serve, monkeypatch):
    monkeypatch.setattr(connection, "LINGER", 0.1)  # over TLS there is no half of a connection to close
    answer = await limited(serve).exchange(BROKEN["no HTTP"], tls=True)
    assert_refused(answer, 400, "invalid_http")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_a_broken_request_has_its_line_in_the_log(serve):
    served = limited(serve)
    with structlog.testing.capture_logs() as logs:
        await served.exchange(BROKEN["no HTTP"])
        served.on_loop(lambda: None)
    assert [(line["event"], line["status"], line["error"]) for line in logs] == [("request", 400, "invalid_http")]


async def test_an_unfinished_head_is_given_up(serve):
    answer = await limited(serve, head_timeout=0.1).exchange(b"GET /health HTTP/1.1\r\nhost: a\r\n")
    assert_refused(answer, 408, "request_timeout")


async def test_a_head_that_drips_is_given_up_all_the_same(serve):
    served = limited(serve, head_timeout=0.3)
    async with served.raw() as (reader, writer), asyncio.timeout(5):
        writer.write(b"GET /health HTTP/1.1\r\n")
        answered = asyncio.ensure_future(reader.read(-1))
        while not answered.done():
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.02)
        assert_refused(RawAnswer(answered.result()), 408, "request_timeout")


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_a_connection_without_a_request_is_closed_silently(serve, sent):
    served = limited(serve, head_timeout=0.1)
    async with served.raw() as (reader, writer), asyncio.timeout(5):
        writer.write(sent)
        assert await reader.read(-1) == b""


async def test_an_idle_connection_is_closed_after_its_time(serve, monkeypatch):
    monkeypatch.setattr("claude_code_api.surface.server.KEEP_ALIVE", 0.1)
    answer = await limited(serve).exchange(request(connection="keep-alive"))
    assert answer.status == 200


async def test_the_next_head_on_a_connection_has_its_own_deadline(serve):
    served = limited(serve, head_timeout=0.5)
    async with served.raw() as (reader, writer), asyncio.timeout(5):
        writer.write(request(connection="keep-alive"))
        await reader.readuntil(b'"ok"}')
        writer.write(b"GET")
        assert_refused(RawAnswer(await reader.read(-1)), 408, "request_timeout")


@pytest.mark.policy("V2")
@pytest.mark.parametrize(
    "sent",
    [
        [b"GET /health HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 70_000 + b"\r\n\r\n"],
        [b"GET /" + b"y" * 70_000],
        [b"GET /health HTTP/1.1\r\n", b"x: y\r\n" * 20_000],
    ],
    ids=["whole", "unfinished", "many fields"],
)
async def test_a_head_over_its_limit_is_refused(serve, sent):
    assert_refused(await limited(serve).exchange(*sent), 431, "headers_too_large")


async def test_a_head_within_its_limit_may_come_with_a_large_body(serve):
    served = limited(serve, max_head_bytes=1024)
    answer = await served.exchange(chat_request(messages=[{"role": "user", "content": "x" * 50_000}]))
    assert answer.status == 200


@pytest.mark.parametrize("body", ["content-length: 10\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n5\r\n{"])
async def test_a_body_that_pauses_is_given_up(serve, body):
    answer = await limited(serve, body_timeout=0.1).exchange(HEAD + b"host: a\r\n" + body.encode())
    assert_refused(answer, 408, "request_timeout")


async def test_a_body_that_comes_slowly_is_waited_for(serve):
    served = limited(serve, body_timeout=0.4)
    body = chat_body()
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(HEAD + b"host: a\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 8):  # longer in all than any pause may be
            writer.write(body[start : start + 8])
            await asyncio.sleep(0.08)
        assert RawAnswer(await reader.read(-1)).status == 200


async def test_a_body_that_we_do_not_read_yet_is_not_late(serve, gateway):
    gateway.before_key = Gate()
    served = limited(serve, body_timeout=0.1)
    sent = chat_request(messages=[{"role": "user", "content": "x" * 300_000}])
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(sent[:200_000])
        assert await happened(gateway.before_key.reached)
        await asyncio.sleep(0.3)  # three times what a pause may take
        writer.write(sent[200_000:])
        gateway.before_key.open()
        assert RawAnswer(await reader.read(-1)).status == 200


def chunked(body: bytes, size: int = 1 << 16) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


LARGE = chat_body(messages=[{"role": "user", "content": "x" * 20_000}])
OVER = {
    "length": request("POST", CHAT, LARGE, authorization=f"Bearer {KEY}"),
    "chunks": request("POST", CHAT, chunked(LARGE), authorization=f"Bearer {KEY}", transfer_encoding="chunked"),
    "gzip": request("POST", CHAT, gzip.compress(LARGE), authorization=f"Bearer {KEY}", content_encoding="gzip"),
    "bomb": request(
        "POST",
        CHAT,
        gzip.compress(bytes(50_000_000), 9)[:9_000],
        authorization=f"Bearer {KEY}",
        content_encoding="gzip",
    ),
    "deflate": request("POST", CHAT, zlib.compress(LARGE), authorization=f"Bearer {KEY}", content_encoding="deflate"),
    **{
        f"nothing, in {encoding}": request(
            "POST",
            CHAT,
            chunked(body),
            authorization=f"Bearer {KEY}",
            content_encoding=encoding,
            transfer_encoding="chunked",
        )
        for encoding, body in {
            "deflate": zlib.compress(b"")[:2] + b"\0\0\0\xff\xff" * 4000,
            "gzip": gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * 4000,
        }.items()
    },
}


@pytest.mark.policy("V2")
@pytest.mark.parametrize("sent", OVER.values(), ids=OVER)
async def test_a_body_over_its_limit_is_refused_however_it_is_encoded(serve, gateway, sent):
    served = limited(serve, max_body_bytes=10_000)
    assert_refused(await served.exchange(sent), 413, "request_too_large")
    assert not gateway.conversations


async def test_a_client_still_sending_a_huge_body_reads_why_it_was_refused(serve):
    served = limited(serve, max_body_bytes=10_000)
    size = 20_000_000
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(HEAD + b"host: a\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 1_000_000):
            writer.write(bytes(1_000_000))
        assert_refused(RawAnswer(await reader.read(-1)), 413, "request_too_large")


async def test_a_refused_client_that_never_stops_sending_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(connection, "LINGER", 0.2)
    served = limited(serve)
    async with served.raw() as (_, writer), asyncio.timeout(10):
        writer.write(b"nonsense\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await send_for_ever(writer, b"more", pause=0.02)


async def test_a_connection_lives_on_when_a_body_was_not_wanted(serve):
    served = limited(serve)
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(request("POST", "/nowhere", bytes(300_000), connection="keep-alive"))
        await reader.readuntil(b"not_found")
        writer.write(request())
        assert b'{"status":"ok"}' in await reader.read(-1)


async def test_an_unwanted_body_without_end_is_cut_off(serve):
    served = limited(serve, max_body_bytes=10_000)
    async with served.raw() as (_, writer), asyncio.timeout(10):
        writer.write(
            request("POST", "/nowhere", b"5\r\nhello\r\n", transfer_encoding="chunked", connection="keep-alive")
        )
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await send_for_ever(writer, b"400\r\n" + bytes(1024) + b"\r\n", pause=0)


@pytest.mark.parametrize("rest", [b"zz\r\n", b""], ids=["broken", "paused"])
async def test_an_unwanted_body_that_goes_wrong_ends_the_connection_without_a_second_answer(serve, rest):
    served = limited(serve, body_timeout=0.1)
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(request("POST", "/nowhere", b"1\r\na\r\n", transfer_encoding="chunked", connection="keep-alive"))
        first = await reader.readuntil(b"null,")
        writer.write(rest)
        assert b"HTTP/1.1" not in first[9:] + await reader.read(-1)


@pytest.mark.policy("V2")
async def test_chunks_that_are_nearly_all_framing_are_refused(serve):
    served = limited(serve, max_head_bytes=1024)
    head = HEAD + b"host: a\r\ntransfer-encoding: chunked\r\n\r\n"
    assert_refused(await served.exchange(head, b"1;" + b"x" * 5000), 400, "invalid_http")


async def test_trailers_are_no_headers(serve, gateway):
    served = limited(serve)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    body = chunked(chat_body())[:-2] + f"authorization: Bearer {KEY}\r\n\r\n".encode()
    assert (await served.exchange(head + body)).status == 401
    assert gateway.presented == [None]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(chat_body(), mtime=0)),
        ("x-gzip", gzip.compress(chat_body(), mtime=0)),
        ("deflate", zlib.compress(chat_body())),
        ("identity", chat_body()),
    ],
)
async def test_packed_bodies_are_unpacked(serve, encoding, body):
    sent = request("POST", CHAT, body, authorization=f"Bearer {KEY}", content_encoding=encoding)
    assert (await limited(serve).exchange(sent)).status == 200


@pytest.mark.parametrize("size", [_SLICE - 1, _SLICE, _SLICE + 1, 2 * _SLICE, 3 * _SLICE + 7])
async def test_large_packed_bodies_arrive_whole_in_slices(serve, size):
    body = chat_body()
    body += b" " * (size - len(body))  # JSON may end in blanks
    sent = request("POST", CHAT, gzip.compress(body), authorization=f"Bearer {KEY}", content_encoding="gzip")
    served = serve(max_body_bytes=size)
    assert (await served.exchange(sent)).status == 200
    fewer = serve(max_body_bytes=size - 1)
    assert (await fewer.exchange(sent)).status == 413


@pytest.mark.parametrize(
    ("encoding", "body", "status", "code"),
    [
        ("br", b"x", 415, "unsupported_media_type"),
        ("gzip, gzip", b"x", 415, "unsupported_media_type"),
        ("gzip", b"no gzip", 400, "invalid_body"),
        ("gzip", gzip.compress(chat_body(), mtime=0)[:-9], 400, "invalid_body"),
        ("gzip", b"", 400, "invalid_body"),
        ("gzip", gzip.compress(b"", mtime=0) + gzip.compress(chat_body(), mtime=0), 400, "invalid_body"),
        ("deflate", zlib.compress(chat_body()) + b"more", 400, "invalid_body"),
    ],
)
async def test_bodies_that_cannot_be_unpacked_are_refused(serve, encoding, body, status, code):
    sent = request("POST", CHAT, body, authorization=f"Bearer {KEY}", content_encoding=encoding)
    assert_refused(await limited(serve).exchange(sent), status, code)


@pytest.mark.policy("V2")
async def test_gzip_members_without_end_are_refused_with_the_second(serve):
    served = limited(serve)
    head = request("POST", CHAT, authorization=f"Bearer {KEY}", content_encoding="gzip", transfer_encoding="chunked")
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(head)
        sending = asyncio.ensure_future(send_for_ever(writer, chunked(gzip.compress(b""))[:-5], pause=0.01))
        answer = RawAnswer(await reader.read(-1))
        sending.cancel()
    assert_refused(answer, 400, "invalid_body")


def offering(sent: bytes, protocol: str = "h2c") -> bytes:
    """The request with an offer to change to `protocol`, as Java's client makes it over plain HTTP."""
    return sent.replace(
        b"connection: ", f"Upgrade: {protocol}\r\nHTTP2-Settings: AAEAAEAA\r\nConnection: Upgrade, ".encode(), 1
    )


OFFERS = {
    "length": chat_request(),
    "chunks": request(
        "POST", CHAT, chunked(chat_body(), 7), authorization=f"Bearer {KEY}", transfer_encoding="chunked"
    ),
    "large": chat_request(messages=[{"role": "user", "content": "x" * 300_000}]),
}


@pytest.mark.parametrize("size", [0, 1, 50])
@pytest.mark.parametrize("sent", OFFERS.values(), ids=OFFERS)
async def test_a_request_that_offers_another_protocol_is_answered_in_this_one(serve, gateway, sent, size):
    """However it comes: whole, or its first bytes in small pieces."""
    sent = offering(sent)
    pieces = [sent[start : start + size] for start in range(0, 600, size)] if size else []
    async with limited(serve).raw() as (reader, writer), asyncio.timeout(10):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        writer.write(sent[600:] if size else sent)
        answer = RawAnswer(await reader.read(-1))
    assert answer.status == 200
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Hello"
    assert len(gateway.conversations) == 1


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.3"])
async def test_a_connection_lives_on_after_such_offers(serve, protocol):
    keep = {"connection": "keep-alive"}
    sent = [
        offering(request(**keep), protocol),
        offering(chat_request().replace(b"connection: close", b"connection: keep-alive"), protocol),
        offering(request(path="/nowhere", **keep), protocol),
        request(),
    ]
    body = (await limited(serve).exchange(b"".join(sent))).body
    places = [body.index(word) for word in (b'"ok"', b"Hello", b"not_found")]
    assert places == sorted(places)
    assert body.count(b"HTTP/1.1 200 OK") == 2  # and the first, in the head
    assert body.endswith(b'"ok"}')


async def test_an_offer_does_not_make_a_broken_request_good(serve):
    served = limited(serve, max_head_bytes=1024)
    assert_refused(await served.exchange(offering(chat_request(), "x" * 1000)), 431, "headers_too_large")
    sent = offering(request("POST", CHAT, b"zz\r\n", transfer_encoding="chunked"))
    assert_refused(await served.exchange(sent), 400, "invalid_http")


async def test_requests_sent_ahead_are_answered_in_their_order(serve):
    served = limited(serve)
    keep = {"connection": "keep-alive"}
    answers = await served.exchange(
        chat_request().replace(b"connection: close\r\n", b"") + request(path="/nowhere", **keep) + request()
    )
    assert answers.body.index(b"Hello") < answers.body.index(b"not_found") < answers.body.index(b'"ok"')


@pytest.mark.policy("V2")
async def test_requests_sent_ahead_without_end_are_not_kept(serve, gateway):
    """The one that is being answered gets its answer; the others are to be sent again (RFC 9112, 9.3.2)."""
    gateway.script = [gate := Gate(), *HELLO]
    served = limited(serve)
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(chat_request().replace(b"connection: close\r\n", b""))
        assert await happened(gate.reached)
        writer.write(request(connection="keep-alive") * 5000)
        (held,) = served.server._connections.connections
        while not held._deaf:
            assert len(held.pipeline) <= connection.AHEAD
            await asyncio.sleep(0.001)
        assert not held.pipeline
        gate.open()
        answer = RawAnswer(await reader.read(-1))
    assert answer.status == 200
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Hello"


async def test_a_broken_request_sent_ahead_does_not_disturb_the_answer_before_it(serve, gateway):
    gate = Gate()
    gateway.script = [gate, *HELLO]
    served = limited(serve)
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(chat_request().replace(b"connection: close\r\n", b"") + b"nonsense\r\n\r\n")
        assert await happened(gate.reached)
        gate.open()
        answer = RawAnswer(await reader.read(-1))
    assert answer.status == 200
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Hello"


async def test_connections_above_those_that_are_answered_are_told_and_further_ones_closed(serve, gateway, monkeypatch):
    monkeypatch.setattr(connection, "REFUSED_AT_ONCE", 1)
    gateway.script = [gate := Gate(), *HELLO]
    served = limited(serve, max_connections=1)
    async with served.raw() as (reader, writer):
        writer.write(chat_request())
        assert await happened(gate.reached)
        async with served.raw() as (refused, _), asyncio.timeout(10):
            head = await refused.readuntil(b"\r\n\r\n")
            async with served.raw() as (closed, _):
                with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                    await closed.readexactly(1)
            answer = RawAnswer(head + await refused.read(-1))
        gate.open()
        assert RawAnswer(await reader.read(-1)).status == 200
    assert_refused(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "1"


HANGING = {
    "nothing": b"",
    "a part of a head": b"GET /health HTTP/1.1\r\nhost: a\r\n",
    "an answered request": request(connection="keep-alive"),
    "no HTTP, and then nothing": b"nonsense\r\n\r\n",
    "a body that nobody wants": request("POST", CHAT, b"x", content_length="1000", connection="keep-alive"),
}


@pytest.mark.policy("V2")
@pytest.mark.parametrize("sent", HANGING.values(), ids=HANGING)
async def test_a_connection_that_asks_for_nothing_makes_room_for_a_new_one(serve, gateway, sent):
    gateway.script = [gate := Gate(), *HELLO]
    served = limited(serve, max_connections=2)
    async with served.raw() as (answered, asking), served.raw() as (reader, writer), asyncio.timeout(10):
        asking.write(chat_request())
        assert await happened(gate.reached)
        writer.write(sent)
        if b"\r\n\r\n" in sent:
            await reader.readuntil(b"}")
        for _ in range(5):
            assert (await served.exchange(request())).status == 200
        with suppress(ConnectionResetError):
            await reader.read(-1)  # until it was closed
        gate.open()
        assert RawAnswer(await answered.read(-1)).status == 200


async def test_an_http_1_0_client_is_answered(serve):
    answer = await limited(serve).exchange(b"GET /health HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
