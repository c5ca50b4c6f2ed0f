"""Counters in Redis: they outlive a restart, and all gateways on one Redis share them (policy N5).

Redis is never more than a help. Whatever it does, no request fails by it, and none waits longer than TIMEOUT for its
turn to ask and as long for the answer. While there is none, one request every RETRY_AFTER finds out whether it is back,
and the limits go by what this process has counted itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import structlog
from limits.aio.storage import RedisStorage, Storage
from limits.aio.storage.redis.redispy import RedispyBridge

from claude_code_api.errors import WrongSetting
from claude_code_api.operations.alerts import Alerts
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings

if TYPE_CHECKING:  # importing it takes a tenth of a second, which only who uses it should pay
    from redis.asyncio import ConnectionPool

T = TypeVar("T")

log = structlog.get_logger(__name__)

CONNECTIONS = 16
"""Requests that ask at once; the others wait for their turn."""
TIMEOUT = 0.5
"""Seconds within which Redis must have answered a request, on a new connection too; and the longest wait for a turn."""
START_TIMEOUT = 3.0
"""Seconds that it gets when the gateway starts."""
RETRY_AFTER = 5.0
"""Seconds after a failure in which Redis is not asked."""
KEY_PREFIX = "claude-code-api"
DEFAULT_PORT = 6379


@asynccontextmanager
async def shared_counters(settings: Settings, alerts: Alerts) -> AsyncIterator[SharedCounters | None]:
    """Those of the setting `redis_url`, None without it. WrongSetting where Redis cannot be used."""
    if settings.redis_url is None:
        yield None
        return
    counters = SharedCounters(settings.redis_url, alerts)
    try:
        await counters.try_out()
        yield counters
    finally:
        await counters.close()


def place(url: Secret) -> str:
    """Where this Redis is: all of its address that may be shown."""
    address = urlsplit(url.reveal())
    if address.scheme == "unix":
        return f"the socket {unquote(address.path)}"
    return f"{address.hostname}, port {address.port or DEFAULT_PORT}"


class SharedCounters:
    def __init__(self, url: Secret, alerts: Alerts, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place(url)
        self._alerts = alerts
        self._clock = clock
        self._pool = _pool(url)
        self._storage = _Counters(
            "redis://",  # its own reading of addresses knows neither sockets nor ports left out
            implementation="redispy",
            key_prefix=KEY_PREFIX,
            connection_pool=self._pool,  # type: ignore[arg-type] # its type is that of options in an address
        )
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._next_try: float | None = None  # None while Redis answers

    async def ask(self, question: Callable[[Storage], Awaitable[T]]) -> T | None:
        """What Redis answers; None while it does not, and then at once but for the one who tries again."""
        if self._is_left_alone:
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._turns.acquire()
        except TimeoutError:
            return None  # there is more to do than this process can: that says nothing of Redis
        try:
            return None if self._is_left_alone else await self._answer(question)
        finally:
            self._turns.release()

    @property
    def _is_left_alone(self) -> bool:
        return self._next_try is not None and self._clock() < self._next_try

    async def _answer(self, question: Callable[[Storage], Awaitable[T]]) -> T | None:
        trying = self._next_try is not None
        if trying:
            self._next_try = self._clock() + RETRY_AFTER  # so that nobody else tries meanwhile
        try:
            async with asyncio.timeout(TIMEOUT):
                if trying:  # on new connections: the old ones may lead to what was Redis before another took over
                    await self._pool.disconnect(inuse_connections=False)
                answer = await question(self._storage)
        except Exception as error:  # noqa: BLE001 - whatever stands there in Redis's place, no request fails by it
            self._failed(error)
            return None
        if trying:
            self._next_try = None
            log.info("Redis answers again: limits are shared", redis=self._place)
        return answer

    async def try_out(self) -> None:
        """Counts once, for a second. WrongSetting says why that cannot be done."""
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._storage.incr("start", 1)
        except Exception as error:  # noqa: BLE001 - likewise; what Redis says itself may repeat the password
            raise WrongSetting(
                f"The setting redis_url: Redis at {self._place} cannot be used: {reason(error)}."
            ) from None

    async def close(self) -> None:
        await self._pool.disconnect()

    def _failed(self, error: Exception) -> None:
        self._next_try = self._clock() + RETRY_AFTER
        self._alerts.tell(
            "limits_not_shared",
            "Redis does not answer: this gateway counts limits by itself",
            redis=self._place,
            reason=reason(error),
        )


class _Counters(RedisStorage):
    """The counters of `limits`, whose keys look like `claude-code-api:LIMITER/ip:192.0.2.7/100/1/minute`."""

    bridge: RedispyBridge

    async def get_expiry(self, key: str) -> float:
        """`limits` asks for whole seconds, rounded: who comes back then would often be too early."""
        redis: Any = self.bridge.get_connection()
        left: int = await redis.pttl(self.bridge.prefixed_key(key))
        return time.time() + max(0, left) / 1000


def _pool(url: Secret) -> ConnectionPool:
    """Connections that wait for nothing long and try nothing twice.

    WrongSetting for options in the address that redis-py does not know or cannot read.
    """
    from redis.asyncio import ConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        pool = ConnectionPool.from_url(
            url.reveal(),
            max_connections=CONNECTIONS,
            socket_connect_timeout=TIMEOUT,  # none for each answer: that costs a task each, and there is one for all
            retry=Retry(NoBackoff(), 0),
        )
        pool.make_connection()  # type: ignore[no-untyped-call] # reads the options, and connects to nothing
    except Exception:  # noqa: BLE001 - its own message may repeat what stands in the address
        raise WrongSetting('The setting redis_url: the options behind its "?" are none, or wrong.') from None
    return pool


def reason(error: Exception) -> str:
    """Why Redis cannot be used, in words of ours: its own may repeat the password that it was given."""
    from redis import exceptions

    cause = error.__context__
    match error:
        case exceptions.AuthenticationError():
            return "it refuses the password"
        case exceptions.NoPermissionError():
            return "it does not let this user count"
        case TimeoutError() | exceptions.TimeoutError():
            return "it does not answer in time"
        case exceptions.ConnectionError() if isinstance(cause, ConnectionRefusedError | FileNotFoundError):
            return "nothing listens there"
        case exceptions.ConnectionError() if isinstance(cause, socket.gaierror):
            return "its name is not known"
        case exceptions.ConnectionError() if isinstance(cause, ssl.SSLError):
            return f"TLS fails ({cause.reason})"
        case exceptions.ConnectionError():
            return "it cannot be reached"
    return f"it answers with an error ({type(error).__name__})"
