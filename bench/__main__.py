"""Runs the benchmark and prints its figures; `--write` puts them into docs/performance.md, with a picture."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
import uvloop

from bench import cost, crowd, first_token, live, overhead
from bench.figures import Figure, machine
from bench.pictures import picture

ROUNDS = 20
DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
PICTURE = DOCS / "images" / "performance.svg"
MARKS = ("<!-- figures: begin -->", "<!-- figures: end -->")

MEASURES: dict[str, Callable[[int], Awaitable[Figure]]] = {
    "further-turn": live.further_turn,
    "one-shots": live.one_shots,
    "unknown-prompt": first_token.unknown_prompt,
    "history": first_token.history,
    "processor-time": cost.processor_time,
    "single-tokens": cost.processor_time_of_single_tokens,
    "memory": cost.memory,
    "few-keys": overhead.with_few_keys,
    "many-keys": overhead.with_many_keys,
    "fairness": crowd.fairness,
    "longest-wait": crowd.longest_wait,
}


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is measured")
    arguments.add_argument("--only", choices=MEASURES, action="append", help="measure this alone; may be repeated")
    arguments.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    given = arguments.parse_args()
    if given.write and given.only:
        arguments.error("--write needs every figure")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    figures = [uvloop.run(_measured(name, given.rounds)) for name in given.only or MEASURES]
    text = report(figures, given.rounds)
    print(text)
    if given.write:
        before, _, rest = PAGE.read_text().partition(MARKS[0])
        PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")
        PICTURE.write_text(picture(figures, "What the gateway costs beside Claude Code alone"))
    return 0 if all(figure.met for figure in figures) else 1


async def _measured(name: str, rounds: int) -> Figure:
    print(f"Measuring {name} ...", file=sys.stderr)
    return await MEASURES[name](rounds)


def report(figures: Sequence[Figure], rounds: int) -> str:
    """The figures as a table in Markdown, which reads well on a terminal too."""
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine()}; {rounds} rounds, in turns.",
        "Medians, and in brackets the 95th percentiles.",
        "",
        "| measured | median | against | median | ratio | goal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for figure in figures:
        other = figure.baseline
        against = f"{other.name} | {other.spread}" if other else "|"
        lines.append(f"| {figure.measured.name} | {figure.measured.spread} | {against} | {figure.verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
