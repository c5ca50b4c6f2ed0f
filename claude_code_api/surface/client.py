"""Who calls: the address that limits and logs go by, and whether the way to us was encrypted (policy N4, L2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_network

import msgspec

from claude_code_api.operations.addresses import Address, bucket, parsed, shortened
from claude_code_api.surface.asgi import Fields, Scope


class Client(msgspec.Struct, frozen=True):
    """`bucket` is what rate limits count by (IPv6: one /64), `shortened` what a log may show."""

    address: str
    secure: bool
    loopback: bool
    bucket: str
    shortened: str


class Proxies:
    """The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = [ip_network(network, strict=False) for network in trusted]

    def client(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Client:
        """The connection's peer, or the right-most address not ours that trusted proxies report.

        What stands left of that address was written by the client itself and counts for nothing.
        """
        peer = (scope.get("client") or ("",))[0]
        secure = scope["scheme"] == "https"
        if self._trusted and (address := parsed(peer)) and self._trusts(address):
            protocol = headers.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip().lower()
            return _client(self._forwarded(address, scope["headers"]), protocol == b"https" if protocol else secure)
        return _client(peer, secure)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _forwarded(self, peer: Address, fields: Fields) -> str:
        chain = b",".join(value for name, value in fields if name == b"x-forwarded-for").decode("latin-1")
        nearest = peer
        for entry in reversed(chain.split(",")):
            address = parsed(_without_port(entry.strip()))
            if address is None:
                break
            nearest = address
            if not self._trusts(address):
                break
        return str(nearest)


@lru_cache(maxsize=4096)
def _client(text: str, secure: bool) -> Client:
    address = parsed(text)
    return Client(
        text if address is None else str(address),
        secure,
        loopback=address is not None and address.is_loopback,
        bucket=bucket(text),
        shortened=shortened(text),
    )


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, _ = entry.partition(":")
    return host if colon and entry.count(":") == 1 else entry
