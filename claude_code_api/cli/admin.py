"""`admin`: administrators, their roles, and their passwords, which come from standard input and are never shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from claude_code_api.cli import admin_sessions, admin_tokens
from claude_code_api.cli.command import AsJson, DataDir, Role, settings_for, with_access
from claude_code_api.cli.output import print_json, print_table, read_password, shown
from claude_code_api.cli.serve import setup_link

if TYPE_CHECKING:
    from claude_code_api.access import Access, Administrator, Invitation
    from claude_code_api.secret import Secret

app = typer.Typer(no_args_is_help=True)
app.add_typer(admin_tokens.app, name="tokens")
app.add_typer(admin_sessions.app, name="sessions")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose, in capitals or not.")]


@app.callback()
def _group() -> None:
    """Set administrators' passwords and roles, invite and remove them.

    Example: claude-code-api admin set-password
    """


@app.command(context_settings={"allow_extra_args": True})
def set_password(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Whose password.")] = "admin",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Set a password, read from standard input or asked for twice.

    It ends the administrator's sessions and turns a second factor off: so it is the way back after a lost one of
    either. Where there is no owner yet, this makes one.

    Example: claude-code-api admin set-password --name admin
    """
    if context.args:  # seen by every user of the machine, kept by the shell, and not to be repeated
        raise typer.BadParameter(
            "a password is read from standard input, never from an argument. If this was one, it now stands in the "
            "shell's history: choose another."
        )
    settings, password = settings_for(data_dir), read_password()

    async def change(access: Access) -> tuple[Administrator, bool]:
        before = await access.second_factors.administrators()
        administrator = await access.administrators.set_password(name, password)
        return administrator, administrator.id in before

    administrator, had_second = with_access(settings, "Setting the password", change)
    if as_json:
        print_json(administrator)
    else:
        print(f"The password of {administrator.name!r} ({administrator.role}) is set; older sessions have ended.")
        if had_second:
            print("The second factor is off too; it can be set up again after signing in.")


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the administrators, how old their passwords are, and who has a second factor.

    Example: claude-code-api admin list
    """

    async def read(access: Access) -> tuple[list[Administrator], set[str]]:
        return await access.administrators.list(), await access.second_factors.administrators()

    records, with_second = with_access(settings_for(data_dir), "Reading", read)
    if as_json:
        import msgspec

        print_json([{**msgspec.to_builtins(each), "second_factor": each.id in with_second} for each in records])
    elif records:
        print_table(
            ["Name", "Role", "Password", "Second factor", "Made", "By", "Id"],
            [
                [each.name, each.role, age(each), "on" if each.id in with_second else "off", shown(each.created_at),
                 each.created_by, each.id]
                for each in records
            ],
        )  # fmt: skip
        if any(each.is_reminded for each in records):
            print("Change old passwords with `claude-code-api admin set-password --name NAME`.", file=sys.stderr)
    else:
        print("There is none yet; `claude-code-api admin set-password` makes the owner.", file=sys.stderr)


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the new administrator signs in with.")],
    role: Annotated[Role, typer.Option(help="What the new administrator may do.")] = "viewer",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Invite another administrator: prints a link, good once and for a day, where a password is set.

    Example: claude-code-api admin add anna --role admin
    """

    async def invite(access: Access) -> tuple[Invitation, Secret]:
        return await access.invitations.invite(name, role)

    settings = settings_for(data_dir)
    invitation, token = with_access(settings, "Inviting", invite)
    link = setup_link(settings, f"https://{settings.host}:{settings.https_port}", token, page="invitation")
    if as_json:
        import msgspec

        print_json({**msgspec.to_builtins(invitation), "link": link})
        return
    print(
        f"{invitation.name!r} sets a password here and is {invitation.role} then. Once, until "
        f"{shown(invitation.expires_at)}; it cannot be shown again:",
        file=sys.stderr,
    )
    print(link)


@app.command()
def remove(name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Remove an administrator, with sessions and tokens. The last owner cannot be removed.

    Example: claude-code-api admin remove anna
    """
    gone = with_access(settings_for(data_dir), "Removing", lambda access: access.administrators.remove(name))
    if as_json:
        print_json(gone)
    else:
        print(f"Removed the administrator {gone.name!r} ({gone.role}).")


@app.command()
def set_role(
    name: Name,
    role: Annotated[Role, typer.Argument(help="owner, admin or viewer.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give an administrator another role; it holds at once. The last owner stays one.

    Example: claude-code-api admin set-role anna viewer
    """
    changed = with_access(settings_for(data_dir), "Changing", lambda access: access.administrators.set_role(name, role))
    if as_json:
        print_json(changed)
    else:
        print(f"{changed.name!r} is {changed.role} now.")


@app.command()
def reset_second_factor(name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Turn an administrator's second factor off, such as after a lost phone. The password stays.

    Example: claude-code-api admin reset-second-factor anna
    """

    async def reset(access: Access) -> tuple[Administrator, bool]:
        administrator = await access.administrators.get(name)
        return administrator, await access.second_factors.reset(administrator.name)

    administrator, was_on = with_access(settings_for(data_dir), "Changing", reset)
    if as_json:
        print_json({"name": administrator.name, "was_on": was_on})
    elif was_on:
        print(f"The second factor of {administrator.name!r} is off.")
    else:
        print(f"{administrator.name!r} has no second factor.")


def age(administrator: Administrator) -> str:
    """How old the password is, in a few words."""
    days = administrator.password_age.days
    old = "today" if days == 0 else f"{days} day{'s' * (days > 1)} ago"
    return f"set {old}" + (", change it" if administrator.is_reminded else "")
