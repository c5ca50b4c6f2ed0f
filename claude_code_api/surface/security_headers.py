"""The headers that every answer bears (policy N3), a content policy beside them."""

from __future__ import annotations

from claude_code_api.surface.asgi import Fields

ALWAYS: Fields = [
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-xss-protection", b"1; mode=block"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
]
# For this host alone, and never over plain HTTP (RFC 6797, 7.2).
ON_HTTPS: Fields = [*ALWAYS, (b"strict-transport-security", b"max-age=31536000")]


NO_STORE = b"no-store"
"""How long an answer may be kept: not at all, but for what is the same for everybody."""

NOTHING = b"default-src 'none'; frame-ancestors 'none'"
"""The content policy of every answer but a page's."""


def security_headers(secure: bool) -> Fields:
    return ON_HTTPS if secure else ALWAYS
