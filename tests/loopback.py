"""No network but loopback: a network namespace of the test run's own, which all its threads and children inherit."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # <linux/sched.h>
SIOCSIFFLAGS = 0x8914  # <linux/sockios.h>
IFF_UP_RUNNING = 0x41


class Unavailable(Exception):
    """Why there can be no namespace on this machine."""


def confine() -> str:
    """Confines this process to loopback for good, and says by what: a namespace, or else a guard."""
    try:
        _take_a_namespace()
    except Unavailable as reason:
        sys.addaudithook(_guard)
        return f"loopback alone, by a guard on Python's sockets; uvloop and other programs pass it ({reason})"
    return "loopback alone, in a namespace of its own"


def in_namespace() -> bool:
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def _take_a_namespace() -> None:
    """Only threads and processes that start later come along, so there may be no other thread yet.

    It is tried in a child first: there is no way back, and a machine may give a namespace and then forbid to bring
    its loopback up.
    """
    if sys.platform != "linux":
        raise Unavailable(f"{sys.platform} has none")
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise Unavailable(f"{threads} threads run already")
    if (child := os.fork()) == 0:
        with suppress(OSError):
            _unshare()
            os._exit(0)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise Unavailable("the system forbids it")
    _unshare()


def _unshare() -> None:
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if user else 0)):
        raise OSError(ctypes.get_errno(), "unshare")
    if user:  # only root may have a network namespace alone; anybody may in a user namespace, as who he is
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        peer, address = arguments
        if peer.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(
            ("127.", "::1", "localhost")
        ):
            raise OSError(errno.ENETUNREACH, f"a test tried to reach {address}")
