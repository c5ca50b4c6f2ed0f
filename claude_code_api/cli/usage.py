"""`usage`: what was used, by key, model and day."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from claude_code_api.cli.command import AsJson, DataDir, settings_for, with_access
from claude_code_api.cli.keys import duration
from claude_code_api.cli.output import print_json, print_table

if TYPE_CHECKING:
    from claude_code_api.access import Access
    from claude_code_api.usage.report import Figures, Line

app = typer.Typer(invoke_without_command=True)

AsCsv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]
NOTE = "Cost is at list prices. For OAuth tokens it is what the API would have cost."


@app.callback()
def usage(
    context: typer.Context,
    by: Annotated[Literal["key", "model", "day"], typer.Option(help="What each line is about.")] = "key",
    since: Annotated[
        timedelta, typer.Option(metavar="TIME", parser=duration, help="How far back, such as 7d.")
    ] = "30d",  # type: ignore[assignment]
    key: Annotated[str | None, typer.Option(metavar="K", help="Only this key, by id or name.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show requests, tokens and cost by key, model or day.

    Example: claude-code-api usage --by model --since 7d
    """
    if context.invoked_subcommand:
        return
    settings = settings_for(data_dir)
    begin = datetime.now(UTC) - since

    async def read(access: Access) -> list[Line]:
        from claude_code_api.usage.recorder import fold_left_over
        from claude_code_api.usage.report import report

        await fold_left_over(settings, access.database)
        return await report(access.database, by, begin, (await access.keys.get(key)).id if key else None)

    lines = with_access(settings, "Adding up", read)
    from claude_code_api.usage.report import Figures

    total = Figures.sum(line.figures for line in lines)
    if as_json:
        rows = [{by: line.id, "name": line.name, **_told(line.figures)} for line in lines]
        print_json({"by": by, "since": begin.isoformat(), "rows": rows, "total": _told(total)})
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow([by, "name", *_told(total)])
        writer.writerows([line.id, line.name, *_told(line.figures).values()] for line in lines)
    elif lines:
        _show(by, lines, total)
    else:
        print("Nothing was used in that time.", file=sys.stderr)


def _told(figures: Figures) -> dict[str, Any]:
    return {
        "requests": figures.requests,
        "failed_requests": figures.failed,
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "cache_read_tokens": figures.cache_read_tokens,
        "cache_write_tokens": figures.cache_write_tokens,
        "reasoning_tokens": figures.reasoning_tokens,
        "cost_usd": figures.cost_usd,
        "unpriced_requests": figures.unpriced,
        "first_token_ms_p50": figures.first_token_ms(0.5),
        "first_token_ms_p95": figures.first_token_ms(0.95),
    }


def _show(by: str, lines: list[Line], total: Figures) -> None:
    from rich.text import Text

    def cells(name: str, figures: Figures, style: str = "") -> list[str | Text]:
        numbers = [
            f"{figures.requests:,}",
            f"{figures.failed:,}",
            f"{figures.input_tokens:,}",
            f"{figures.cache_read_tokens:,}",
            f"{figures.cache_write_tokens:,}",
            f"{figures.output_tokens:,}",
            f"${figures.cost_usd:,.4f}" + ("+" if figures.unpriced else ""),
            _seconds(figures.first_token_ms(0.5)),
            _seconds(figures.first_token_ms(0.95)),
        ]
        return [Text(name, style), *(Text(number, style, justify="right") for number in numbers)]

    print_table(
        [by.capitalize(), "Requests", "Failed", "In", "Cache read", "Cache written", "Out", "Cost", "First token",
         "95 % within"],
        [*(cells(line.name or "(none answered)", line.figures) for line in lines), cells("Total", total, "bold")],
    )  # fmt: skip
    print(NOTE, file=sys.stderr)
    if total.unpriced:
        print(f"+ The price of {total.unpriced:,} requests is not known (docs/usage.md).", file=sys.stderr)


def _seconds(ms: int | None) -> str:
    return "-" if ms is None else f"{ms / 1000:.2f} s"
