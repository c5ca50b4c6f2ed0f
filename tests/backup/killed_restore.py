"""Restores that are killed: `python killed_restore.py DIRECTORY` prints, as JSON, what was found after each.

The first run is killed before its first step that lasts, the second before its second, and so on, until one ends by
itself; once over a database that is there, once on an empty machine. Each works on a copy of its own, in a fork.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from claude_code_api.access import Access
from claude_code_api.backup import back_up, restore
from claude_code_api.errors import Unauthenticated
from claude_code_api.operations import logs
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, given_only
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.database import Database

IDENTITY = '{"userID":"a-device"}'


def settings(directory: Path) -> Settings:
    return given_only(data_dir=directory / "data", master_key_file=directory / "master.key")


def identity(directory: Path, credential: str) -> Path:
    return directory / "data" / "claude" / credential / ".claude.json"


async def fill(directory: Path) -> dict[str, str]:
    """A gateway with an identity, its backup, and then another key in the place of the first."""
    directory.mkdir()
    async with Access.open(settings(directory)) as access:
        credential = await access.credentials.add("main", Secret(oauth_token("main")))
        first, before = await access.keys.create("program", "main")
        config = identity(directory, credential.id)
        config.parent.mkdir(parents=True)
        config.write_text(IDENTITY)
        with (directory / "backup").open("wb") as file:
            await back_up(settings(directory), access, file)
        await access.keys.revoke(first.id)
        _, after = await access.keys.create("program", "main")
    return {"credential": credential.id, "before": before.reveal(), "after": after.reveal()}


def restore_killed_at(directory: Path, last: int) -> str:
    """Kills this process at its step of that number, just before it changes a name or makes durable."""
    steps = iter(range(last + 1))

    def step() -> None:
        if next(steps, None) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def killing(real: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **options: Any) -> Any:
            step()
            return real(*arguments, **options)

        return stepping

    real_commit = Database._commit

    async def commit(self: Database, connection: Any, announced: bool) -> None:
        step()
        await real_commit(self, connection, announced)

    for name in ("fsync", "rename", "replace", "unlink", "rmdir"):
        setattr(os, name, killing(getattr(os, name)))
    Database._commit = commit  # type: ignore[method-assign]
    with (directory / "backup").open("rb") as file:
        restore(settings(directory), file)
    return "ended"


async def look(directory: Path, known: dict[str, str]) -> dict[str, Any]:
    """Which keys work, and whether all else is whole, for whoever opens it next."""
    data = directory / "data"
    decided = (data / "gateway.db").exists() or (data / "restored").exists()
    async with Access.open(settings(directory), migrate=True) as access:
        works = {name: await _works(access, known[name]) for name in ("before", "after")}
        entries, faults = await access.audit.verify()
        names = [record.name for record in await access.credentials.list()]
        for name in names:
            assert (await access.credentials.unlock(name)).token == Secret(oauth_token(name))
    home = identity(directory, known["credential"])
    return works | {
        "there": decided,
        "names": names,
        "entries": entries,
        "faults": [fault.message for fault in faults],
        "identity": home.read_text() if home.exists() else None,
        "rest": (data / "restored").exists(),
    }


async def _works(access: Access, key: str) -> bool:
    try:
        await access.keys.verify(Secret(key))
    except Unauthenticated:
        return False
    return True


def in_a_fork(work: Callable[[], Any]) -> Any:
    """What `work` gives; None where it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.write(writing, json.dumps(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return json.loads(said) if status == 0 else None


def killed_at_each_step(directory: Path, base: Path, known: dict[str, str]) -> list[Any]:
    found: list[Any] = []
    ended = None
    while ended is None:
        here = directory / f"{base.name}-{len(found)}"
        shutil.copytree(base, here)
        ended = in_a_fork(lambda here=here: restore_killed_at(here, len(found)))  # type: ignore[misc]
        found.append(in_a_fork(lambda here=here: asyncio.run(look(here, known))))  # type: ignore[misc]
        shutil.rmtree(here)
    return found


def main(directory: Path) -> None:
    base, empty = directory / "filled", directory / "empty"
    known = in_a_fork(lambda: asyncio.run(fill(base)))
    empty.mkdir()
    for name in ("master.key", "backup"):
        shutil.copy(base / name, empty)
    runs = {place.name: killed_at_each_step(directory, place, known) for place in (base, empty)}
    sys.stdout.write(json.dumps(runs))


if __name__ == "__main__":
    logs.configure("warning", "json", sys.stderr)
    main(Path(sys.argv[1]))
