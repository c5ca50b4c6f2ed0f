"""Work that is not left in the middle: a cancellation waits until it is done."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Waits for the work even if cancelled meanwhile, and then passes the cancellation on."""
    task = asyncio.ensure_future(work)
    cancelled = await _cancelled_before(task)
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Waits for the work even if cancelled meanwhile; the cancellation comes at the caller's next wait for anything
    that is not undisturbed itself.
    """
    task = asyncio.ensure_future(work)
    if await _cancelled_before(task) and (caller := asyncio.current_task()):
        caller.uncancel()  # asked for once more, it is still the same one
        caller.cancel()
    return task.result()


async def _cancelled_before(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Waits until the task is done; gives the cancellation that came meanwhile."""
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


class Connection(aiosqlite.Connection):
    """A connection to SQLite whose statements nobody leaves in the middle.

    Left so, a statement goes on in the connection's thread, SQLAlchemy lets go of the connection without ending its
    transaction, and the lock of the one writer is held by nobody. A statement takes milliseconds; a transaction in
    which nothing else is awaited is finished as a whole.
    """

    async def _execute(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        work: Coroutine[Any, Any, T] = super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        return await undisturbed(work)


def connector(path: str) -> Callable[[], Awaitable[aiosqlite.Connection]]:
    """What opens a connection to a file, for SQLAlchemy's `async_creator`."""

    async def connect() -> aiosqlite.Connection:
        connection = Connection(partial(sqlite3.connect, path, check_same_thread=False), iter_chunk_size=64)
        connection._thread.daemon = True  # as SQLAlchemy has it
        return await undisturbed(_opened(connection))

    return connect


async def _opened(connection: Connection) -> aiosqlite.Connection:
    return await connection
