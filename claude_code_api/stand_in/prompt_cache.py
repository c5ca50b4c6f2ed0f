"""What a prompt costs: tokens estimated from its size, and the API's prompt cache."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec

from claude_code_api.stand_in.images import pixels

_MAX_PREFIXES = 4096
# Shorter prompts are not cached; further back than this the API does not look for a cached prefix.
MIN_CACHED_TOKENS = 1024
_LOOK_BACK = 20


def input_tokens(request: dict[str, Any]) -> int:
    """Tokens of a prompt: a fourth of its characters, and an image by its pixels."""
    return max(1, sum(_tokens(part) for _, part in _parts(request)))


def _parts(request: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Everything that the model reads, in the order in which the cache sees it, each with its place."""
    for tool in request.get("tools") or ():
        yield "tool", tool
    for place, content in [
        ("system", request.get("system") or ()),
        *((message["role"], message["content"]) for message in request["messages"]),
    ]:
        if isinstance(content, str):
            yield place, {"type": "text", "text": content}
        else:
            for block in content:
                yield place, block


def _tokens(part: dict[str, Any]) -> int:
    match part.get("type"):
        case "text":
            return len(part["text"]) // 4 + 1
        case "image":
            return _image_tokens(part["source"])
        case "document":
            return len(part["source"].get("data", "")) // 16 + 1
        case "tool_result" if isinstance(part.get("content"), list):
            return sum(_tokens(block) for block in part["content"]) + 8
        case _:
            return len(msgspec.json.encode(part)) // 4 + 1


def _image_tokens(source: dict[str, Any]) -> int:
    size = pixels(base64.b64decode(source["data"])) if source["type"] == "base64" else None
    return max(1, size[0] * size[1] // 750) if size else 1600


class PromptCache:
    """Prefixes of prompts that were marked with `cache_control`, for each account apart; the oldest are forgotten."""

    def __init__(self, max_prefixes: int = _MAX_PREFIXES) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._max_prefixes = max_prefixes

    def usage(self, account: str, request: dict[str, Any]) -> dict[str, Any]:
        """The usage of a prompt, which is from now on in the cache."""
        parts = list(_parts(request))
        # Tokens up to and with each part.
        tokens = list(itertools.accumulate(_tokens(part) for _, part in parts))
        marks = {number: mark for number, (_, part) in enumerate(parts) if (mark := part.get("cache_control"))}
        if request.get("cache_control"):
            marks[len(parts) - 1] = request["cache_control"]
        marks = {number: mark for number, mark in marks.items() if tokens[number] >= MIN_CACHED_TOKENS}
        read = written = 0
        ttl = "5m"
        if marks:
            last = max(marks)
            prefixes = self._prefixes(account, request["model"], parts[: last + 1])
            read = self._read(prefixes, tokens, sorted(marks))
            written = tokens[last] - read
            ttl = marks[last].get("ttl", "5m")
            for number in marks:
                self._remember(prefixes[number])
        return {
            "input_tokens": tokens[-1] - read - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": written if ttl == "5m" else 0,
                "ephemeral_1h_input_tokens": written if ttl == "1h" else 0,
            },
            "output_tokens": 1,
            "service_tier": "standard",
        }

    def _prefixes(self, account: str, model: str, parts: list[tuple[str, Any]]) -> list[bytes]:
        digest = hashlib.blake2b(f"{account}\n{model}".encode(), digest_size=16)
        prefixes = []
        for place, part in parts:
            unmarked = {name: value for name, value in part.items() if name != "cache_control"}
            digest.update(place.encode() + msgspec.json.encode(unmarked))
            prefixes.append(digest.digest())
        return prefixes

    def _read(self, prefixes: list[bytes], tokens: list[int], marked: list[int]) -> int:
        for mark in reversed(marked):
            for number in range(mark, max(-1, mark - _LOOK_BACK - 1), -1):
                if prefixes[number] in self._known:
                    self._remember(prefixes[number])
                    return tokens[number]
        return 0

    def _remember(self, prefix: bytes) -> None:
        self._known[prefix] = None
        self._known.move_to_end(prefix)
        if len(self._known) > self._max_prefixes:
            self._known.popitem(last=False)
