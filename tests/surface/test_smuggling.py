"""Requests on whose end a proxy and the gateway could disagree are refused, and nothing behind them is read."""

from __future__ import annotations

import re

import pytest
from surface_server import CHAT, KEY, OTHER_KEY, chat_body

BODY = chat_body()
SMUGGLED = f"GET /v1/models HTTP/1.1\r\nhost: a\r\nx-api-key: {OTHER_KEY}\r\n\r\n".encode()
HEAD = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n".encode()
CHUNKED = b"transfer-encoding: chunked\r\n"
LENGTH = b"content-length: %d\r\n" % len(BODY)


def framed(fields: bytes) -> bytes:
    """A request with these fields, whose body is right both by length and by chunks, as far as that can be."""
    return HEAD + fields + b"\r\n" + BODY


def chunks(size: bytes, data: bytes = BODY, end: bytes = b"\r\n0\r\n\r\n") -> bytes:
    return HEAD + CHUNKED + b"\r\n" + size + data + end


SIZE = b"%x" % len(BODY)

AMBIGUOUS = {
    "length, then chunks": framed(LENGTH + CHUNKED),
    "chunks, then length": framed(CHUNKED + LENGTH),
    "no length and chunks": framed(b"content-length: 0\r\n" + CHUNKED),
    "two lengths": framed(LENGTH + b"content-length: 0\r\n"),
    "the same length twice": framed(LENGTH + LENGTH),
    "lengths in one field": framed(b"content-length: %d, %d\r\n" % (len(BODY), len(BODY))),
    "length with a sign": framed(b"content-length: +%d\r\n" % len(BODY)),
    "length in hex": framed(b"content-length: 0x%x\r\n" % len(BODY)),
    "length with a blank in it": framed(b"content-length: 1 0\r\n"),
    "length that overflows": framed(b"content-length: %d\r\n" % (2**64 + len(BODY))),
    "length that is empty": framed(b"content-length: \r\n"),
    "blank before the colon": framed(LENGTH + b"transfer-encoding : chunked\r\n"),
    "tab before the colon": framed(LENGTH + b"transfer-encoding\t: chunked\r\n"),
    "folded coding": framed(LENGTH + b"transfer-encoding:\r\n chunked\r\n"),
    "folded length": framed(b"content-length:\r\n %d\r\n" % len(BODY)),
    "first field folded": HEAD.replace(b"\r\nhost", b"\r\n host", 1) + LENGTH + b"\r\n" + BODY,
    "coding with control character": framed(LENGTH + b"transfer-encoding: \x0bchunked\r\n"),
    "coding in quotes": framed(LENGTH + b'transfer-encoding: "chunked"\r\n'),
    "unknown coding": framed(LENGTH + b"transfer-encoding: xchunked\r\n"),
    "coding that ends with another": framed(LENGTH + b"transfer-encoding: chunked, identity\r\n"),
    "coding twice": framed(LENGTH + CHUNKED + b"transfer-encoding: identity\r\n"),
    "coding after a bare line feed": framed(LENGTH + b"x: y\ntransfer-encoding: chunked\r\n"),
    "coding after a bare carriage return": framed(LENGTH + b"x: y\rtransfer-encoding: chunked\r\n"),
    "coding after a zero": framed(LENGTH + b"x: y\0transfer-encoding: chunked\r\n"),
    "zero in a name": framed(LENGTH + b"x\0: y\r\n"),
    "line feeds alone": framed(LENGTH).replace(b"\r\n", b"\n"),
    "head that ends with a line feed": HEAD + LENGTH + b"\n" + BODY,
    "carriage returns doubled": framed(LENGTH).replace(b"\r\n", b"\r\r\n"),
    "chunk size in hex": chunks(b"0x" + SIZE + b"\r\n"),
    "chunk size with a sign": chunks(b"+" + SIZE + b"\r\n"),
    "chunk size below nothing": chunks(b"-1\r\n"),
    "chunk size that overflows": chunks(b"1" + SIZE.rjust(16, b"0") + b"\r\n"),
    "chunk size after a blank": chunks(b" " + SIZE + b"\r\n"),
    "chunk size and a line feed": chunks(SIZE + b"\n"),
    "chunk size and a carriage return": chunks(SIZE + b"\r"),
    "chunk size that is empty": chunks(b"\r\n"),
    "line feed in an extension": chunks(SIZE + b";a\n\r\n"),
    "carriage return in an extension": chunks(SIZE + b";a\rb\r\n"),
    "chunk longer than its size": chunks(b"1\r\n"),
    "chunk that ends with a line feed": chunks(SIZE + b"\r\n", end=b"\n0\r\n\r\n"),
    "chunk that ends with nothing": chunks(SIZE + b"\r\n", end=b"0\r\n\r\n"),
    "last chunk and a line feed": chunks(SIZE + b"\r\n", end=b"\r\n0\n\n"),
    "trailer with a bare line feed": chunks(SIZE + b"\r\n", end=b"\r\n0\r\nx: y\nz\r\n\r\n"),
}


@pytest.mark.policy("V2")
@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_a_request_of_doubtful_length_is_refused_and_what_follows_is_not_read(serve, gateway, sent):
    served = serve(head_timeout=0.3, body_timeout=0.3)
    answer = await served.exchange(sent + SMUGGLED)
    assert 400 <= answer.status < 500
    assert not re.search(rb"HTTP/1\.1 \d", answer.body), "one answer"
    assert OTHER_KEY not in [key.reveal() for key in gateway.presented if key]


@pytest.mark.parametrize("fine", [framed(LENGTH), chunks(SIZE + b";a=b\r\n"), chunks(b"0" + SIZE + b"\r\n")])
async def test_behind_a_request_whose_length_is_clear_the_next_one_is_read(serve, gateway, fine):
    answer = await serve().exchange(fine + SMUGGLED.replace(b"host: a", b"host: a\r\nconnection: close"))
    assert answer.status == 200
    assert re.search(rb"HTTP/1\.1 200", answer.body)
    assert [key.reveal() for key in gateway.presented if key] == [KEY, OTHER_KEY]
