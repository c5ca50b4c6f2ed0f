"""Which pages in a browser may call the API: those of the configured origins, none by default."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from claude_code_api.surface.asgi import Fields

_FIELD_NAMES = re.compile(rb"[A-Za-z0-9, _-]{1,2000}")
_EXPOSED = b"x-request-id, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset"


class Cors:
    """https://fetch.spec.whatwg.org/#http-cors-protocol, without credentials: keys come in a header."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)

    def headers(self, request: Mapping[bytes, bytes]) -> Fields:
        """What the answer bears; without configured origins nothing."""
        if not self._origins:
            return []
        origin = request.get(b"origin")
        if origin not in self._origins or origin is None:
            return [(b"vary", b"origin")]
        return [
            (b"vary", b"origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
        ]

    def preflight(self, method: str, request: Mapping[bytes, bytes]) -> Fields | None:
        """What a preflight from a configured origin is answered with; None where the request is none."""
        if method != "OPTIONS" or request.get(b"origin") not in self._origins:
            return None
        if b"access-control-request-method" not in request:
            return None
        wanted = request.get(b"access-control-request-headers", b"")
        return [
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            (b"access-control-allow-headers", wanted if _FIELD_NAMES.fullmatch(wanted) else b"authorization"),
            (b"access-control-max-age", b"600"),
        ]
