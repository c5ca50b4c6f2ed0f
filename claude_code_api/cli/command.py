"""What the commands have in common: two options, the settings, and the opened data directory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from claude_code_api.cli.output import progress

if TYPE_CHECKING:
    from claude_code_api.access import Access
    from claude_code_api.settings import Settings

T = TypeVar("T")

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Directory for everything that is kept [./data].")
]
Role = Literal["owner", "admin", "viewer"]
"""As in `access`, which takes a second to load."""
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def settings_for(data_dir: Path | None) -> Settings:
    """The settings in force. Logs would be noise beside a command's one line: there are none but for `debug`."""
    from claude_code_api.operations import logs
    from claude_code_api.settings import load

    settings = load(data_dir=data_dir)
    logs.configure("debug" if settings.log_level == "debug" else "critical", "console", sys.stderr)
    return settings


def with_access(settings: Settings, doing: str, work: Callable[[Access], Awaitable[T]]) -> T:
    """Runs `work` on the keys and credentials of the data directory; `doing` is shown if it takes long."""
    from claude_code_api.access import Access

    async def run() -> T:
        async with Access.open(settings) as access:
            return await work(access)

    with progress(doing):
        return asyncio.run(run())
