"""`credentials`: tokens, stored encrypted; they come from standard input and are never shown again."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.output import print_json, print_table, read_token, shown
from claude_code_api.operations.redaction import redact

if TYPE_CHECKING:
    from claude_code_api.access import Access, CredentialRecord
    from claude_code_api.credential import CredentialKind

app = typer.Typer(no_args_is_help=True)

MOST_NAMES = 3
"""Keys that are named beside a credential."""
KINDS = {"oauth": "OAuth token", "api_key": "Anthropic API key"}
TERMS = {
    "oauth": (
        "This OAuth token belongs to a Claude subscription. Whether one may be used with software other than\n"
        "Anthropic's own is for Anthropic's current terms to say:\n"
        "  https://www.anthropic.com/legal/consumer-terms\n"
        "  https://code.claude.com/docs/en/legal-and-compliance\n"
        "It is yours alone, and never for sharing. API keys are the way for anything else."
    ),
    "api_key": (
        "Anthropic's commercial terms apply to this API key, and what it is used for is billed by the token:\n"
        "  https://www.anthropic.com/legal/commercial-terms"
    ),
}


@app.callback()
def _group() -> None:
    """Store the tokens that stand behind API keys.

    Example: claude-code-api credentials add main
    """


def _no_token(name: str) -> str:
    """A token in an argument is seen by every user of the machine, and kept by the shell."""
    if redact(name) != name:
        raise typer.BadParameter(
            "this looks like a token. A token is read from standard input; this one now stands in the shell's "
            "history, so replace it by a new one."
        )
    return name


Name = Annotated[str, typer.Argument(metavar="NAME", callback=_no_token, help="Name or id of the credential.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", callback=_no_token, help="What to call it.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Store a token, read from standard input or asked for.

    Example: claude-code-api credentials add main < token.txt
    """
    settings, token = settings_for(data_dir), read_token()
    record = with_access(settings, "Storing the token", lambda access: access.credentials.add(name, token))
    print(TERMS[record.kind], file=sys.stderr)
    _tell(f"Stored the {_described(record)}.", record, as_json)


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List what is stored, without the tokens.

    Example: claude-code-api credentials list
    """

    async def read(access: Access) -> tuple[list[CredentialRecord], dict[str, list[str]]]:
        users: dict[str, list[str]] = {}
        for key in await access.keys.list():
            if key.is_live:
                users.setdefault(key.credential_id, []).append(key.name)
        return await access.credentials.list(), users

    records, users = with_access(settings_for(data_dir), "Reading", read)
    if as_json:
        import msgspec

        print_json([{**msgspec.to_builtins(each), "keys": users.get(each.id, [])} for each in records])
    elif records:
        print_table(
            ["Name", "Kind", "Ends in", "Stored", "State", "Last used", "Keys", "Id"],
            [
                [each.name, KINDS[each.kind], f"…{each.hint}", shown(each.replaced_at or each.created_at),
                 state(each), shown(each.last_used_at), _listed(users.get(each.id, [])), each.id]
                for each in records
            ],
        )  # fmt: skip
    else:
        print("No credential is stored; `claude-code-api credentials add NAME` stores one.", file=sys.stderr)


@app.command("test")
def ask(name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Ask Anthropic, through Claude Code, whether it takes the token.

    Example: claude-code-api credentials test main
    """
    settings = settings_for(data_dir)
    from claude_code_api.gateway.probing import test_credential

    record = with_access(settings, "Asking Anthropic", lambda access: test_credential(settings, access, name))
    _tell(f"Anthropic takes the {_described(record)}.", record, as_json)


@app.command()
def replace(name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Put another token in its place, which is used at once.

    Example: claude-code-api credentials replace main < token.txt
    """
    settings, token = settings_for(data_dir), read_token()
    record = with_access(settings, "Storing the token", lambda access: access.credentials.replace(name, token))
    _tell(f"Replaced; this is now the {_described(record)}.", record, as_json)


@app.command()
def rename(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="What to call it from now on.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give a credential another name; its keys stay with it.

    Example: claude-code-api credentials rename main annas-subscription
    """
    record = with_access(settings_for(data_dir), "Renaming", lambda access: access.credentials.rename(name, new))
    _tell(f"This is now the {_described(record)}.", record, as_json)


@app.command()
def remove(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Revoke the API keys that stand on it, too.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Erase a token; refused while API keys stand on it.

    Example: claude-code-api credentials remove main --force
    """
    record = with_access(
        settings_for(data_dir), "Erasing the token", lambda access: access.credentials.remove(name, force=force)
    )
    _tell(f"Removed the {_described(record)}.", record, as_json)


def state(record: CredentialRecord) -> str:
    """What Anthropic last said of it, in a few words."""
    if record.refused_at:
        return f"refused since {shown(record.refused_at)}"
    limit = record.limit
    if limit and not limit.status.startswith("allowed") and (limit.resets_at or 0) > time.time():
        return f"limit reached, until {shown(datetime.fromtimestamp(limit.resets_at or 0, UTC))}"
    return "ready"


def _listed(names: list[str]) -> str:
    """The first few, and how many more."""
    first, more = names[:MOST_NAMES], len(names) - MOST_NAMES
    return ", ".join(first) + (f" and {more} more" if more > 0 else "") or "-"


def _described(record: CredentialRecord) -> str:
    kind: CredentialKind = record.kind
    return f"{KINDS[kind]} …{record.hint} as {record.name!r}"


def _tell(sentence: str, record: CredentialRecord, as_json: bool) -> None:
    if as_json:
        print_json(record)
    else:
        print(sentence)
