"""Who may call without TLS, and where everybody else is sent (policy A1)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal

import msgspec

from claude_code_api.errors import PermissionDenied
from claude_code_api.surface.client import Client

CODE = "https_required"

PlainHttp = Literal["loopback", "allow", "off"]


class HttpsAddress(msgspec.Struct, frozen=True):
    """Where HTTPS is answered. `names` are those of the certificate, the first one counting most."""

    port: int
    names: tuple[str, ...]
    public_url: str | None = None

    def origin(self, host_field: str) -> str:
        """`public_url`, or the request's host where the certificate names it, else the certificate's first name."""
        if self.public_url and self.public_url.startswith("https://"):
            return self.public_url
        host = _host(host_field)
        if not self._named(host):
            host = next((name for name in self.names if not name.startswith("*")), "localhost")
        shown = f"[{host}]" if ":" in host else host
        return f"https://{shown}" if self.port == 443 else f"https://{shown}:{self.port}"

    def _named(self, host: str) -> bool:
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names


def _host(field: str) -> str:
    """The host of a `Host` field, without its port; of an IPv6 address the shortest form."""
    host = field[1:].partition("]")[0] if field.startswith("[") else field.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower()


def may_go_unencrypted(client: Client, plain_http: PlainHttp) -> bool:
    """Whether the setting `plain_http` lets this client call as it does."""
    return client.secure or plain_http == "allow" or (plain_http == "loopback" and client.loopback)


def encryption_required(plain_http: PlainHttp, origin: str) -> PermissionDenied:
    """What whoever may not go without TLS is told; `origin` is where to go instead."""
    whom = "programs on this machine only" if plain_http == "loopback" else "nobody"
    return PermissionDenied(
        f"Plain HTTP is answered for {whom}: use {origin}, or have the operator change the setting `plain_http`.",
        code=CODE,
    )


def is_admin_path(path: str) -> bool:
    """Whether a path belongs to the administrators' side, or leads there."""
    return path in ("/", "/admin", "/auth", "/metrics") or path.startswith(("/admin/", "/auth/"))
