"""Whether a request comes from our own pages, or from another site through the reader's browser.

Two locks, and each alone would do: what browsers say of where a request comes from (`Origin`, `Sec-Fetch-Site`), and a
token that only our own pages have. No cookie goes along from another site in the first place (`SameSite=Strict`).
"""

from __future__ import annotations

from claude_code_api.access.sessions import Session
from claude_code_api.errors import PermissionDenied
from claude_code_api.secret import Secret
from claude_code_api.surface.exchange import Exchange

READING = ("GET", "HEAD")


def require_own_origin(exchange: Exchange, origin: str, *, told: bool) -> None:
    """PermissionDenied where a browser says that the request comes from elsewhere than `origin`.

    `told` asks that it says so at all: browsers do with every change; a script that signs in need not.
    """
    given = [value for name, value in exchange.fields if name == b"origin"]
    site = exchange.headers.get(b"sec-fetch-site", b"same-origin")
    if not given and not told and site == b"same-origin":
        return
    if given != [origin.encode()] or site != b"same-origin":
        raise PermissionDenied(
            f"This request does not come from {origin}. Open the web interface there, or set `public_url` to the "
            "address at which you reach it.",
            code="wrong_origin",
        )


def require_token(session: Session, presented: str | None) -> None:
    """PermissionDenied where the token of the session does not come with the change."""
    if presented is None or Secret(presented) != session.csrf_token:
        raise PermissionDenied(
            "The token against forgery is missing or not of this session: send it as `X-CSRF-Token`, or load the page "
            "again.",
            code="wrong_csrf_token",
        )
