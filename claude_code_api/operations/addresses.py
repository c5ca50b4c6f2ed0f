"""Internet addresses: as limits count by them, and as a log may show them (policy N4, L2)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
UNKNOWN = "unknown"
"""What is no address: a test's scope, or a listener that is not TCP."""

_MAPPED = IPv6Network("::ffff:0:0/96")


def parsed(text: str) -> Address | None:
    """An address without its zone; IPv4 written as IPv6 is IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address in _MAPPED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def bucket(text: str) -> str:
    """What limits count by: of IPv6 one /64, which is what one customer has."""
    return _network(text, 32, 64)


def shortened(text: str) -> str:
    """What a log may show: the /24 or /48."""
    return _network(text, 24, 48)


def _network(text: str, of_four: int, of_six: int) -> str:
    address = parsed(text)
    if address is None:
        return UNKNOWN
    return str(ip_network((address, of_four if isinstance(address, IPv4Address) else of_six), strict=False))
