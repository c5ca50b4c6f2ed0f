"""An item of a checklist, how it is answered, and what is looked up in the database for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from claude_code_api import environment
from claude_code_api.access import Access, Administrator, ApiKey
from claude_code_api.access.key_sources import key_source
from claude_code_api.audit import Entry
from claude_code_api.errors import Failure
from claude_code_api.settings import Settings
from claude_code_api.storage.data_directory import server_process

Status = Literal["pass", "fail", "see"]
"""`see`: only a person can judge it; the remedy says how to look."""
BACKUP, DRILLS = "backup.made", ("backup.checked", "backup.restored")


class Item(msgspec.Struct, frozen=True):
    """`remedy` says how to mend what fails, and how to see what nobody but a person can."""

    checklist: str
    name: str
    status: Status
    message: str
    remedy: str | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What the database tells; `missing` says why it does not. `server` is the process of a gateway that runs."""

    missing: str | None = None
    administrators: list[Administrator] = []
    keys: list[ApiKey] = []
    backup: Entry | None = None
    drill: Entry | None = None
    server: int | None = None


Answer = tuple[Status, str, str | None]
Check = Callable[[Settings, Stored], Answer]
Checks = Mapping[str, Check]


def stored(settings: Settings) -> Stored:
    """Opening makes what is missing, so it is opened only where all is there."""
    path = settings.data_dir
    server = server_process(path / "server.lock")
    try:
        if not path.is_dir() or not (settings.database_url or (path / "gateway.db").exists()):
            return Stored(missing="There is no database yet.")
        if path.stat().st_mode & 0o066 or key_source(settings).load() is None:
            return Stored(missing="The data directory or the master key must be mended first.", server=server)
        return asyncio.run(_read(settings, server))
    except Failure as failure:
        return Stored(missing=failure.message, server=server)


async def _read(settings: Settings, server: int | None) -> Stored:
    async with Access.open(settings) as access:

        async def last(*actions: str) -> Entry | None:
            found = [entry for action in actions for entry in await access.audit.entries(action=action, limit=1)]
            return max(found, key=lambda entry: entry.number, default=None)

        return Stored(
            administrators=await access.administrators.list(),
            keys=await access.keys.list(),
            backup=await last(BACKUP),
            drill=await last(*DRILLS),
            server=server,
        )


def container() -> bool:
    """Whether this is one, as Docker, Podman and Kubernetes show."""
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
    return any(mark.exists() for mark in marks) or "KUBERNETES_SERVICE_HOST" in environment.variables()
