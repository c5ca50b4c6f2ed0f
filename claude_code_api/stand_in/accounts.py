"""Who asks: credentials of the right form, made at run time, and the check that the API makes of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from claude_code_api.stand_in.errors import Refused

_OAUTH = "sk-ant-oat01-"
_API_KEY = "sk-ant-api03-"
_OAUTH_FORM = re.compile(r"sk-ant-oat01-[A-Za-z0-9_-]{20,500}")
_API_KEY_FORM = re.compile(r"sk-ant-api[0-9]{2}-[A-Za-z0-9_-]{20,500}")


def oauth_token(name: str = "demo") -> str:
    """An OAuth token of the real form, the same for the same name.

    The stand-in refuses one whose name contains `refused` (401) or `revoked` (403) and accepts every other.
    """
    return _OAUTH + _tail(name)


def api_key(name: str = "demo") -> str:
    """An API key of the real form, the same for the same name; refused as `oauth_token` says."""
    return _API_KEY + _tail(name)


def _tail(name: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9]+", "_", name)[:40]
    digest = hashlib.sha512(name.encode()).hexdigest()
    return f"{readable}-{digest}"[:93] + "AA"


def presented(headers: Mapping[bytes, bytes]) -> str:
    """The token or key that a request bears, whatever its form; "" for none."""
    bearer = headers.get(b"authorization", b"").decode("latin-1")
    return bearer.partition(" ")[2] if bearer else headers.get(b"x-api-key", b"").decode("latin-1")


def is_subscription(token: str) -> bool:
    """Whether this is an OAuth token, which stands for a subscription."""
    return token.startswith(_OAUTH)


def check(headers: Mapping[bytes, bytes]) -> None:
    """Refused (401, 403) unless the API would take what the request bears.

    `x-api-key` takes API keys, `Authorization: Bearer` OAuth tokens and (as newer clients send them) API keys.
    """
    token = presented(headers)
    if not token:
        raise Refused(401, "authentication_error", "x-api-key header is required")
    scheme = headers.get(b"authorization", b"").partition(b" ")[0].lower()
    forms = {b"bearer": (_OAUTH_FORM, _API_KEY_FORM), b"": (_API_KEY_FORM,)}.get(scheme, ())
    if "refused" in token or not any(form.fullmatch(token) for form in forms):
        raise Refused(401, "authentication_error", "Invalid bearer token" if scheme else "invalid x-api-key")
    if "revoked" in token:
        what = "OAuth token" if is_subscription(token) else "API key"
        raise Refused(403, "permission_error", f"{what} has been revoked. Please obtain a new one.")
