"""`vault`: the master key that everything stored is encrypted under."""

from __future__ import annotations

import sys

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.output import print_json

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Change the master key that everything stored is encrypted under.

    Example: claude-code-api vault rotate
    """


@app.command()
def rotate(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Encrypt everything under a new master key, also while the gateway runs. Run again, it goes on where it stopped.

    Example: claude-code-api vault rotate
    """
    settings = settings_for(data_dir)
    done = with_access(settings, "Encrypting under a new master key", lambda access: access.rotate_master_key())
    if as_json:
        print_json(done)
        return
    print(f"{done.records} records are encrypted under the master key {done.master_key_id} now.")
    where = "" if settings.master_key or settings.master_key_command else f" in {settings.master_key_path}"
    print(f"Older keys stay{where} as long as backups need them: {', '.join(done.older_ids)}.", file=sys.stderr)
    print("Keep a copy of the new one apart.", file=sys.stderr)
