"""Images by URL: fetched from public addresses, bounded in size and time, and silent about any network."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from aiohttp import DefaultResolver, web
from aiohttp.abc import ResolveResult

from claude_code_api.conversation import Base64Source, Block, Conversation, Image, Message, Text, UrlSource
from claude_code_api.errors import InvalidRequest
from claude_code_api.gateway.remote_images import PORTS, fetch, is_public
from claude_code_api.settings import Settings

START = b"GIF89a\1\0\1\0\0\0\0;"
GIF = START + bytes(100)
SETTINGS = Settings(remote_images=True, max_image_bytes=2000, max_body_bytes=5000, remote_image_timeout=0.5)


class Server:
    """A server of images on loopback; `requests` is what it was asked for."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[web.Request] = []
        self.at_once = self.most_at_once = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(request)
        finally:
            self.at_once -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        match request.path.split("/")[1:]:
            case ["gif", *_]:
                await asyncio.sleep(0.01)  # so that neighbours overlap
                return web.Response(body=GIF, content_type="text/plain")
            case ["size", size]:
                return web.Response(body=START + bytes(int(size) - len(START)))
            case ["pixels", width]:
                return web.Response(body=START[:6] + int(width).to_bytes(2, "little") + START[8:])
            case ["page"]:
                return web.Response(text="<html>", content_type="image/png")
            case ["endless"]:
                stream = web.StreamResponse()
                await stream.prepare(request)
                await stream.write(b"GIF89a")
                while True:
                    await stream.write(bytes(1000))
            case ["stuck"]:
                await asyncio.sleep(30)
            case ["hop", "0"]:
                return web.Response(status=302, headers={"Location": "/gif"})
            case ["hop", count]:
                hop = {"Location": f"/hop/{int(count) - 1}", "Set-Cookie": "a=b"}
                return web.Response(status=307, headers=hop)
            case ["to"]:
                return web.Response(status=301, headers={"Location": request.query["url"]})
            case ["nowhere"]:
                return web.Response(status=302)
        return web.Response(status=404, body=GIF)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    await web.SockSite(runner, listener).start()
    yield server
    await runner.cleanup()


Names = dict[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The addresses of names, one for each look-up; every other name is unknown."""
    known: Names = {}

    async def resolve(_: Any, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        if not known.get(host):
            raise OSError(f"{host} is unknown")
        address = known[host].pop(0)
        return [{"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr(DefaultResolver, "resolve", resolve)
    return known


def showing(*urls: str) -> Conversation:
    own = Image(Base64Source("image/png", "aGk="))
    content: tuple[Block, ...] = (Text("look"), own, *(Image(UrlSource(url)) for url in urls))
    return Conversation(model="m", system="s", messages=(Message("user", content),))


async def fetched(server: Server, *urls: str, settings: Settings = SETTINGS) -> Conversation:
    """With loopback permitted, and the test's port."""
    return await fetch(showing(*urls), settings, permit=lambda address: address.is_loopback, ports={server.port})


async def refusal(conversation: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        await conversation
    return raised.value


UNREACHABLE = ("invalid_image", "messages", "Image 2 could not be fetched from its URL.")


def told(fault: InvalidRequest) -> tuple[str, str | None, str]:
    return fault.code, fault.param, fault.message


async def test_a_url_is_replaced_by_the_image_in_its_place(server: Server) -> None:
    conversation = await fetched(server, server.url("/gif"))
    source = Base64Source("image/gif", base64.b64encode(GIF).decode())
    expected = (*showing().messages[0].content, Image(source))
    assert conversation == Conversation(model="m", system="s", messages=(Message("user", expected),))


async def test_a_conversation_without_urls_is_left_as_it_is() -> None:
    conversation = showing()
    assert await fetch(conversation, SETTINGS) is conversation


async def test_nothing_is_fetched_where_it_is_not_allowed(server: Server) -> None:
    fault = await refusal(fetched(server, server.url("/gif"), settings=Settings()))
    assert fault.code == "unsupported_image_url"
    assert server.requests == []


async def test_the_same_url_is_fetched_once(server: Server) -> None:
    conversation = await fetched(server, server.url("/gif"), server.url("/gif"))
    assert len(server.requests) == 1
    assert conversation.messages[0].content[2] == conversation.messages[0].content[3]


async def test_only_a_few_are_fetched_at_once(server: Server) -> None:
    await fetched(server, *(server.url(f"/gif/{number}") for number in range(12)))
    assert len(server.requests) == 12
    assert 2 <= server.most_at_once <= 4


async def test_nothing_of_ours_goes_along(server: Server) -> None:
    await fetched(server, server.url("/hop/1"))
    for request in server.requests:
        assert not {"Cookie", "Authorization", "Referer"} & set(request.headers)


async def test_the_environments_proxy_is_not_used(
    server: Server, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    fault = await refusal(
        fetch(showing("http://unknown.test/gif"), SETTINGS, permit=lambda address: address.is_loopback)
    )
    assert told(fault) == UNREACHABLE
    assert server.requests == []


# --- where it connects to -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.0.9",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001:db8::1",
        "3fff::1",
        "2001::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_that_is_not_public_is_not_permitted(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450::8a"])
def test_a_public_address_is_permitted(address: str) -> None:
    assert is_public(ip_address(address))


def test_only_the_webs_own_ports_are_used() -> None:
    assert set(PORTS) == {80, 443}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0177.0.0.1", "127.1", "0x7f.1", "0"],
)
async def test_this_machine_is_not_reached_however_it_is_spelled(server: Server, host: str) -> None:
    fault = await refusal(fetch(showing(server.url("/gif", host)), SETTINGS, ports={server.port}))
    assert told(fault) == UNREACHABLE
    assert server.requests == []


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "127.1"])
async def test_an_address_in_an_odd_spelling_is_none_even_where_everything_is_permitted(
    server: Server, host: str
) -> None:
    url = server.url("/gif", host)
    fault = await refusal(fetch(showing(url), SETTINGS, permit=lambda _: True, ports={server.port}))
    assert told(fault) == UNREACHABLE
    assert server.requests == []


async def test_the_address_that_is_connected_to_is_the_one_that_was_checked(server: Server, names: Names) -> None:
    """A name whose address changes between two look-ups leads nowhere else."""
    names["rebinding.test"] = ["203.0.113.7", "127.0.0.1", "127.0.0.1"]
    checked: list[IPv4Address | IPv6Address] = []

    def permit(address: IPv4Address | IPv6Address) -> bool:
        checked.append(address)
        return False

    url = server.url("/gif", "rebinding.test")
    assert told(await refusal(fetch(showing(url), SETTINGS, permit=permit, ports={server.port}))) == UNREACHABLE
    assert checked == [ip_address("203.0.113.7")]
    assert told(await refusal(fetch(showing(url), SETTINGS, ports={server.port}))) == UNREACHABLE
    assert server.requests == []
    assert await fetched(server, url)  # and the same name is used where its address is permitted


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/nothing",
        "http://127.0.0.1:{port}/nowhere",
        "http://127.0.0.1:{port}/stuck",
        "http://127.0.0.1:{port}/hop/3",
        "http://127.0.0.1:{port}/to?url=file:///etc/passwd",
        "http://127.0.0.1:{port}/to?url=http://127.0.0.1:1/",
        "http://127.0.0.1:{port}/to?url=http://10.0.0.1:{port}/",
        "http://127.0.0.1:{port}/to?url=http://[",
        "http://name:word@127.0.0.1:{port}/gif",
        "https://127.0.0.1:{port}/gif",
        "http://127.0.0.1:1/gif",
        "http://unknown.test:{port}/",
        "ftp://127.0.0.1:{port}/gif",
        "http://127.0.0.1:99999/",
        "no url",
    ],
)
async def test_the_reason_why_something_is_out_of_reach_is_not_told(server: Server, names: Names, url: str) -> None:
    assert told(await refusal(fetched(server, url.replace("{port}", str(server.port))))) == UNREACHABLE


async def test_a_refused_connection_looks_like_a_refused_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        port = unused.getsockname()[1]
        closed = await refusal(
            fetch(showing(f"http://127.0.0.1:{port}/"), SETTINGS, permit=lambda _: True, ports={port})
        )
    assert told(closed) == UNREACHABLE


async def test_three_redirects_are_followed(server: Server) -> None:
    conversation = await fetched(server, server.url("/hop/2"))
    assert isinstance(conversation.messages[0].content[2], Image)
    assert len(server.requests) == 4


# --- what it takes --------------------------------------------------------------------------------------


async def test_an_image_is_bounded_while_it_is_read(server: Server) -> None:
    assert await fetched(server, server.url("/size/2000"))
    for path in ("/size/2001", "/endless"):
        fault = await refusal(fetched(server, server.url(path)))
        assert (fault.code, fault.message) == ("image_too_large", "Image 2 is larger than 2000 bytes.")


async def test_all_images_together_are_bounded_as_a_body_is(server: Server) -> None:
    urls = [server.url(f"/size/{size}") for size in (1990, 1991, 1992)]
    assert await fetched(server, *urls[:2])
    fault = await refusal(fetched(server, *urls))
    assert (fault.code, fault.message) == ("image_too_large", "The images are together larger than 5000 bytes.")


async def test_what_is_no_image_is_refused_whatever_its_header_says(server: Server) -> None:
    fault = await refusal(fetched(server, server.url("/page")))
    assert fault.code == "invalid_image"
    assert fault.message == "Image 2 is none of image/gif, image/jpeg, image/png, image/webp where its URL leads."


@pytest.mark.policy("V2")
async def test_an_image_of_too_many_pixels_is_refused_before_anything_decodes_it(server: Server) -> None:
    assert await fetched(server, server.url("/pixels/8000"))
    fault = await refusal(fetched(server, server.url("/pixels/8001")))
    assert told(fault) == ("invalid_image", "messages", "Image 2 has 8001×1 pixels, and may have 8000 a side.")


async def test_one_fault_ends_the_other_fetches(server: Server) -> None:
    began = asyncio.get_running_loop().time()
    fault = await refusal(
        fetched(
            server,
            server.url("/stuck"),
            server.url("/nothing"),
            settings=SETTINGS.model_copy(update={"remote_image_timeout": 20.0}),
        )
    )
    assert fault.message == "Image 3 could not be fetched from its URL."
    assert asyncio.get_running_loop().time() - began < 10
