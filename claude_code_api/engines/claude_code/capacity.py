"""How many processes the machine bears, and how much memory one of them holds.

In a container it is the container's share that counts: the limits of its control groups (cgroup, versions 1 and 2).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROCESS_MEMORY = 200 * 1024 * 1024  # bytes; measured: 115 MB in use, with room for a long history
PROCESSES_A_CORE = 8
MOST = 32
ROOT = Path("/")
PAGE = os.sysconf("SC_PAGE_SIZE")


def affordable(root: Path = ROOT) -> int:
    """Half of the memory, eight a core, at least 2 and at most 32."""
    return max(2, min(MOST, memory(root) // 2 // PROCESS_MEMORY, int(PROCESSES_A_CORE * cores(root))))


def memory(root: Path = ROOT) -> int:
    """Bytes that this process and its children may use."""
    limits = [_number(file) for file in _files(root, "memory", "memory.max", "memory.limit_in_bytes")]
    return min([PAGE * os.sysconf("SC_PHYS_PAGES"), *(limit for limit in limits if limit is not None)])


def cores(root: Path = ROOT) -> float:
    """Cores that they may keep busy; a fraction where a quota says so."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(usable), *_quotas(root)])


def private_memory(pid: int) -> int:
    """Bytes that a process has for itself, without the program's text that all share; 0 where nothing tells.

    Read from `statm`, whose numbers the kernel has at hand: in microseconds, fewer than a thread for it would take. The
    proportional figure (PSS) would take milliseconds of looking through pages.
    """
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:  # it has ended, or there is no such file system
        return 0
    return (int(resident) - int(shared)) * PAGE


def _quotas(root: Path) -> Iterator[float]:
    for file in _files(root, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        with suppress(OSError, ValueError):
            quota, *period = file.read_text().split()
            per = period[0] if period else file.with_name("cpu.cfs_period_us").read_text()
            if int(quota) > 0:  # `max` in version 2, -1 in version 1: no quota
                yield int(quota) / int(per)


def _files(root: Path, controller: str, name: str, old_name: str) -> Iterator[Path]:
    """A limit's files, of our own control group and of all above it: each of them holds."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if not controllers:
            mount, file = root / "sys/fs/cgroup", name
        elif controller in controllers.split(","):
            mount, file = root / "sys/fs/cgroup" / controllers, old_name
        else:
            continue
        own = Path(path.lstrip("/"))
        yield from (mount / above / file for above in (own, *own.parents))


def _number(file: Path) -> int | None:
    """None where there is no limit (`max`), or no such file."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
