"""`doctor`: whether the installation is sound, in plain words, and how to mend what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for
from claude_code_api.cli.output import print_json, print_table, progress
from claude_code_api.errors import OperatorFailure
from claude_code_api.operations.printable import printable

if TYPE_CHECKING:
    from rich.text import Text

    from claude_code_api.cli.checks import Finding
    from claude_code_api.cli.production import Item

COLOURS = {
    "ok": "green", "pass": "green", "warn": "yellow", "see": "yellow", "fail": "bold red",
}  # fmt: skip


def doctor(
    production: Annotated[
        bool, typer.Option("--production", help="Go through the checklists before deployment and for maintenance, too.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Check the installation, the data directory, Claude Code and the credentials. Changes nothing.

    Example: claude-code-api doctor --production
    """
    settings = settings_for(data_dir)
    from claude_code_api.cli.checks import examine

    with progress("Checking"):
        findings = examine(settings)
    items: list[Item] = []
    if production:
        from claude_code_api.cli.production import answers

        with progress("Going through the checklists"):
            items = answers(settings)
    every: list[Finding | Item] = [*findings, *items]
    failed = [each.name for each in every if each.status == "fail"]
    if as_json:
        print_json({"ok": not failed, "checks": findings} | ({"production": items} if production else {}))
    else:
        _print(findings, items)
    if failed:
        raise OperatorFailure(f"{len(failed)} of {len(every)} checks failed: {', '.join(dict.fromkeys(failed))}.")


def _print(findings: list[Finding], items: list[Item]) -> None:
    print_table(["", "Check", "Finding"], [_row(finding) for finding in findings])
    for checklist in dict.fromkeys(item.checklist for item in items):
        print()
        print_table(
            ["", checklist.capitalize(), "Answer"], [_row(item) for item in items if item.checklist == checklist]
        )


def _row(found: Finding | Item) -> list[str | Text]:
    from rich.text import Text

    said = Text(printable(found.message))
    if found.remedy:
        said.append(f"\n→ {printable(found.remedy)}", "italic")
    return [Text(found.status, COLOURS[found.status]), found.name, said]
