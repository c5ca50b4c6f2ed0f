"""Becomes the Claude Code program, after what must be set between fork and exec. Run by path, never imported.

The program then ends with the gateway, however that ends (`kill -9` too), and leaves no core dump, in which a
token could stand. Arguments: the gateway's process id, the program, the program's arguments.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(parent: int, program: str, *arguments: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # uvloop leaves its ends of the pipes open
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we could ask to be told
            sys.exit(1)
    os.execv(program, [program, *arguments])  # noqa: S606 - there is no shell, on purpose


main(int(sys.argv[1]), *sys.argv[2:])
