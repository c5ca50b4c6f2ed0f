"""A request's body, whole and unpacked, and never more of it in memory than is allowed (policy V2)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from claude_code_api.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from claude_code_api.surface.body_budget import Share
from claude_code_api.surface.exchange import ClientDisconnected, Exchange

_SLICE = 1024 * 1024
"""Most bytes that are unpacked before they are counted."""

_JSON = re.compile(rb"application/([\w.+-]+\+)?json *(;.*)?", re.IGNORECASE)


def require_json(exchange: Exchange) -> None:
    """UnsupportedMediaType where a content type is given and it is not JSON's."""
    given = exchange.headers.get(b"content-type", b"").strip()
    if given and not _JSON.fullmatch(given):
        raise UnsupportedMediaType("The body must be JSON: `Content-Type: application/json`.")


async def read_body(exchange: Exchange, limit: int, share: Share) -> bytes:
    """The body, unpacked; it may have `limit` bytes, packed as well as unpacked.

    RequestTooLarge as soon as that is known: by its declared length before anything is read, else while it comes.
    Overloaded where all bodies together hold too much for its `share` to grow.
    How long it may pause is for the connection to watch.
    """
    declared = exchange.headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    unpacker = _unpacker(exchange.headers.get(b"content-encoding", b""))
    parts: list[bytes] = []
    size, received, more = 0, 0, True
    while more:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        more = message.get("more_body", False)
        packed = message.get("body", b"")
        received += len(packed)
        for part in unpacker.unpack(packed) if unpacker else (packed,):
            size += len(part)
            if max(size, received) > limit:  # some packed blocks unpack to nothing, and they may come for ever
                raise _too_large(limit)
            share.grow(len(part))
            parts.append(part)
    if unpacker:
        unpacker.finish()
    exchange.body_read = True
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is larger than {limit} bytes.")


def _unpacker(encoding: bytes) -> _Unpacker | None:
    match encoding.strip().lower():
        case b"" | b"identity":
            return None
        case b"gzip" | b"x-gzip":
            return _Unpacker(16 + zlib.MAX_WBITS)
        case b"deflate":
            return _Unpacker(zlib.MAX_WBITS)
    raise UnsupportedMediaType("The body may be encoded with `gzip` or `deflate`, or not at all.")


class _Unpacker:
    """Unpacks a body as it comes, in slices that can be counted: a bomb never unfolds."""

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)

    def unpack(self, data: bytes) -> Iterator[bytes]:
        unpacked = b"more"
        while data or len(unpacked) == _SLICE:  # a full slice may leave more of it inside
            try:
                unpacked = self._stream.decompress(data, _SLICE)
            except zlib.error:
                raise InvalidRequest(
                    "The body is not encoded as `Content-Encoding` says.", code="invalid_body"
                ) from None
            if self._stream.unused_data:
                # RFC 1952, 2.2 allows gzip more members. No client sends them, and a body of small ones is slow.
                raise InvalidRequest(
                    "The encoded body goes on after its end; one gzip member is read.", code="invalid_body"
                )
            yield unpacked
            data = self._stream.unconsumed_tail

    def finish(self) -> None:
        """InvalidRequest where the packed body is cut off."""
        if not self._stream.eof:
            raise InvalidRequest("The encoded body is cut off.", code="invalid_body")
