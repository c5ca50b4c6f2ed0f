"""A lock around the Claude Code program, held by the kernel: what it may open, run and connect to (Landlock).

Whatever goes wrong inside the program, it reaches its own directories and Anthropic, and neither the data directory nor
another conversation. Linux from 5.13 on, for every user; TCP ports from 6.7, signals from 6.12.
https://docs.kernel.org/userspace-api/landlock.html

`launch.py` imports this under a bare interpreter, so it needs nothing but the standard library.
"""

import ctypes
import json
import os
import struct
from glob import glob
from typing import NamedTuple

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
TELL_VERSION = 1
PATH_BENEATH, NET_PORT = 1, 2
PR_SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>

# <linux/landlock.h>
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = READ_FILE | READ_DIR
KNOWN_BITS = {1: 13, 2: 14, 3: 15, 4: 15}  # of the rights on files, by version; 16 from 5 on
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
ABSTRACT_SOCKETS, SIGNALS = 1 << 0, 1 << 1
WITH_PORTS, WITH_SCOPES = 4, 6  # the first version that knows them

SYSTEM = (
    # libraries, time zones, certificate authorities
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates", "/usr/share/locale", "/etc/ssl", "/etc/pki", "/etc/ld.so.cache",
    "/etc/localtime", "/etc/claude-code",
    # names of hosts
    "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/run/systemd/resolve",
    # the machine, and of all processes itself
    "/proc/self", "/proc/version", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/filesystems",
    "/proc/sys/vm", "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup", "/sys/kernel/mm",
    "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
LOADERS = ("/lib/ld-*", "/lib64/ld-*", "/usr/lib/ld-*", "/usr/lib64/ld-*", "/lib/*/ld-*", "/usr/lib/*/ld-*")


class Sandbox(NamedTuple):
    """What a process may do beyond reading SYSTEM: `read`, `write` and `run` are paths, a directory stands for all
    that is below it; `ports` are those that it may connect to by TCP. It may listen nowhere.
    """

    read: tuple[str, ...]
    write: tuple[str, ...]
    run: tuple[str, ...]
    ports: tuple[int, ...]

    def encoded(self) -> str:
        return json.dumps(self)

    @classmethod
    def decoded(cls, text: str) -> "Sandbox":
        return cls(*map(tuple, json.loads(text)))

    def enter(self) -> None:
        """Locks this process and all that it starts, for good. OSError where the kernel refuses."""
        known = version()
        rights = (1 << KNOWN_BITS.get(known, 16)) - 1
        ports = BIND_TCP | CONNECT_TCP if known >= WITH_PORTS else 0
        scopes = ABSTRACT_SOCKETS | SIGNALS if known >= WITH_SCOPES else 0
        ruleset = _call(CREATE_RULESET, struct.pack("QQQ", rights, ports, scopes), 24, 0)
        loaders = [path for pattern in LOADERS for path in glob(pattern)]
        for paths, allowed in (
            ((*SYSTEM, *self.read), READ),
            (("/dev/null",), READ_FILE | WRITE_FILE),
            ((*loaders, *self.run), READ_FILE | EXECUTE),
            (self.write, rights & ~EXECUTE),
        ):
            for path in paths:
                _allow(ruleset, path, allowed & rights)
        for port in self.ports if ports else ():
            _call(ADD_RULE, ruleset, NET_PORT, struct.pack("QQ", CONNECT_TCP, port), 0)
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "no_new_privs")
        _call(RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)


def version() -> int:
    """Landlock's version here; 0 where there is none."""
    try:
        return _call(CREATE_RULESET, None, 0, TELL_VERSION)
    except (OSError, AttributeError):  # a kernel without it, or no Linux
        return 0


def _allow(ruleset: int, path: str, allowed: int) -> None:
    """What does not exist needs no rule."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not os.path.isdir(path):
            allowed &= OF_FILES
        _call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", allowed, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: int | bytes | None) -> int:
    passed = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    result = int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *passed))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
