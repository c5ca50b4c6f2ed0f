"""Rotations that are killed: `python killed_rotation.py DIRECTORY` prints, as JSON, what was found after each.

The first run is killed before its first durable step, the second after it, and so on, until one ends by itself. Each
works on a copy of the same data directory, in a process of its own that is forked from this one, which saves starting.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from claude_code_api.access import Access, rotation
from claude_code_api.access.key_sources import KeyFile
from claude_code_api.operations import logs
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.database import Database

NAMES = [f"c{number}" for number in range(5)]


def settings(directory: Path) -> Settings:
    return given_only(data_dir=directory / "data", master_key_file=directory / "keys" / "master.key")


async def fill(directory: Path) -> str:
    (directory / "keys").mkdir(parents=True)
    async with Access.open(settings(directory)) as access:
        for name in NAMES:
            await access.credentials.add(name, Secret(oauth_token(name)))
        return (await access.keys.create("program", NAMES[0]))[1].reveal()


async def rotate(directory: Path) -> Any:
    async with Access.open(settings(directory)) as access:
        return await access.rotate_master_key()


async def rotate_killed_at(directory: Path, last: int) -> str:
    """Kills this process at its step of that number: before and after all that makes something durable."""
    steps = iter(range(last + 1))

    def step() -> None:
        if next(steps, None) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def killing(real: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any) -> Any:
            step()
            done = real(*arguments)
            step()
            return done

        return stepping

    real_commit = Database._commit

    async def commit(self: Database, connection: Any, announced: bool) -> None:
        step()
        await real_commit(self, connection, announced)
        step()

    async with Access.open(settings(directory)) as access:
        rotation.BATCH = 2
        os.fsync, os.replace = killing(os.fsync), killing(os.replace)
        Database._commit = commit  # type: ignore[method-assign]
        await access.rotate_master_key()
    return "ended"


async def look(directory: Path, key: str) -> dict[str, Any]:
    """What opens, under which keys, and what the next run makes of it."""
    found: dict[str, Any] = {"keys": _keys(directory), "opens": await _opens(directory, key)}
    again = await rotate(directory)
    return found | {
        "resumed": again.resumed,
        "keys afterwards": _keys(directory),
        "opens afterwards": await _opens(directory, key),
        "without the older keys": await _opens(directory, key, newest_alone=True),
        "files": sorted(path.name for path in (directory / "keys").iterdir()),
    }


def _keys(directory: Path) -> int:
    keyring = KeyFile(settings(directory).master_key_path).load()
    return len(keyring.ids) if keyring else 0


async def _opens(directory: Path, key: str, *, newest_alone: bool = False) -> bool:
    path = settings(directory).master_key_path
    if newest_alone:
        path.write_text(path.read_text().splitlines()[1])
    async with Access.open(settings(directory)) as access:
        await access.keys.verify(Secret(key))
        for name in NAMES:
            assert (await access.credentials.unlock(name)).token == Secret(oauth_token(name))
    return True


def in_a_fork(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What `work` gives; None where it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.write(writing, json.dumps(asyncio.run(work())).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return json.loads(said) if status == 0 else None


def main(directory: Path) -> None:
    key = in_a_fork(lambda: fill(directory / "base"))
    found: list[Any] = []
    ended = None
    while ended is None:
        here = directory / str(len(found))
        shutil.copytree(directory / "base", here)
        ended = in_a_fork(lambda here=here: rotate_killed_at(here, len(found)))  # type: ignore[misc]
        found.append(in_a_fork(lambda here=here: look(here, key)))  # type: ignore[misc]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    logs.configure("warning", "json", sys.stderr)
    main(Path(sys.argv[1]))
