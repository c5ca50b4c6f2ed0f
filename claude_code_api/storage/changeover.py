"""Another database takes the place of the one that is there, with the files that belong to it: all of them or none.

What is to come is put together in a directory of its own. Giving that directory its other name is the one moment at
which it holds: a process that is killed before it has changed nothing, and what one that is killed after it has left
to do, the next one does that opens the database (`finish`). Each step may be done again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from claude_code_api.errors import StorageFailure
from claude_code_api.storage.data_directory import open_private
from claude_code_api.storage.generation import Generation

USERS = "database-users.lock"
"""A file that is locked by all who have the database open: together, or by one that changes it over alone."""
IN_USE = "Another command uses the database now; try again. Nothing was changed."
COMING, DECIDED, MOVES = "restoring", "restored", "moves.json"
COMPANIONS = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to a database's name for its logs: they belong to the database, and go where it goes."""
WAIT = 2.0
"""Seconds that are waited for commands that use the database."""


class Move(msgspec.Struct, frozen=True):
    """A file or directory of the coming ones, and its place. What is there goes `aside`, or is replaced."""

    name: str
    place: str
    aside: str | None = None


def empty_directory(path: Path) -> Path:
    """A private directory without anything that a killed process left in it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path


def join(directory: Path) -> int:
    """A descriptor of those who have the database open, to be closed by who has it no longer.

    Waits for a changeover that is under way, and finishes one that was killed.
    """
    descriptor = open_private(directory / USERS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        while (directory / DECIDED).exists():
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            finish(directory)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def database_alone(directory: Path, database: Path) -> Iterator[None]:
    """While nobody else has the database open, nor opens it. StorageFailure where somebody has it.

    Its log is emptied into it. A database that is damaged or missing is fine, too.
    """
    descriptor = open_private(directory / USERS)
    try:
        _wait_to_be_alone(descriptor)
        finish(directory)
        if database.exists():
            _empty_log(database)
        yield
    finally:
        os.close(descriptor)


def decide(directory: Path, moves: list[Move]) -> None:
    """From here on the coming files hold. To be called within `database_alone`."""
    coming, decided = directory / COMING, directory / DECIDED
    for move in moves:
        _require_room(Path(move.place))
    (coming / MOVES).write_bytes(msgspec.json.encode(moves))
    for path in (*(found for found in coming.rglob("*")), coming):
        _sync(path)
    os.rename(coming, decided)
    _sync(directory)
    finish(directory)


def finish(directory: Path) -> None:
    """Does what is left of a changeover that was decided. The caller has the database alone."""
    decided = directory / DECIDED
    if not decided.exists():
        return
    try:
        if (decided / MOVES).exists():
            _make(msgspec.json.decode((decided / MOVES).read_bytes(), type=list[Move]), decided)
    except OSError as error:
        raise StorageFailure(
            f"What was restored cannot take its place ({error.filename}: {error.strerror}); mend that, then try again."
        ) from None
    generation = Generation(directory / "generation")
    generation.advance()
    generation.close()
    shutil.rmtree(decided, ignore_errors=True)


def _make(moves: list[Move], decided: Path) -> None:
    for move in moves:
        coming, place = decided / move.name, Path(move.place)
        if not coming.exists():
            continue  # it is there already
        for companion in COMPANIONS if move.aside else ():
            with suppress(FileNotFoundError):
                os.rename(f"{place}{companion}", f"{move.aside}{companion}")
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _put(coming, place)
        _sync(place.parent)


def _wait_to_be_alone(descriptor: int) -> None:
    deadline = time.monotonic() + WAIT
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageFailure(IN_USE) from None
        time.sleep(0.05)


def _empty_log(database: Path) -> None:
    try:
        with closing(sqlite3.connect(database, timeout=WAIT)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageFailure(IN_USE) from None  # by another program


def _require_room(place: Path) -> None:
    """StorageFailure where the file could not be put, before anything is decided."""
    parent = next(parent for parent in place.parents if parent.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StorageFailure(f"Nothing can be written into {parent}. Nothing was changed.")


def _put(coming: Path, place: Path) -> None:
    """A renaming, also to another file system."""
    if coming.stat().st_dev != place.parent.stat().st_dev:
        beside = place.with_name(f"{place.name}.{DECIDED}")
        if coming.is_dir():
            shutil.copytree(coming, beside, dirs_exist_ok=True)
        else:
            shutil.copy2(coming, beside)
        _sync(beside)
        os.replace(beside, place)
        shutil.rmtree(coming) if coming.is_dir() else coming.unlink()
    else:
        os.replace(coming, place)


def _sync(path: Path) -> None:
    """Makes a file, or the names in a directory, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
