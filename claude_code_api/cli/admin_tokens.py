"""`admin tokens`: tokens with which scripts use the admin API."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from claude_code_api.cli.command import AsJson, DataDir, Role, settings_for, with_access
from claude_code_api.cli.keys import duration
from claude_code_api.cli.output import print_json, print_table, shown

if TYPE_CHECKING:
    from claude_code_api.access import Access, AdminToken
    from claude_code_api.secret import Secret

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make, list and revoke the tokens with which scripts use the admin API.

    Example: claude-code-api admin tokens create deploy --role viewer
    """


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, such as the script's name.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = "viewer",
    expires: Annotated[
        timedelta, typer.Option(metavar="TIME", parser=duration, help="When it ends, 366d at most [90d].")
    ] = timedelta(days=90),
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it this once.

    Example: claude-code-api admin tokens create deploy --role admin --expires 30d
    """

    async def make(access: Access) -> tuple[AdminToken, Secret]:
        return await access.admin_tokens.create(name, role, expires_at=datetime.now(UTC) + expires)

    token, secret = with_access(settings_for(data_dir), "Making the token", make)
    if as_json:
        import msgspec

        print_json({**msgspec.to_builtins(token), "token": secret.reveal()})
        return
    print(f"This is the token {token.name!r} ({token.id}, {token.role}). It cannot be shown again:", file=sys.stderr)
    print(secret.reveal(), flush=True)
    print(f"A script sends it as `Authorization: Bearer …`. It ends {shown(token.expires_at)}.", file=sys.stderr)


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all tokens, without their text.

    Example: claude-code-api admin tokens list
    """
    tokens = with_access(settings_for(data_dir), "Reading", lambda access: access.admin_tokens.list())
    if as_json:
        print_json(tokens)
    elif tokens:
        print_table(
            ["Name", "Role", "Ends in", "State", "Made", "By", "Last used", "Id"],
            [
                [each.name, each.role, f"…{each.hint}", state(each), shown(each.created_at), each.created_by,
                 shown(each.last_used_at), each.id]
                for each in tokens
            ],
        )  # fmt: skip
    else:
        print("There is none; `claude-code-api admin tokens create NAME` makes one.", file=sys.stderr)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, as `list` shows it.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token; it is refused from now on.

    Example: claude-code-api admin tokens revoke token_9f86d081884c7d65
    """
    token = with_access(settings_for(data_dir), "Revoking", lambda access: access.admin_tokens.revoke(token_id))
    if as_json:
        print_json(token)
    else:
        print(f"Revoked the token {token.name!r} ({token.id}).")


def state(token: AdminToken) -> str:
    if token.revoked_at:
        return f"revoked {shown(token.revoked_at)}"
    return f"live until {shown(token.expires_at)}" if token.is_live else f"ended {shown(token.expires_at)}"
