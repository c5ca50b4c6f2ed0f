"""`admin sessions`: who is signed in, and ending it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.output import print_json, print_table, shown

if TYPE_CHECKING:
    from claude_code_api.access import Access, ListedSession

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """List and end the sessions of administrators.

    Example: claude-code-api admin sessions list
    """


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List who is signed in, and from where.

    Example: claude-code-api admin sessions list
    """
    sessions = with_access(settings_for(data_dir), "Reading", lambda access: access.sessions.list())
    if as_json:
        print_json([_described(each) for each in sessions])
    elif sessions:
        print_table(
            ["Name", "Last used", "Ends", "Address", "Device", "Id"],
            [
                [each.administrator.name, shown(each.last_used_at), shown(each.ends_at), each.address, each.device,
                 each.id]
                for each in sessions
            ],
        )  # fmt: skip
    else:
        print("Nobody is signed in.", file=sys.stderr)


@app.command()
def end(
    session_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Id of the session, as `list` shows it.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="All sessions of this administrator.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End a session, or all of an administrator; its cookie opens nothing from now on.

    Example: claude-code-api admin sessions end --name anna
    """
    if (session_id is None) == (name is None):
        raise typer.BadParameter("give the id of a session, or --name for all of an administrator")

    async def finish(access: Access) -> int:
        if session_id is not None:
            await access.sessions.end(session_id)
            return 1
        administrator = await access.administrators.get(name or "")
        return await access.sessions.end_all(administrator.id)

    ended = with_access(settings_for(data_dir), "Ending", finish)
    if as_json:
        print_json({"ended": ended})
    else:
        print(f"Ended {ended} session{'s' * (ended != 1)}.")


def _described(session: ListedSession) -> dict[str, Any]:
    """The administrator by id and name alone."""
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(session)
    return {**told, "administrator": session.administrator.name, "administrator_id": session.administrator.id}
