"""The command line: `claude-code-api COMMAND`.

Exit status 0 done, 1 failed with one line on standard error, 2 wrong usage or no command. Results go to standard
output, messages to standard error. Each command loads what it needs when it runs, so that help comes at once.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from claude_code_api import __version__
from claude_code_api.cli import admin, audit, credentials, keys, usage, vault
from claude_code_api.cli.backup import backup, restore
from claude_code_api.cli.demo import demo
from claude_code_api.cli.doctor import doctor
from claude_code_api.cli.import_ import import_
from claude_code_api.cli.serve import serve
from claude_code_api.errors import Failure
from claude_code_api.operations.printable import printable
from claude_code_api.operations.redaction import redact

NAME = "claude-code-api"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(serve)
app.add_typer(credentials.app, name="credentials")
app.add_typer(keys.app, name="keys")
app.add_typer(admin.app, name="admin")
app.add_typer(usage.app, name="usage")
app.add_typer(vault.app, name="vault")
app.add_typer(audit.app, name="audit")
app.command()(backup)
app.command()(restore)
app.command("import")(import_)
app.command()(doctor)
app.command()(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An OpenAI-compatible gateway to the real Claude Code, with keys of its own.

    Example: claude-code-api serve
    """


def main() -> NoReturn:
    """The console script. Ends the process, whatever happens, with the status and the line that users rely on."""
    try:
        status = get_command(app).main(prog_name=NAME, standalone_mode=False)
    except typer.TyperException as error:
        _say_usage(error)
        sys.exit(error.exit_code)
    except typer.Abort:
        _fail("Aborted.")
    except Failure as failure:
        _fail(failure.message)
    except UnicodeEncodeError as error:
        if not "\ud800" <= error.object[error.start] <= "\udfff":  # as Python stands for a byte that is no text
            _fail_unexpectedly(error)
        _fail("The path of the data directory, or another one given here, is not UTF-8.")
    except Exception as error:  # noqa: BLE001 - the last one there is
        _fail_unexpectedly(error)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> NoReturn:
    print(printable(redact(message)), file=sys.stderr)
    sys.exit(1)


def _fail_unexpectedly(error: Exception) -> NoReturn:
    """One line, since nobody asked for a traceback; redacted as in a log."""
    from claude_code_api.operations import logs
    from claude_code_api.settings import load

    debugging = False
    with suppress(Failure):
        debugging = load().log_level == "debug"
    if debugging:
        logs.configure("debug", "console", sys.stderr)
        logs.get_logger(__name__).debug("unexpected failure", exc_info=error)
    advice = "" if debugging else " (LOG_LEVEL=debug shows where)"
    _fail(f"Unexpected failure: {type(error).__name__}: {error}{advice}")


def _say_usage(error: typer.TyperException) -> None:
    """What is wrong, and how it goes. It can quote an argument, and that can be a token: redacted."""
    message = error.format_message()
    if not message:
        return  # there was no command, and the help has been printed
    context = getattr(error, "ctx", None)
    if context is not None:
        print(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", file=sys.stderr)
    print(f"Error: {printable(redact(message))}", file=sys.stderr)
