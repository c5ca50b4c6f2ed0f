"""Runs the benchmark and prints its figures; `--write` puts them into docs/performance.md."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

import structlog
import uvloop

from bench import first_token, live
from bench.figures import Figure, machine, spread

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
MARKS = ("<!-- figures: begin -->", "<!-- figures: end -->")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=first_token.ROUNDS, help="how often each is measured")
    arguments.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    given = arguments.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    measured = (first_token.measure, live.further_turn, live.one_shots)
    figures = [uvloop.run(measure(given.rounds)) for measure in measured]
    text = report(figures, given.rounds)
    print(text)
    if given.write:
        before, _, rest = PAGE.read_text().partition(MARKS[0])
        PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")
    return 0 if all(figure.met for figure in figures) else 1


def report(figures: list[Figure], rounds: int) -> str:
    """The figures as a table in Markdown, which reads well on a terminal too."""
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine()}; {rounds} rounds, in turns.",
        "",
        "| measured | median | against | median | ratio | goal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {figure.name} | {spread(figure.seconds)} | {figure.baseline_name} | {spread(figure.baseline)} "
        f"| **{figure.ratio:.2f}** | ≤ {figure.goal}{'' if figure.met else ', missed'} |"
        for figure in figures
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
