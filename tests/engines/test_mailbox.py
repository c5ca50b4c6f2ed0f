"""What a process says is taken in order, by one reader, and nothing of it is lost to a deadline or a cancellation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
import uvloop

from claude_code_api.engines.claude_code import lines, mailbox
from claude_code_api.engines.claude_code.lines import Output, Unreadable
from claude_code_api.engines.claude_code.mailbox import Mailbox


def said(number: int) -> dict[str, int]:
    return {"number": number}


class TestMailbox:
    async def test_messages_come_in_their_order_and_the_end_behind_them(self) -> None:
        box = Mailbox()
        waiting = asyncio.create_task(box.take(10))
        await asyncio.sleep(0)
        for number in range(3):
            box.put(said(number))
        box.close()
        assert [await waiting, await box.take(10), await box.take(10), await box.take(10)] == [
            said(0), said(1), said(2), None,
        ]  # fmt: skip

    async def test_silence_has_its_time(self) -> None:
        box = Mailbox()
        with pytest.raises(TimeoutError):
            await box.take(0.01)
        box.put(said(1))
        assert await box.take(0) == said(1)

    async def test_silence_is_counted_from_the_last_message(self) -> None:
        box = Mailbox()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(3):
            loop.call_later(0.05, box.put, said(number))
            assert await box.take(0.08) == said(number)
        with pytest.raises(TimeoutError):
            await box.take(0.08)
        assert loop.time() - began >= 0.22

    async def test_what_was_cleared_before_its_reader_ran_is_no_silence(self) -> None:
        box = Mailbox()
        waiting = asyncio.create_task(box.take(10))
        await asyncio.sleep(0)
        box.put(said(1))
        box.clear()
        await asyncio.sleep(0)
        box.put(said(2))
        assert await waiting == said(2)

    async def test_a_shorter_patience_holds_behind_a_longer_one(self) -> None:
        box = Mailbox()
        asyncio.get_running_loop().call_soon(box.put, said(1))
        assert await box.take(3600) == said(1)
        async with asyncio.timeout(10):
            with pytest.raises(TimeoutError):
                await box.take(0.01)

    async def test_a_cancellation_that_comes_with_a_message_loses_neither(self) -> None:
        box = Mailbox()
        waiting = asyncio.create_task(box.take(10))
        await asyncio.sleep(0)
        box.put(said(1))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await box.take(10) == said(1)

    async def test_a_reader_that_waits_is_told_the_end(self) -> None:
        box = Mailbox()
        waiting = asyncio.create_task(box.take(10))
        await asyncio.sleep(0)
        box.close()
        assert await waiting is None

    async def test_of_pieces_the_first_comes_at_once_and_the_others_with_what_is_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mailbox, "PIECES_HELD", 3600)
        box = Mailbox()
        for first in (1, 5):
            waiting = asyncio.create_task(box.take(10))
            await asyncio.sleep(0)
            box.put(said(first), piece=True)
            assert await waiting == said(first)
            waiting = asyncio.create_task(box.take(10))
            await asyncio.sleep(0)
            box.put(said(first + 1), piece=True)
            box.put(said(first + 2), piece=True)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waiting.done()
            box.put(said(first + 3))
            assert [await waiting, await box.take(10), await box.take(10)] == [
                said(first + 1), said(first + 2), said(first + 3),
            ]  # fmt: skip

    async def test_a_piece_that_nothing_follows_comes_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mailbox, "PIECES_HELD", 0.01)
        box = Mailbox()
        for number in range(3):
            box.put(said(number), piece=True)
            assert await box.take(10) == said(number)
            waiting = asyncio.create_task(box.take(10))
            await asyncio.sleep(0)
            box.put(said(number), piece=True)
            assert await waiting == said(number)

    async def test_a_piece_that_was_taken_meanwhile_wakes_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mailbox, "PIECES_HELD", 0.01)
        box = Mailbox()
        for number in range(2):
            box.put(said(number), piece=True)
        assert [await box.take(10), await box.take(10)] == [said(0), said(1)]
        waiting = asyncio.create_task(box.take(10))
        await asyncio.sleep(0.03)
        assert not waiting.done()
        box.close()
        assert await waiting is None


class TestOutput:
    @pytest.mark.parametrize("size", [1, 2, 5, 1000])
    async def test_lines_are_whole_however_they_are_cut_and_what_has_no_end_is_no_line(self, size: int) -> None:
        written = b"one\n\ntwo\nthree\nhalf"
        taken: list[bytes] = []
        output = Output(taken.append)
        for start in range(0, len(written), size):
            output.receive(written[start : start + size])
        assert taken == [b"one", b"", b"two", b"three"]

    @pytest.mark.parametrize("written", [b"x" * 100, b"bad\n", b"fine\nbad\nfine\n", b"fine\nworse\nfine\n"])
    async def test_what_cannot_be_read_ends_it(self, written: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "LONGEST_LINE", 50)
        taken: list[bytes] = []

        def take(line: bytes) -> None:
            if line == b"bad":
                raise Unreadable
            if line == b"worse":
                raise KeyError(line)
            taken.append(line)

        output = Output(take)
        end = output.open()
        os.write(end, written)
        await asyncio.wait_for(output.ended, 10)
        os.close(end)
        assert output.unreadable
        assert len(taken) <= 1

    async def test_held_it_leaves_the_pipe_to_its_writer_and_let_go_it_goes_on(self) -> None:
        taken: list[bytes] = []
        output = Output(taken.append)
        end = output.open()
        output.hold(True)
        os.write(end, b"one\n")
        os.close(end)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not taken
        assert not output.ended.done()
        output.hold(False)
        await asyncio.wait_for(output.ended, 10)
        assert taken == [b"one"]
        assert not output.unreadable

    @pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
    def test_it_is_closed_once_and_never_what_was_opened_meanwhile(
        self, new_loop: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        """Numbers of descriptors are given anew at once, to whichever thread opens something next."""

        async def close_and_open() -> int:
            output = Output(lambda _: None)
            end = output.open()
            await asyncio.sleep(0)
            output.close()
            opened = os.open(os.devnull, os.O_RDONLY)
            os.close(end)
            await asyncio.wait_for(output.ended, 10)
            output.hold(True)
            output.hold(False)
            output.close()
            for _ in range(10):
                await asyncio.sleep(0)
            return opened

        with asyncio.Runner(loop_factory=new_loop) as runner:
            opened = runner.run(close_and_open())
        os.close(opened)  # it is still open

    @pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
    def test_what_gathers_while_it_rests_is_read_at_once_and_the_end_too(
        self, new_loop: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        async def rest() -> None:
            taken: list[bytes] = []
            steps: list[int] = []

            def take(line: bytes) -> float | None:
                taken.append(line)
                steps.append(step)
                return 0.02 if line.startswith(b"more") else None

            output = Output(take)
            end = output.open()
            step = 0
            os.write(end, b"more 1\n")
            while not taken:
                await asyncio.sleep(0)
            step = 1
            os.write(end, b"more 2\nmore 3\n")
            for _ in range(20):
                await asyncio.sleep(0)
            assert taken == [b"more 1"]
            step = 2
            os.write(end, b"last\nmo")
            while len(taken) < 4:
                await asyncio.sleep(0)
            assert steps == [0, 2, 2, 2]
            os.write(end, b"re 4\n")  # it does not rest any more
            while len(taken) < 5:
                await asyncio.sleep(0)
            os.close(end)  # while it rests
            await asyncio.wait_for(output.ended, 10)
            assert not output.unreadable

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(rest())

    async def test_held_while_it_rests_it_stays_held(self) -> None:
        taken: list[bytes] = []

        def take(line: bytes) -> float:
            taken.append(line)
            return 0.01

        output = Output(take)
        end = output.open()
        os.write(end, b"one\n")
        while not taken:
            await asyncio.sleep(0)
        output.hold(True)
        os.write(end, b"two\n")
        await asyncio.sleep(0.03)
        assert taken == [b"one"]
        output.hold(False)
        os.close(end)
        await asyncio.wait_for(output.ended, 10)
        assert taken == [b"one", b"two"]
