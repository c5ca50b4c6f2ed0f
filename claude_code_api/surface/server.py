"""Two listeners, HTTP and HTTPS, in one process and one event loop over one application."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from email.utils import formatdate
from typing import Any

from uvicorn import Config

from claude_code_api.errors import Overloaded, WrongSetting
from claude_code_api.settings import Settings
from claude_code_api.surface.app import HTTPS_ADDRESS, App
from claude_code_api.surface.connection import Connection, Connections
from claude_code_api.surface.encryption_rule import HttpsAddress
from claude_code_api.surface.served_certificate import ServedCertificate
from claude_code_api.surface.tls import Certificate

KEEP_ALIVE = 65
"""Seconds that an idle connection is kept; longer than common clients and proxies keep theirs, so that it is they
who close it and no request meets a closing connection."""

LAST_WORDS = 2.0
"""Seconds in which answers that were ended may still reach their clients."""

_BACKLOG = 2048


class Server:
    """Serves from `start` until `stop`, once, in the running event loop. Signals are the caller's."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._settings = settings
        self._config = Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            workers=1,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._connections = Connections()
        self._listeners: list[asyncio.Server] = []
        self._clock: asyncio.TimerHandle | None = None
        self._served: ServedCertificate | None = None
        self._watching: asyncio.Task[None] | None = None
        self.http_url = ""
        self.https_url = ""

    async def start(self) -> None:
        """Listens on both ports. OperatorFailure where one is taken, or the certificate cannot be used."""
        settings = self._settings
        self._served = served = await ServedCertificate.load(settings)
        plain = await _bound(settings.host, settings.port, "port")
        try:
            secure = await _bound(settings.host, settings.https_port, "https_port")
        except WrongSetting:
            for sock in plain:
                sock.close()
            raise
        http_port, https_port = plain[0].getsockname()[1], secure[0].getsockname()[1]
        self.http_url = f"http://{_shown(settings.host)}:{http_port}"
        self.https_url = f"https://{_shown(settings.host)}:{https_port}"
        self._config.load()
        self._tick()

        def connection() -> Connection:
            address = HttpsAddress(https_port, served.current.names, settings.public_url)
            return Connection(self._config, self._connections, {HTTPS_ADDRESS: address}, settings)

        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {
            "ssl": served.context,
            "ssl_handshake_timeout": settings.head_timeout,
            "ssl_shutdown_timeout": LAST_WORDS,
        }
        for sockets, options in ((plain, {}), (secure, tls)):
            for sock in sockets:
                self._listeners.append(await loop.create_server(connection, sock=sock, backlog=_BACKLOG, **options))
        self._watching = asyncio.create_task(served.watch())

    @property
    def certificate(self) -> Certificate | None:
        """The one in use."""
        return self._served.current if self._served else None

    @property
    def open_connections(self) -> int:
        return len(self._connections.connections)

    async def reload_certificate(self) -> None:
        """Looks at its files now, rather than within half a minute. Open connections go on."""
        if self._served:
            await self._served.look()

    async def stop(self, grace: float) -> None:
        """Accepts nothing more and closes idle connections; answers being given get `grace` seconds to end.

        Those that have not ended by then end with a failure: an error event in a stream, else a 503.
        """
        shared = self._connections
        shared.stopping = True
        for listener in self._listeners:
            listener.close()
        for connection in _all(shared):
            connection.shutdown()
        if not await self._all_left(grace):
            for connection in _all(shared):
                connection.end_answer(Overloaded("The gateway is being stopped.", retry_after=5))
            await self._all_left(LAST_WORDS)
        for connection in _all(shared):
            connection.transport.abort()
        await self._all_left(LAST_WORDS)
        if shared.tasks:  # what a gone client's request still has to do upstream
            await asyncio.wait(set(shared.tasks), timeout=LAST_WORDS)
        self._listeners.clear()
        if self._watching:
            self._watching.cancel()
        if self._clock:
            self._clock.cancel()

    async def _all_left(self, seconds: float) -> bool:
        shared = self._connections
        shared.none_left.clear()
        if shared.connections:
            try:
                await asyncio.wait_for(shared.none_left.wait(), seconds)
            except TimeoutError:
                return False
        return True

    def _tick(self) -> None:
        """Keeps the `Date` header (RFC 9110, 6.6.1)."""
        self._connections.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1, self._tick)


def _all(shared: Connections) -> list[Connection]:
    return [connection for connection in shared.connections if isinstance(connection, Connection)]


def _shown(host: str) -> str:
    """The host as it stands in a URL; a listener on every address is reached on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised, not bound
    return f"[{host}]" if ":" in host else host


async def _bound(host: str, port: int, setting: str) -> list[socket.socket]:
    """A listening socket for each address of `host` (`localhost` has two), all on the same port."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        raise WrongSetting(f"The setting host is {host!r}, which is no address of this machine.") from None
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((found_family, sockaddr) for found_family, _, _, _, sockaddr in found):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
            sock.bind((address[0], port or sockets[0].getsockname()[1], *address[2:]))
            sock.listen(_BACKLOG)
    except OSError as fault:
        for sock in sockets:
            sock.close()
        raise WrongSetting(_reason(fault, host, port, setting)) from None
    return sockets


def _reason(fault: OSError, host: str, port: int, setting: str) -> str:
    if fault.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use; choose another one with the setting {setting}."
    if fault.errno == errno.EACCES:
        return f"Port {port} of {host} may not be used by this user; choose another one with the setting {setting}."
    return f"The setting host is {host!r}, where nothing can listen: {fault.strerror}."
