"""Fetches the images that a conversation names by URL, from public addresses only.

A client decides where this process connects to, so that every connection is checked where it is made: the very
address that a socket is about to connect to. A name that resolves to another address a moment later (DNS rebinding),
an address in an odd spelling and a redirect all end there.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from claude_code_api.conversation import (
    IMAGE_TYPES,
    Base64Source,
    Block,
    Conversation,
    Image,
    Message,
    ToolResult,
    UrlSource,
)
from claude_code_api.errors import InvalidRequest
from claude_code_api.image_formats import media_type_of, size_fault
from claude_code_api.settings import Settings

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it: family, kind, protocol, canonical name, (address, port, …)."""
Permit = Callable[[IPv4Address | IPv6Address], bool]

PORTS = frozenset({80, 443})
MAX_REDIRECTS = 3
AT_ONCE = 4

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is assigned; NAT64 and mapped IPv4 lie outside
_REFUSED = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure's host, as its guests see it
            "192.0.0.0/24",  # special purposes, Oracle's metadata among them; Python's own list has a part of it
            "192.88.99.0/24",  # relays to 6to4
            "3fff::/20",  # documentation, newer than Python's list
        ),
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address can only be somewhere on the public internet.

    Not private, loopback, link-local, shared, multicast or reserved (IANA's special-purpose registries), nor an IPv6
    form that carries an IPv4 address to a translator.
    """
    if any(address in network for network in _REFUSED):
        return False
    if isinstance(address, IPv6Address):
        return address in _GLOBAL_UNICAST and address.is_global and address.sixtofour is None
    return address.is_global and not address.is_multicast


async def fetch(
    conversation: Conversation, settings: Settings, *, permit: Permit = is_public, ports: Collection[int] = PORTS
) -> Conversation:
    """The conversation with every `UrlSource` replaced by the image itself; each URL is fetched once.

    InvalidRequest numbers the image at fault, counted from 1 through the whole conversation. It never tells why a
    connection failed: the answer would map the network for whoever asks.
    """
    images = [source for message in conversation.messages for source in _sources(message.content)]
    numbers: dict[str, int] = {}
    for number, source in enumerate(images, 1):
        if isinstance(source, UrlSource):
            numbers.setdefault(source.url, number)
    if not numbers:
        return conversation
    if not settings.remote_images:
        raise InvalidRequest("Images are not fetched from URLs here.", code="unsupported_image_url", param="messages")

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=_checked_sockets(permit), force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "claude-code-api"},
        auto_decompress=False,
        trust_env=False,
    ) as session:
        fetching = _Fetching(session, settings, ports)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {url: group.create_task(fetching.image(url, number)) for url, number in numbers.items()}
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None
    fetched = {url: task.result() for url, task in tasks.items()}

    def replaced(block: Block) -> Block:
        if isinstance(block, Image) and isinstance(block.source, UrlSource):
            return Image(fetched[block.source.url])
        if isinstance(block, ToolResult):
            content = tuple(replaced(part) for part in block.content)
            return msgspec.structs.replace(block, content=content)
        return block

    messages = (Message(message.role, tuple(map(replaced, message.content))) for message in conversation.messages)
    return msgspec.structs.replace(conversation, messages=tuple(messages))


def _sources(blocks: Sequence[Block]) -> Iterator[Base64Source | UrlSource]:
    """Where the images of a turn are, those in results of tools included, in their order."""
    for block in blocks:
        if isinstance(block, Image):
            yield block.source
        elif isinstance(block, ToolResult):
            yield from _sources(block.content)


class _Fetching:
    """The images of one conversation: a few at once, within one budget of bytes."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings, ports: Collection[int]) -> None:
        self._session = session
        self._settings = settings
        self._ports = ports
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._room = settings.max_body_bytes  # what the images could take if they came in the request itself

    async def image(self, url: str, number: int) -> Base64Source:
        try:
            async with self._turn, asyncio.timeout(self._settings.remote_image_timeout):
                data = await self._get(url, number)
        except (aiohttp.ClientError, OSError, ValueError):  # a TimeoutError is an OSError; what is no URL a ValueError
            raise _unreachable(number) from None
        media_type = media_type_of(data)
        if media_type is None:
            known = ", ".join(sorted(IMAGE_TYPES))
            raise _fault(f"Image {number} is none of {known} where its URL leads.", "invalid_image")
        if fault := size_fault(data):
            raise _fault(f"Image {number} {fault}.", "invalid_image")
        return Base64Source(media_type, base64.b64encode(data).decode())

    async def _get(self, url: str, number: int) -> bytes:
        target = URL(url)
        for _ in range(1 + MAX_REDIRECTS):
            if target.scheme not in ("http", "https") or target.port not in self._ports or "@" in target.raw_authority:
                break
            async with self._session.get(target, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status == 200:
                    return await self._read(response, number)
                if response.status not in (301, 302, 303, 307, 308) or location is None:
                    break
                target = target.join(URL(location))
        raise _unreachable(number)

    async def _read(self, response: aiohttp.ClientResponse, number: int) -> bytes:
        data = bytearray()
        async for chunk in response.content.iter_chunked(64 * 1024):
            data += chunk
            self._room -= len(chunk)
            if len(data) > self._settings.max_image_bytes:
                limit = self._settings.max_image_bytes
                raise _fault(f"Image {number} is larger than {limit} bytes.", "image_too_large")
            if self._room < 0:
                limit = self._settings.max_body_bytes
                raise _fault(f"The images are together larger than {limit} bytes.", "image_too_large")
        return bytes(data)


def _checked_sockets(permit: Permit) -> Callable[[AddressInfo], socket.socket]:
    """A factory of sockets that refuses an address which is not permitted; aiohttp connects to that very address.

    Spellings such as `2130706433` and `0177.0.0.1`, which the system takes for 127.0.0.1, are no addresses to aiohttp
    nor here (a ValueError).
    """

    def checked_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not permit(ipaddress.ip_address(address[0])):
            raise OSError("address not permitted")
        return socket.socket(family, kind, protocol)

    return checked_socket


def _unreachable(number: int) -> InvalidRequest:
    return _fault(f"Image {number} could not be fetched from its URL.", "invalid_image")


def _fault(message: str, code: str) -> InvalidRequest:
    # its path in the request is the dialect's knowledge, hence the number
    return InvalidRequest(message, code=code, param="messages")
