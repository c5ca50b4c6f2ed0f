"""PostgreSQL: for gateways on several machines. What is promised of transactions is promised here as for SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from sqlalchemy import URL, Connection, event, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from claude_code_api.storage.generation import Generation
from claude_code_api.storage.tables import generation as shared_generation

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT = 10.0
"""Seconds until a connection, a new one or one from before, must have shown that somebody is there."""
LOCK_TIMEOUT = 10.0
"""Seconds that a statement waits for another process's write."""
IDLE_TIMEOUT = 60.0
"""Seconds of silence, of either side, after which a transaction is given up. The lock of the one writer would else be
held by a machine that was cut off for as long as TCP hopes for it."""
LOOK_INTERVAL, LOOK_TIMEOUT = 0.25, 0.5
"""Seconds between two looks for what was changed elsewhere, and those that one may take: together under the second in
which a revocation has to hold (policy K3)."""

_WRITERS_LOCK = 0x636C61756465


def engine(url: URL, *, patient: bool = False) -> AsyncEngine:
    """Connections to the server; one that was cut off since it was used last is made anew.

    `patient` is for a migration, whose statements may take long.

    The driver reads the address itself, which may have all that PostgreSQL's own programs know (`sslmode`, …).
    """
    import asyncpg  # type: ignore[import-untyped] # takes a while, which no command without it should pay

    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = {
        "application_name": "claude-code-api",
        "lock_timeout": f"{LOCK_TIMEOUT:g}s",
        "idle_in_transaction_session_timeout": f"{IDLE_TIMEOUT:g}s",
    }

    async def connect() -> Any:
        return await asyncpg.connect(
            address,
            timeout=CONNECT_TIMEOUT,
            command_timeout=None if patient else IDLE_TIMEOUT,
            server_settings=settings,
        )

    made = create_async_engine(url, hide_parameters=True, pool_use_lifo=True, pool_pre_ping=True, async_creator=connect)
    event.listen(made.sync_engine, "begin", _begin)
    return made


def transaction(*, writes: bool) -> dict[str, Any]:
    """Its options. A reader sees one moment; a writer, who waits for the one before, sees what that one has done."""
    return {
        "isolation_level": "READ COMMITTED" if writes else "REPEATABLE READ",
        "postgresql_readonly": not writes,
        "writes": writes,
    }


def _begin(connection: Connection) -> None:
    # One writer at a time, as SQLite has it: what a transaction has looked at is still so when it writes.
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")


def is_the_value_s_fault(error: DBAPIError) -> bool:
    """Whether a value was given that SQLite takes and this does not: a zero byte, half a character."""
    cause = error.orig and error.orig.__cause__
    return isinstance(cause, ValueError) or str(getattr(cause, "sqlstate", "")).startswith("22")


# --- changes that were made elsewhere -------------------------------------------------------------------


async def announce(connection: AsyncConnection) -> None:
    """Part of the transaction that changes keys or credentials."""
    await connection.execute(update(shared_generation).values(number=shared_generation.c.number + 1))


class Follower:
    """Raises this machine's generation whenever the database's has risen, and while nobody can tell whether it has, so
    that nothing is answered from memory then.
    """

    def __init__(self, engine: AsyncEngine, generation: Generation) -> None:
        # Whatever connection is free will do, and no transaction is begun.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._generation = generation
        self._known: int | None = None

    @property
    def hears(self) -> bool:
        """Whether the last look was answered."""
        return self._known is not None

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Looks while the block runs."""
        self._known = await self._number()  # what is remembered from here on is as new as that
        looking = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _follow(self) -> None:
        look: asyncio.Task[int | None] | None = None
        try:
            while True:
                await asyncio.sleep(LOOK_INTERVAL)
                look = look or asyncio.create_task(self._number())
                done, _ = await asyncio.wait([look], timeout=LOOK_TIMEOUT)
                await self._take(look.result() if done else None)
                if done:
                    look = None
        finally:
            if look:
                look.cancel()

    async def _take(self, number: int | None) -> None:
        if number is None and self.hears:
            log.warning("the database does not tell what was changed elsewhere; nothing counts as remembered")
        if number is None or number != self._known:
            try:
                await asyncio.to_thread(self._generation.advance)
            except Exception as fault:  # noqa: BLE001 - whatever it is, who follows no longer would miss revocations
                log.warning("a change that was made elsewhere cannot be told here", reason=str(fault))
                number = None  # the next look tries again
        self._known = number

    async def _number(self) -> int | None:
        """None where the database does not tell: whoever wants more of it says why."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT), self._engine.connect() as connection:
                number: int | None = await connection.scalar(select(shared_generation.c.number))
                return number
        except Exception as fault:  # noqa: BLE001 - of the system, the driver or SQLAlchemy
            log.debug("the database did not tell its generation", reason=str(fault))
            return None
