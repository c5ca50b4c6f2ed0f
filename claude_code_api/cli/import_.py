"""`import`: keys and tokens from the JSON key file of the security policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.output import print_json, print_table
from claude_code_api.errors import OperatorFailure


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The key file.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take over keys and their tokens from a key file; programs go on with the keys that they have.

    The file is {"sk-…": {"oauthToken", "keyName", "createdAt", "lastUsed"}}. All of it is taken, or nothing.

    Example: claude-code-api import keys.json
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise OperatorFailure(f"The key file {file} cannot be read: {error.strerror}.") from None
    imported = with_access(settings_for(data_dir), "Importing", lambda access: access.import_keys(content))
    if as_json:
        print_json(imported)
        return
    if imported.keys:
        rows = [[key.name, f"…{key.hint}", key.id, key.credential_id] for key in imported.keys]
        print_table(["Name", "Ends in", "Id", "Credential"], rows)
    print(
        f"{len(imported.keys)} keys were taken over, on {imported.credentials} new credentials; "
        f"{imported.known} were here already. Remove the file: it holds tokens in plain text."
    )
