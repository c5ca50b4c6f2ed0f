"""`backup` and `restore`: everything that is kept, as one encrypted file, and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.output import print_json, progress, shown
from claude_code_api.errors import OperatorFailure

if TYPE_CHECKING:
    from claude_code_api.access import Access
    from claude_code_api.backup import Backup, Restored
    from claude_code_api.settings import Settings

STANDARD = Path("-")
"""Standard output or input, in the place of a file."""


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make; - is standard output.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a backup that is there.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write everything that is kept into one encrypted file, also while the gateway serves.

    The master key is not in it: keep a copy of that elsewhere, or nobody can restore this.

    Example: claude-code-api backup /mnt/backups/gateway.backup
    """
    if file == STANDARD and as_json:
        raise typer.BadParameter("The backup itself goes to standard output here.", param_hint="--json")
    settings = settings_for(data_dir)
    from claude_code_api.backup import database_file

    database = database_file(settings)
    if not database.exists():
        raise OperatorFailure(f"There is no database {database} to back up.")
    made = with_access(settings, "Backing up", lambda access: _back_up(settings, access, file, force))
    if as_json:
        print_json(made)
        return
    print(f"{made.bytes} bytes are in the backup {made.id}.", file=sys.stderr if file == STANDARD else sys.stdout)
    print(f"Keep it apart from what it needs: master key {', '.join(made.master_keys)}.", file=sys.stderr)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup; - is standard input.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only prove that it could be restored, also while the gateway serves.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the database, which is moved aside. Refused while the gateway runs.

    All of it is checked first: where something is wrong, nothing is changed. The master key must be there already.

    Example: claude-code-api restore /mnt/backups/gateway.backup
    """
    settings = settings_for(data_dir)
    from claude_code_api import backup as backups

    with _given(file) as given, progress("Checking" if check else "Restoring"):
        found = (backups.check if check else backups.restore)(settings, given)
    if check:
        _note_checked(settings, found)
    if as_json:
        print_json(found)
    else:
        _tell(found, check)


async def _back_up(settings: Settings, access: Access, file: Path, force: bool) -> Backup:
    from claude_code_api.backup import back_up, note_made

    with _made(file, force) as out:
        made = await back_up(settings, access, out)
    await note_made(access, made)
    return made


def _note_checked(settings: Settings, found: Restored) -> None:
    """In the audit log of the gateway that is here, if there is one."""
    from claude_code_api.backup import note_checked
    from claude_code_api.storage.database import sqlite_file

    database = sqlite_file(settings.database)
    if database is not None and database.exists():
        try:
            with_access(settings, "Noting", lambda access: note_checked(access, found))
        except OperatorFailure as failure:
            print(f"That could not be noted in the audit log here: {failure.message}", file=sys.stderr)


def _tell(found: Restored, check: bool) -> None:
    what = "could be restored" if check else "is restored"
    print(
        f"The backup {found.id} of {shown(found.made_at)} {what}: "
        f"{found.keys} API keys, {found.credentials} credentials, {found.audit_entries} entries of the audit log."
    )
    if found.faults:
        print(f"Its audit log is broken: {found.faults[0].message}", file=sys.stderr)
    if found.lost_entries:
        first, last = found.lost_entries
        print(f"It lacks what was done since: entries {first} to {last} of the audit log.", file=sys.stderr)
    if found.moved_aside:
        print(f"The database that was here is {found.moved_aside} now.", file=sys.stderr)
    if not check:
        print("Keys that were revoked since then are good again: look through `keys list`.", file=sys.stderr)


@contextmanager
def _made(file: Path, force: bool) -> Iterator[BinaryIO]:
    from claude_code_api.backup.making import written_to

    if file == STANDARD:
        if sys.stdout.isatty():
            raise OperatorFailure("A backup is no text: send standard output to a file or a program.")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with written_to(file, replace=force) as out:
            yield out
    except FileExistsError:
        why = "is no backup, and stays" if force else "is there already; --force replaces a backup"
        raise OperatorFailure(f"The file {file} {why}.") from None
    except OSError as error:
        raise OperatorFailure(f"The file {file} cannot be written: {error.strerror}.") from None


@contextmanager
def _given(file: Path) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        given = file.open("rb")
    except OSError as error:
        raise OperatorFailure(f"The backup {file} cannot be read: {error.strerror}.") from None
    with given:
        yield given
