"""Figures of a run: medians, 95th percentiles and ratios, and the machine that they were taken on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from statistics import median, quantiles

import claude_agent_sdk._cli_version
import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One thing measured against a baseline, both in seconds, taken in turns. `goal` is the most the ratio may be."""

    name: str
    baseline_name: str
    seconds: tuple[float, ...]
    baseline: tuple[float, ...]
    goal: float

    @property
    def ratio(self) -> float:
        """Of the medians; smaller is faster."""
        return median(self.seconds) / median(self.baseline)

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal


def spread(seconds: tuple[float, ...]) -> str:
    """Median and 95th percentile in milliseconds."""
    return f"{1000 * median(seconds):.0f} ms (95 %: {1000 * quantiles(seconds, n=20)[-1]:.0f} ms)"


def machine() -> str:
    """The machine and the versions, for whoever compares."""
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    return (
        f"{cores} cores ({processor}), {memory:.0f} GiB, {platform.system()}; Python {platform.python_version()}, "
        f"claude-agent-sdk {claude_agent_sdk.__version__} (Claude Code {claude_agent_sdk._cli_version.__cli_version__})"
    )
