"""Tests reach no network but loopback, by construction: not by a socket, not by uvloop, not by another program."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import loopback
import pytest
import uvloop
from making import chat, oauth, outcome

from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.errors import UpstreamError
from claude_code_api.settings import load

ELSEWHERE = ("192.0.2.1", 443)  # TEST-NET-1 (RFC 5737): nobody's
CHILD = f"import socket, sys; sys.exit(socket.socket().connect_ex({ELSEWHERE}))"


def by_a_socket() -> int | None:
    with socket.socket() as attempt:
        try:
            attempt.connect(ELSEWHERE)
        except OSError as error:
            return error.errno
    return None


def by_uvloop() -> int | None:
    async def connect() -> int | None:
        try:
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, *ELSEWHERE)
        except OSError as error:
            return error.errno
        return None

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(connect())


def by_a_child() -> int | None:
    return subprocess.run([sys.executable, "-c", CHILD]).returncode


WAYS = [by_a_socket, by_uvloop, by_a_child] if loopback.in_namespace() else [by_a_socket]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_but_loopback_can_be_reached(way: Callable[[], int | None]) -> None:
    assert way() == errno.ENETUNREACH


if loopback.in_namespace():  # without one it would be let out

    async def test_nor_by_claude_code(data_dir: Path) -> None:
        url = f"http://{ELSEWHERE[0]}"
        engine = ClaudeCode(load(data_dir=data_dir, anthropic_base_url=url, retries=0, spare_processes=0))
        await engine.start(())
        try:
            _, failure = await outcome(engine, chat("Hello"), oauth("anna"))
        finally:
            await engine.stop()
        assert isinstance(failure, UpstreamError)
        assert "could not be reached" in failure.message


def test_a_machine_that_gives_no_namespace_is_told_of_and_guarded() -> None:
    """In a process of its own, which has a second thread already."""
    program = f"""
import socket, threading, loopback
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(loopback.confine())
try:
    socket.socket().connect({ELSEWHERE})
except OSError as error:
    print(error.errno)
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "loopback alone, by a guard on Python's sockets; uvloop and other programs pass it (2 threads run already)",
        str(errno.ENETUNREACH),
    ]
    assert done.stderr == ""
