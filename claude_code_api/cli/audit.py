"""`audit`: who did what, and the proof that nobody changed the record of it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.keys import duration
from claude_code_api.cli.output import print_json, print_table, shown
from claude_code_api.errors import OperatorFailure

if TYPE_CHECKING:
    from claude_code_api.access import Access

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """See who did what, and prove that no entry was changed or removed.

    Example: claude-code-api audit list --since 7d
    """


@app.command("list")
def list_(
    since: Annotated[
        timedelta | None, typer.Option(metavar="TIME", parser=duration, help="Only of the last such time, as 7d.")
    ] = None,
    action: Annotated[
        str | None, typer.Option(metavar="A", help="Only such entries: key, key.revoked, credential, …")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done to this key, credential, …")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="The newest so many.")] = 100,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what was done, oldest first.

    Example: claude-code-api audit list --action key --since 30d
    """
    begin = datetime.now(UTC) - since if since is not None else None
    entries = with_access(
        settings_for(data_dir),
        "Reading",
        lambda access: access.audit.entries(since=begin, action=action, target=target, limit=limit),
    )
    if as_json:
        from claude_code_api.audit.listing import told

        print_json([told(entry) for entry in entries])
        return
    print_table(
        ["No.", "When", "Who", "What", "To", "Details"],
        [
            [str(e.number), shown(e.at), e.actor, e.action, e.target or "-",
             ", ".join(f"{name} {value}" for name, value in e.said.items())]
            for e in entries
        ],
    )  # fmt: skip


@app.command()
def export(
    since: Annotated[
        timedelta | None, typer.Option(metavar="TIME", parser=duration, help="Only of the last such time, as 7d.")
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="WHO", help="Only what this one did.")] = None,
    action: Annotated[
        str | None, typer.Option(metavar="A", help="Only such entries: key, key.revoked, credential, …")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done to this key, credential, …")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print all entries, oldest first: as comma-separated values, or with --json as one JSON object a line.

    Example: claude-code-api audit export --since 30d > audit.csv
    """
    from claude_code_api.audit import EntryFilter
    from claude_code_api.audit.listing import as_csv, as_json_lines

    begin = datetime.now(UTC) - since if since is not None else None
    wanted = EntryFilter(since=begin, actor=actor, action=action, target=target)

    async def write(access: Access) -> None:
        entries = access.audit.every(wanted)
        async for line in as_json_lines(entries) if as_json else as_csv(entries):
            sys.stdout.write(line if isinstance(line, str) else line.decode())

    with_access(settings_for(data_dir), "Reading", write)


@app.command()
def verify(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Prove that no entry was changed, moved, removed or cut off; exit status 1 where one was.

    Example: claude-code-api audit verify
    """
    count, faults = with_access(settings_for(data_dir), "Verifying", lambda access: access.audit.verify())
    if as_json:
        print_json({"entries": count, "intact": not faults, "faults": faults})
    elif not faults:
        print(f"All {count} entries are as they were written, and none is missing.")
    if faults:
        more = f" ({len(faults) - 1} more faults: --json names them)" if len(faults) > 1 else ""
        raise OperatorFailure(f"The audit log is broken: {faults[0].message}{more}")
