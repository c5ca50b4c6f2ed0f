"""Becomes the Claude Code program, after what must be set between fork and exec. Run by path, never imported.

The program then ends with the gateway, however that ends (`kill -9` too), leaves no core dump, in which a token could
stand, lets the gateway go first, and is locked in. Arguments: the gateway's process id, the user to become
("user:group" in numbers, or "" to stay), the sandbox (or "" for none), the program, the program's arguments.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
NO_CORE = 1 if sys.platform == "linux" else 0  # as in operations/own_process.py, which tells why


NICE = 5
"""Behind the gateway, which answers everybody and needs little: ten programs that start take all cores for seconds."""


def main(parent: int, user: str, sandbox: str, program: str, *arguments: str) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        resource.setrlimit(resource.RLIMIT_CORE, (NO_CORE, NO_CORE))
    os.nice(NICE)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # uvloop leaves its ends of the pipes open
    if user:
        number, group = map(int, user.split(":"))
        os.setgroups([])
        os.setgid(group)
        os.setuid(number)
    if sys.platform == "linux":
        # Last: a change of the user would take it back.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we could ask to be told
            sys.exit(1)
    if sandbox:
        sys.path.insert(0, os.path.dirname(__file__))
        from sandbox import Sandbox  # type: ignore[import-not-found]  # by its path: there is no package here

        Sandbox.decoded(sandbox).enter()
    os.execv(program, [program, *arguments])  # noqa: S606 - there is no shell, on purpose


main(int(sys.argv[1]), *sys.argv[2:])
