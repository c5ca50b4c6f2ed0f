"""`admin`: the administrators' passwords, which come from standard input and are never shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.output import print_json, print_table, read_password, shown

if TYPE_CHECKING:
    from claude_code_api.access import Administrator

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Set administrators' passwords.

    Example: claude-code-api admin set-password
    """


@app.command(context_settings={"allow_extra_args": True})
def set_password(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Whose password.")] = "admin",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Set a password, read from standard input or asked for twice. It ends the administrator's sessions.

    Where there is no owner yet, this makes one. It is also the way back after a lost password.

    Example: claude-code-api admin set-password --name admin
    """
    if context.args:  # seen by every user of the machine, kept by the shell, and not to be repeated
        raise typer.BadParameter(
            "a password is read from standard input, never from an argument. If this was one, it now stands in the "
            "shell's history: choose another."
        )
    settings, password = settings_for(data_dir), read_password()
    administrator = with_access(
        settings, "Setting the password", lambda access: access.administrators.set_password(name, password)
    )
    if as_json:
        print_json(administrator)
    else:
        print(f"The password of {administrator.name!r} ({administrator.role}) is set; older sessions have ended.")


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the administrators, and how old their passwords are.

    Example: claude-code-api admin list
    """
    records = with_access(settings_for(data_dir), "Reading", lambda access: access.administrators.list())
    if as_json:
        print_json(records)
    elif records:
        print_table(
            ["Name", "Role", "Password", "Made", "By", "Id"],
            [[each.name, each.role, age(each), shown(each.created_at), each.created_by, each.id] for each in records],
        )
        if any(each.is_reminded for each in records):
            print("Change old passwords with `claude-code-api admin set-password --name NAME`.", file=sys.stderr)
    else:
        print("There is none yet; `claude-code-api admin set-password` makes the owner.", file=sys.stderr)


def age(administrator: Administrator) -> str:
    """How old the password is, in a few words."""
    days = administrator.password_age.days
    old = "today" if days == 0 else f"{days} day{'s' * (days > 1)} ago"
    return f"set {old}" + (", change it" if administrator.is_reminded else "")
