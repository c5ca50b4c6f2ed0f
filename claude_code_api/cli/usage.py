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
    from claude_code_api.usage.figures import Figures
    from claude_code_api.usage.report import Line

app = typer.Typer(invoke_without_command=True)

AsCsv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]
NOTE = "Cost is at list prices. For OAuth tokens it is what the API would have cost."


@app.callback()
def usage(
    context: typer.Context,
    by: Annotated[Literal["key", "model", "credential", "day"], typer.Option(help="What each line is about.")] = "key",
    since: Annotated[
        timedelta, typer.Option(metavar="TIME", parser=duration, help="How far back, such as 7d.")
    ] = "30d",  # type: ignore[assignment]
    key: Annotated[str | None, typer.Option(metavar="K", help="Only this key, by id or name.")] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="Only this model.")] = None,
    credential: Annotated[str | None, typer.Option(metavar="C", help="Only this credential, by id or name.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show requests, tokens and cost by key, model, credential or day.

    Example: claude-code-api usage --by model --since 7d
    """
    if context.invoked_subcommand:
        return
    settings = settings_for(data_dir)
    begin = datetime.now(UTC) - since

    async def read(access: Access) -> list[Line]:
        from claude_code_api.usage.recorder import fold_left_over
        from claude_code_api.usage.report import report
        from claude_code_api.usage.sources import Filter

        await fold_left_over(settings, access.database)
        asked = Filter(
            since=begin,
            key_id=(await access.keys.get(key)).id if key else None,
            credential_id=(await access.credentials.get(credential)).id if credential else None,
            model=model,
        )
        return await report(access.database, by, asked)

    lines = with_access(settings, "Adding up", read)
    from claude_code_api.usage.figures import Figures, told

    total = Figures.sum(line.figures for line in lines)
    if as_json:
        rows = [{by: line.id, "name": line.name, **told(line.figures)} for line in lines]
        print_json({"by": by, "since": begin.isoformat(), "rows": rows, "total": told(total)})
    elif as_csv:
        from claude_code_api.usage.report import as_csv as lines_of_csv

        sys.stdout.writelines(lines_of_csv(by, lines))
    elif lines:
        _show(by, lines, total)
    else:
        print("Nothing was used in that time.", file=sys.stderr)


Key = Annotated[str, typer.Option("--key", metavar="K", help="Id or name of the key.")]


@app.command()
def export(key: Key, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print all that is recorded of a key: its requests as comma-separated values, or everything as JSON.

    Example: claude-code-api usage export --key my-program
    """
    settings = settings_for(data_dir)

    async def write(access: Access) -> None:
        from claude_code_api.storage.tables import usage_hours, usage_last_uses, usage_records
        from claude_code_api.usage.export import rows_of
        from claude_code_api.usage.recorder import settle

        found = await access.keys.get(key)
        await settle(settings, access.database)
        if not as_json:
            writer = csv.writer(sys.stdout)
            names = [column.name for column in usage_records.c if column.name != "cost"]
            writer.writerow([*names, "cost_usd"])
            async for row in rows_of(access.database, usage_records, found.id):
                writer.writerow(_plain(row).values())
            return
        print(f'{{"key": {_json(found)}', end="")
        for name, table in (("requests", usage_records), ("hours", usage_hours), ("last_uses", usage_last_uses)):
            print(f',\n"{name}": [', end="")
            between = ""
            async for row in rows_of(access.database, table, found.id):
                print(f"{between}\n{_json(row)}", end="")
                between = ","
            print("]", end="")
        print("}")

    with_access(settings, "Reading", write)


@app.command()
def erase(key: Key, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Erase all that is recorded of a key's requests; the key itself stays.

    Example: claude-code-api usage erase --key my-program
    """
    settings = settings_for(data_dir)

    async def work(access: Access) -> tuple[str, int]:
        from claude_code_api.access.names import COMMAND_LINE
        from claude_code_api.usage.erasure import erase as erase_all
        from claude_code_api.usage.recorder import settle

        found = await access.keys.get(key)
        await settle(settings, access.database)
        return found.id, await erase_all(access.database, access.audit, found.id, found.name, by=COMMAND_LINE)

    key_id, erased = with_access(settings, "Erasing", work)
    if as_json:
        print_json({"key": key_id, "erased_requests": erased})
    else:
        print(f"Erased what was recorded of {erased:,} requests of the key {key_id}.")


@app.command()
def rebuild(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Add up the sums by the hour anew, from the records that are still there.

    Example: claude-code-api usage rebuild
    """
    settings = settings_for(data_dir)

    async def work(access: Access) -> int:
        from claude_code_api.usage.fold import rebuild_hours
        from claude_code_api.usage.recorder import fold_left_over
        from claude_code_api.usage.retention import records_from

        await fold_left_over(settings, access.database)
        return await rebuild_hours(access.database, records_from(settings))

    hours = with_access(settings, "Adding up", work)
    if as_json:
        print_json({"hours": hours})
    else:
        print(f"Added up {hours:,} hours anew.")


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _json(value: Any) -> str:
    import json

    return json.dumps(_plain(value))


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
