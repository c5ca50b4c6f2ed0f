"""`keys`: the API keys that programs use instead of a token."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.output import print_json, print_table, shown

if TYPE_CHECKING:
    from claude_code_api.access import Access, ApiKey
    from claude_code_api.secret import Secret

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make, list and revoke the API keys that programs use.

    Example: claude-code-api keys create my-program --credential main
    """


UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST_DAYS = 36_500
"""A hundred years; dates end with the year 9999."""


def duration(text: str | timedelta) -> timedelta:
    """`30m`, `24h`, `7d`, … as a time; BadParameter for anything else. A default comes here too, as it is."""
    if isinstance(text, timedelta):
        return text
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    time = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else timedelta.max
    if time > timedelta(days=LONGEST_DAYS):
        raise typer.BadParameter(
            f"a time is a number and s, m, h or d, such as 30m or 7d, and {LONGEST_DAYS}d at the longest"
        )
    return time


Id = Annotated[str, typer.Argument(metavar="ID", help="Id or name of the key.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, such as the program's name.")],
    credential: Annotated[str, typer.Option(metavar="C", help="Name or id of the credential that it stands on.")],
    model: Annotated[
        list[str] | None, typer.Option(metavar="M", help="A model that it may use (repeatable); by default every one.")
    ] = None,
    rate_limit: Annotated[
        str | None, typer.Option(metavar="LIMIT", help="Such as 10/minute, or several joined by `;`.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(metavar="N", help="Requests that it may have at once.", min=1, max=100_000)
    ] = None,
    expires: Annotated[
        timedelta | None, typer.Option(metavar="TIME", parser=duration, help="When it ends, such as 30d.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it this once.

    Example: claude-code-api keys create my-program --credential main --rate-limit 10/minute --expires 30d
    """

    async def make(access: Access) -> tuple[ApiKey, Secret]:
        ends = datetime.now(UTC) + expires if expires is not None else None
        return await access.keys.create(
            name,
            credential,
            models=model or (),
            rate_limit=rate_limit,
            max_concurrent=max_concurrent,
            expires_at=ends,
        )

    key, secret = with_access(settings_for(data_dir), "Making the key", make)
    if as_json:
        print_json({**_described(key), "key": secret.reveal()})
        return
    print(f"This is the key {key.name!r} ({key.id}). It cannot be shown again:", file=sys.stderr)
    print(secret.reveal(), flush=True)
    print("A program takes it as OPENAI_API_KEY, and OPENAI_BASE_URL as `serve` prints it.", file=sys.stderr)


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all keys, without their text.

    Example: claude-code-api keys list
    """
    keys, names = with_access(settings_for(data_dir), "Reading", _keys_and_credentials)
    unused = [key for key in keys if key.is_unused]
    if as_json:
        print_json([_described(key) for key in keys])
    elif keys:
        print_table(
            ["Name", "Ends in", "State", "Credential", "Limit", "Made", "Last used", "Id"],
            [
                [key.name, f"…{key.hint}", state(key), names.get(key.credential_id, key.credential_id),
                 key.rate_limit or "-", shown(key.created_at), shown(key.last_used_at), key.id]
                for key in keys
            ],
        )  # fmt: skip
        if unused:
            print(
                f"{len(unused)} of them {'has' if len(unused) == 1 else 'have'} not been used for 90 days. "
                "`claude-code-api keys revoke ID` revokes what nobody needs.",
                file=sys.stderr,
            )
    else:
        print("There is no key; `claude-code-api keys create NAME --credential C` makes one.", file=sys.stderr)


@app.command()
def show(id_or_name: Id, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one key, without its text.

    Example: claude-code-api keys show my-program
    """

    async def find(access: Access) -> tuple[ApiKey, dict[str, str]]:
        return await access.keys.get(id_or_name), (await _keys_and_credentials(access))[1]

    key, names = with_access(settings_for(data_dir), "Reading", find)
    if as_json:
        print_json(_described(key))
        return
    print_table(
        [key.name, ""],
        [
            ["id", key.id],
            ["ends in", f"…{key.hint}"],
            ["state", state(key)],
            ["credential", names.get(key.credential_id, key.credential_id)],
            ["models", ", ".join(key.models) or "every one"],
            ["limit", key.rate_limit or "-"],
            ["at once", str(key.max_concurrent or "-")],
            ["made", f"{shown(key.created_at)}, {key.created_by}"],
            ["last used", shown(key.last_used_at)],
            ["ends", shown(key.expires_at)],
        ],
    )


@app.command()
def change(
    id_or_name: Id,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Another name.")] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="M", help="What it may use now (repeatable).")] = None,
    every_model: Annotated[bool, typer.Option("--every-model", help="It may use every model.")] = False,
    rate_limit: Annotated[str | None, typer.Option(metavar="LIMIT", help="Such as 10/minute, or `off`.")] = None,
    default_rate_limit: Annotated[
        bool, typer.Option("--default-rate-limit", help="Its own limit goes; that of the settings holds.")
    ] = False,
    max_concurrent: Annotated[
        int | None, typer.Option(metavar="N", help="Requests that it may have at once.", min=1, max=100_000)
    ] = None,
    default_concurrent: Annotated[
        bool, typer.Option("--default-concurrent", help="The same of requests at once.")
    ] = False,
    expires: Annotated[
        timedelta | None, typer.Option(metavar="TIME", parser=duration, help="When it ends, counted from now.")
    ] = None,
    never_expires: Annotated[bool, typer.Option("--never-expires", help="It ends only when it is revoked.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change the name, models, limits or end of a key; what is not given stays.

    Example: claude-code-api keys change my-program --rate-limit 100/minute --never-expires
    """
    from claude_code_api.access import KeyChanges

    ends = datetime.now(UTC) + expires if expires is not None else None
    given = {
        "name": _changed("name", name, False),
        "models": _changed("model", tuple(model) if model else None, every_model, ()),
        "rate_limit": _changed("rate-limit", rate_limit, default_rate_limit),
        "max_concurrent": _changed("max-concurrent", max_concurrent, default_concurrent),
        "expires_at": _changed("expires", ends, never_expires),
    }
    key = with_access(
        settings_for(data_dir), "Changing the key", lambda access: access.keys.update(id_or_name, KeyChanges(**given))
    )
    if as_json:
        print_json(_described(key))
    else:
        print(f"The key {key.name!r} ({key.id}) is now as it was asked for.")


def _changed(option: str, value: Any, reset: bool, default: Any = None) -> Any:
    """What is given for one field; UNSET where nothing is."""
    import msgspec

    if value is not None and reset:
        raise typer.BadParameter(f"--{option} and the option that takes it away exclude each other")
    return default if reset else msgspec.UNSET if value is None else value


@app.command()
def revoke(id_or_name: Id, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Revoke a key; it is refused from now on.

    Example: claude-code-api keys revoke my-program
    """
    key = with_access(settings_for(data_dir), "Revoking", lambda access: access.keys.revoke(id_or_name))
    if as_json:
        print_json(_described(key))
    else:
        print(f"Revoked the key {key.name!r} ({key.id}).")


@app.command()
def rotate(
    id_or_name: Id,
    grace: Annotated[
        timedelta, typer.Option(metavar="TIME", parser=duration, help="How long the old key is good beside it [24h].")
    ] = timedelta(hours=24),
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key in place of one, with the same name and limits, and print it this once.

    Example: claude-code-api keys rotate my-program --grace 7d
    """
    key, secret, old = with_access(
        settings_for(data_dir), "Rotating", lambda access: access.keys.rotate(id_or_name, grace)
    )
    if as_json:
        import msgspec

        print_json({**msgspec.to_builtins(key), "key": secret.reveal(), "replaced": msgspec.to_builtins(old)})
        return
    until = f"is good until {shown(old.expires_at)}" if grace else "is refused from now on"
    print(f"This is the new key {key.name!r} ({key.id}). It cannot be shown again:", file=sys.stderr)
    print(secret.reveal(), flush=True)
    print(f"The old one ({old.id}, …{old.hint}) {until}.", file=sys.stderr)


async def _keys_and_credentials(access: Access) -> tuple[list[ApiKey], dict[str, str]]:
    """All keys, and the names of credentials by id."""
    return await access.keys.list(), {each.id: each.name for each in await access.credentials.list()}


def _described(key: ApiKey) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(key), "unused": key.is_unused}


def state(key: ApiKey) -> str:
    if key.revoked_at:
        return f"revoked {shown(key.revoked_at)}"
    if not key.is_live:
        return f"ended {shown(key.expires_at)}"
    lives = f"live until {shown(key.expires_at)}" if key.expires_at else "live"
    return f"{lives}, unused for 90 days" if key.is_unused else lives
