"""Signatures of thinking: made by the stand-in alone, for one text at one place of one conversation."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import msgspec

_KEY = secrets.token_bytes(32)
_SIZE = 32


def sign(thinking: str, place: bytes) -> str:
    """The signature of a thinking text (or of the `data` of a redacted one) that stands behind `place`."""
    return _digest(b"text", thinking.encode("utf-8", "surrogatepass")) + _digest(b"place", place)


def is_genuine(thinking: str, signature: str) -> bool:
    """Whether the stand-in has signed this very text."""
    return secrets.compare_digest(
        signature[:_SIZE].encode("utf-8", "surrogatepass"), sign(thinking, b"")[:_SIZE].encode()
    )


def is_in_place(signature: str, place: bytes) -> bool:
    return secrets.compare_digest(signature[_SIZE:].encode("utf-8", "surrogatepass"), _digest(b"place", place).encode())


def places(request: dict[str, Any]) -> Places:
    """From the system prompt and the tools on; the messages follow one by one."""
    place = Places()
    place.add({"system": [_plain(block) for block in blocks_of({"content": request.get("system") or []})]})
    place.add({"tools": [_plain(tool) for tool in request.get("tools") or ()]})
    return place


class Places:
    """What stands before a block, as a digest. It knows neither where the cache is marked nor how a text is written."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add_message(self, message: dict[str, Any]) -> None:
        for block in blocks_of(message):
            self.add_block(message["role"], block)
        if message.get("output_config"):
            self.add({"role": message["role"], "output_config": message["output_config"]})

    def add_block(self, role: str, block: dict[str, Any]) -> None:
        self.add({"role": role, "block": _plain(block)})

    def add(self, value: Any) -> None:
        self._digest.update(msgspec.json.encode(value, order="sorted") + b"\0")

    def here(self) -> bytes:
        return self._digest.digest()


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _plain(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "cache_control"}


def _digest(purpose: bytes, data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_SIZE // 2, key=_KEY, person=purpose).hexdigest()
