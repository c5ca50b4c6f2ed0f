"""The server's life: where it listens, how it stops, what ports and hosts it refuses."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import urlsplit

import pytest
from surface_server import CHAT, FINISHED, KEY, Gate, RawAnswer, Served, chat_body, chat_request, happened, request

from claude_code_api.conversation import Accepted, Started, TextDelta
from claude_code_api.errors import OperatorFailure
from claude_code_api.surface.encryption_rule import HttpsAddress

LOCALHOST = sorted({str(found[4][0]) for found in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)})
BEGUN = (Accepted(), Started("m"), TextDelta("Hel"))


async def test_both_listeners_answer_on_the_ports_that_they_name(serve):
    served = serve()
    assert served.http.startswith("http://127.0.0.1:")
    assert served.https.startswith("https://127.0.0.1:")
    for tls in (False, True):
        assert (await served.exchange(request(), tls=tls)).status == 200


@pytest.mark.parametrize(
    ("host", "shown", "reached"),
    [
        ("::1", "[::1]", ["::1"]),
        ("localhost", "localhost", LOCALHOST),
        ("0.0.0.0", "127.0.0.1", ["127.0.0.1"]),
        ("::", "[::1]", ["127.0.0.1", "::1"]),
    ],
)
async def test_every_address_of_the_host_is_listened_on(serve, host, shown, reached):
    served = serve(host=host)
    assert served.http.startswith(f"http://{shown}:")
    for address in reached:
        _, writer = await asyncio.open_connection(address, urlsplit(served.http).port)
        writer.transport.abort()


@pytest.mark.parametrize("setting", ["port", "https_port"])
async def test_a_taken_port_is_told_in_one_line(serve, setting):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OperatorFailure, match=rf"^Port {port} of 127\.0\.0\.1 is in use.* {setting}\.$"):
            serve(**{setting: port})


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_a_host_that_is_not_this_machine_is_told(serve, host):
    with pytest.raises(OperatorFailure, match="setting host is "):
        serve(host=host)


async def test_a_port_of_the_system_is_told(serve, monkeypatch):
    def bind(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind, raising=False)
    with pytest.raises(OperatorFailure, match="may not be used by this user"):
        serve(port=80)


async def refused(served: Served) -> bool:
    url = urlsplit(served.http)
    try:
        _, writer = await asyncio.open_connection(url.hostname, url.port)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was still in the queue of the listener that closed
        return False
    writer.transport.abort()
    return False


@pytest.mark.parametrize("tls", [False, True])
async def test_a_running_answer_ends_well_within_the_grace(serve, gateway, tls):
    gate = Gate()
    gateway.script = [*BEGUN, gate, TextDelta("lo"), FINISHED]
    served = serve()
    async with served.raw(tls=tls) as (reader, writer), asyncio.timeout(10):
        writer.write(chat_request(stream=True).replace(b"connection: close\r\n", b""))
        assert await happened(gate.reached)
        stopping = asyncio.ensure_future(served.stop(10))
        while not await refused(served):  # at once, though the answer goes on
            pass
        gate.open()
        assert b"data: [DONE]" in await reader.read(-1)
        await stopping


async def test_after_the_grace_a_stream_ends_with_an_error_event(serve, gateway):
    gateway.script = [*BEGUN, Gate()]
    served = serve()
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(chat_request(stream=True))
        assert await happened(gateway.script[-1].reached)
        await served.stop(0.05)
        shown = await reader.read(-1)
    assert shown.endswith(b"0\r\n\r\n")
    assert b'"code":"overloaded"' in shown
    assert b"[DONE]" not in shown
    assert gateway.closed.is_set()


async def test_after_the_grace_a_whole_answer_is_a_503(serve, gateway):
    gateway.script = [*BEGUN, Gate()]
    served = serve()
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(chat_request())
        assert await happened(gateway.script[-1].reached)
        await served.stop(0.05)
        answer = RawAnswer(await reader.read(-1))
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "overloaded", "5")


async def test_idle_connections_and_half_sent_requests_are_closed_at_once(serve):
    served = serve()
    async with served.raw() as (idle, writer), served.raw() as (half, half_writer), asyncio.timeout(5):
        writer.write(request(connection="keep-alive"))
        await idle.readuntil(b'"ok"}')
        half_writer.write(b"GET /hea")
        await half_writer.drain()
        async with served.raw() as (other, other_writer):  # once it is answered, the half one was read as well
            other_writer.write(request())
            await other.read(-1)
        await served.stop(60)
        assert await idle.read(-1) == b""
        assert await half.read(-1) == b""


async def test_a_client_that_reads_nothing_does_not_hold_the_stop_up(serve, gateway, monkeypatch):
    monkeypatch.setattr("claude_code_api.surface.server.LAST_WORDS", 0.2)
    gateway.script = [Accepted(), Started("m"), *[TextDelta("x" * 1000)] * 40_000]
    served = serve()
    async with served.raw() as (reader, writer), asyncio.timeout(10):
        writer.write(chat_request(stream=True))
        await reader.readexactly(100)
        given = -1
        while given != gateway.given:  # until it stands still
            given = gateway.given
            await asyncio.sleep(0.1)
        await served.stop(0)
        assert gateway.closed.is_set()


async def test_the_stop_waits_for_what_a_gone_clients_request_still_has_to_do(serve, gateway):
    gateway.script, gateway.before_close = [Gate()], Gate()
    served = serve()
    async with served.raw() as (_, writer):
        writer.write(chat_request())
        assert await happened(gateway.script[0].reached)
    assert await happened(gateway.before_close.reached)
    stopping = asyncio.ensure_future(served.stop(0))
    await asyncio.sleep(0.05)
    assert not stopping.done()
    gateway.before_close.open()
    await stopping
    assert gateway.closed.is_set()


async def test_stopping_twice_is_harmless(serve):
    served = serve()
    await served.stop(0)
    await served.stop(0)


@pytest.mark.policy("A1")
@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("localhost:8000", "localhost"),
        ("LOCALHOST", "localhost"),
        ("[::1]:8000", "[::1]"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("evil.test", "localhost"),
        ("evil.test:x@y", "localhost"),
    ],
)
async def test_the_redirect_leads_to_a_host_that_the_certificate_names(serve, host, target):
    served = serve()
    answer = await served.exchange(request(path="/admin", host=host))
    assert answer.status == 308
    assert answer.headers["location"] == f"https://{target}:{urlsplit(served.https).port}/admin"


@pytest.mark.policy("A1")
@pytest.mark.parametrize(
    ("address", "host", "origin"),
    [
        (HttpsAddress(443, ("a.test",)), "a.test", "https://a.test"),
        (HttpsAddress(8443, ("*.wild.test", "a.test")), "b.wild.test", "https://b.wild.test:8443"),
        (HttpsAddress(8443, ("*.wild.test", "a.test")), "b.c.wild.test", "https://a.test:8443"),
        (HttpsAddress(8443, ("*.wild.test",)), "x", "https://localhost:8443"),
        (HttpsAddress(8443, ("a.test",), "https://public.test"), "a.test", "https://public.test"),
        (HttpsAddress(8443, ("a.test",), "http://public.test"), "a.test", "https://a.test:8443"),
    ],
)
def test_the_https_address_is_the_public_one_or_one_that_is_certified(address, host, origin):
    assert address.origin(host) == origin


async def test_a_conversation_reaches_the_gateway_whole_over_https(serve, gateway):
    served = serve()
    text = "ä\u2028€🎉" * 50_000
    body = chat_body(messages=[{"role": "user", "content": text}])
    answer = await served.exchange(request("POST", CHAT, body, x_api_key=KEY), tls=True)
    assert json.loads(answer.body)["object"] == "chat.completion"
    assert gateway.conversations[0].messages[0].content[0].text == text
