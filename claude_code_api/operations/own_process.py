"""What others on the machine can see of this process: as little as the kernel allows (policy T3)."""

from __future__ import annotations

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4  # <linux/prctl.h>
NO_CORE = 1 if sys.platform == "linux" else 0
"""Bytes of a core dump. Too few for a file; and to Linux 1, unlike 0, means that no program gets one either
(`core_pattern` with a pipe; fs/coredump.c)."""


def keep_to_itself() -> None:
    """From now on: no core dump, and none but root may trace this process or read its memory and environment.

    It does not pass to children, which become other programs: each of these is to see for itself.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if most == 0 else NO_CORE
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
