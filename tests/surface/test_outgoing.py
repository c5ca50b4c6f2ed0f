"""What is written in one step of the loop is sent together: in order, none of it late, none of it lost."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
import uvloop
from surface_server import HELLO, chat_request

from claude_code_api.surface.connection import Connection
from claude_code_api.surface.outgoing import MOST_GATHERED, Outgoing


class Recording(asyncio.Transport):
    """Keeps what it is given, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:  # type: ignore[override]  # all that is written here
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True


async def test_what_comes_in_one_step_is_one_write_and_the_next_step_another() -> None:
    transport = Recording()
    outgoing = Outgoing(transport, transport.close)
    for piece in (b"head ", b"first ", b"second"):
        outgoing.write(piece)
    assert transport.writes == []
    await asyncio.sleep(0)
    assert transport.writes == [b"head first second"]
    outgoing.write(b"third")
    await asyncio.sleep(0)
    assert transport.writes == [b"head first second", b"third"]


async def test_much_goes_at_once() -> None:
    transport = Recording()
    outgoing = Outgoing(transport, transport.close)
    outgoing.write(b"a")
    outgoing.write(b"b" * MOST_GATHERED)
    assert transport.writes == [b"a" + b"b" * MOST_GATHERED]
    outgoing.write(b"c")
    await asyncio.sleep(0)
    assert transport.writes[1:] == [b"c"]


async def test_closing_sends_what_was_gathered_first() -> None:
    transport = Recording()
    outgoing = Outgoing(transport, transport.close)
    outgoing.write(b"the end")
    outgoing.close()
    assert transport.writes == [b"the end"]
    assert outgoing.is_closing()


async def test_nothing_is_sent_on_a_connection_that_was_lost_meanwhile() -> None:
    transport = Recording()
    outgoing = Outgoing(transport, transport.close)
    outgoing.write(b"for nobody")
    transport.close()
    await asyncio.sleep(0)
    outgoing.close()
    assert transport.writes == []


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_slow_reader_pauses_the_writer_in_time_and_gets_all_of_it(new_loop) -> None:
    class Writer(asyncio.Protocol):
        paused = False
        transport: asyncio.Transport | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def pause_writing(self) -> None:
            self.paused = True

    async def run() -> None:
        writer = Writer()
        server = await asyncio.get_running_loop().create_server(lambda: writer, "127.0.0.1", 0)
        reader, end = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1000)
        while writer.transport is None:
            await asyncio.sleep(0)
        outgoing = Outgoing(writer.transport, writer.transport.close)
        written = []
        while not writer.paused:
            assert len(written) < 1000
            written.append(b"%09d\n" % len(written) * 10_000)
            outgoing.write(written[-1])
        assert writer.transport.get_write_buffer_size() < 4 * MOST_GATHERED
        outgoing.close()
        assert await reader.read(-1) == b"".join(written)
        end.close()
        await end.wait_closed()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(run(), 10))


async def test_an_answer_that_ends_as_the_server_stops_is_whole(serve, gateway, monkeypatch) -> None:
    completed = Connection.on_response_complete

    def complete_and_shut_down(self: Connection) -> None:
        completed(self)
        self.shutdown()

    monkeypatch.setattr(Connection, "on_response_complete", complete_and_shut_down)
    gateway.script = HELLO
    answer = await serve().exchange(chat_request(stream=True).replace(b"connection: close\r\n", b""))
    assert answer.status == 200
    assert answer.body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
