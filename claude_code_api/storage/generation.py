"""The generation: a number that every process on the machine sees change when keys or credentials change.

It lets a process answer from memory and still obey a revocation by another one at once (policy K3): who changes
keys or credentials raises it after the commit, who remembers them compares it at each use. A comparison is one
`fstat` and one load from a shared page, about a microsecond.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from pathlib import Path

from claude_code_api.storage.data_directory import exclusive, open_private

SIZE = 8


class Generation:
    """Eight bytes in a file that all processes map. Only equality has a meaning, not the number.

    A file that went missing or was cut short is made anew, with a number that was never in use before; processes
    that still have the old one notice at their next look.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._map()

    @property
    def current(self) -> int:
        """OSError once it is closed."""
        status = os.fstat(self._descriptor)
        if status.st_nlink == 0 or status.st_size < SIZE:  # a load from a page that the file lacks would be a SIGBUS
            self.close()
            self._map()
        return self._number[0]

    def advance(self) -> None:
        """Raises the number, for good when it returns. Waits for others that do the same: some microseconds."""
        with exclusive(self._path) as descriptor:
            os.pwrite(descriptor, _sound(descriptor, step=1), 0)

    def close(self) -> None:
        self._number.release()
        self._page.close()
        # Its number will be given anew, to a client or a pipe, which a later look would take for a file cut short.
        os.close(self._descriptor)
        self._descriptor = -1

    def _map(self) -> None:
        with exclusive(self._path) as descriptor:
            os.pwrite(descriptor, _sound(descriptor), 0)
            self._descriptor = open_private(self._path)  # of its own: a duplicate would keep the lock
        self._page = mmap.mmap(self._descriptor, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        self._number = memoryview(self._page).cast("Q")


def _sound(descriptor: int, step: int = 0) -> bytes:
    """The number in the file and `step`; the time in nanoseconds where there is none, as it never comes back."""
    found = os.pread(descriptor, SIZE, 0)
    number = int.from_bytes(found, sys.byteorder) + step if len(found) == SIZE else time.time_ns()
    return number.to_bytes(SIZE, sys.byteorder)
