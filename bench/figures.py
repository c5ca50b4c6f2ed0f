"""Figures of a run: medians, 95th percentiles and ratios, and the machine that they were taken on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from statistics import median, quantiles
from typing import Literal

import claude_agent_sdk._cli_version
import msgspec


class Series(msgspec.Struct, frozen=True):
    """The same thing measured several times, in seconds (shown as ms) or in MB."""

    name: str
    values: tuple[float, ...]
    unit: Literal["ms", "MB"] = "ms"

    @property
    def median(self) -> float:
        return median(self.values)

    def shown(self, value: float) -> str:
        """`0.24 ms`, `9.4 ms`, `94 ms`."""
        number = value * 1000 if self.unit == "ms" else value
        return f"{number:.{0 if number >= 20 else 1 if number >= 1 else 2}f} {self.unit}"

    @property
    def spread(self) -> str:
        """Median and 95th percentile."""
        if len(self.values) == 1:
            return self.shown(self.median)
        return f"{self.shown(self.median)} ({self.shown(quantiles(self.values, n=20, method='inclusive')[-1])})"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One thing measured, against a baseline where there is one, both taken in turns.

    `goal` is the most that the ratio of the medians may be; without a baseline, the most that the median may be.
    """

    measured: Series
    baseline: Series | None = None
    goal: float

    @property
    def value(self) -> float:
        """What the goal bounds."""
        return self.measured.median / (self.baseline.median if self.baseline else 1)

    @property
    def met(self) -> bool:
        return self.value <= self.goal

    @property
    def verdict(self) -> str:
        """`**0.29** | ≤ 0.45`: a cell each."""
        show = "{:.3g}".format if self.baseline else self.measured.shown
        return f"**{show(self.value)}** | ≤ {show(self.goal)}{'' if self.met else ', missed'}"


def machine() -> str:
    """The machine, how busy it is, and the versions, for whoever compares."""
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    return (
        f"{cores} cores ({processor}), {memory:.0f} GiB, {platform.system()}, load {os.getloadavg()[1]:.0f}; "
        f"Python {platform.python_version()}, "
        f"claude-agent-sdk {claude_agent_sdk.__version__} (Claude Code {claude_agent_sdk._cli_version.__cli_version__})"
    )
