"""`doctor`: whether the installation is sound, in plain words, and how to mend what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_code_api.cli.command import AsJson, DataDir, settings_for
from claude_code_api.cli.output import print_json, print_table, progress
from claude_code_api.errors import OperatorFailure
from claude_code_api.operations.printable import printable

if TYPE_CHECKING:
    from rich.text import Text

    from claude_code_api.cli.checks import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check the installation, the data directory, Claude Code and the credentials. Changes nothing.

    Example: claude-code-api doctor --data-dir ./data
    """
    settings = settings_for(data_dir)
    from claude_code_api.cli.checks import examine

    with progress("Checking"):
        findings = examine(settings)
    failed = [finding.name for finding in findings if finding.status == "fail"]
    if as_json:
        print_json({"ok": not failed, "checks": findings})
    else:
        print_table(["", "Check", "Finding"], [_row(finding) for finding in findings])
    if failed:
        raise OperatorFailure(f"{len(failed)} of {len(findings)} checks failed: {', '.join(dict.fromkeys(failed))}.")


def _row(finding: Finding) -> list[str | Text]:
    from rich.text import Text

    said = Text(printable(finding.message))
    if finding.remedy:
        said.append(f"\n→ {printable(finding.remedy)}", "italic")
    return [Text(finding.status, COLOURS[finding.status]), finding.name, said]
