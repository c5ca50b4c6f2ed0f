"""The data directory: private to the user who runs the gateway, and held by one server at a time."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from claude_code_api.errors import StorageFailure


class DataDirectory:
    """A directory of mode 0700 whose files are made with mode 0600.

    0711 is as good: others pass through it and see nothing, as the setting `claude_code_user` needs. One that others
    may write to is refused and not mended: what lies in it may be theirs.
    """

    def __init__(self, path: Path) -> None:
        """Makes the directory where there is none. StorageFailure says what is wrong with it."""
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.path.stat()
            if status.st_uid != os.geteuid():
                raise StorageFailure(f"The data directory {self.path} belongs to another user; run this as that user.")
            if status.st_mode & 0o022:
                raise StorageFailure(
                    f"Others may write to the data directory {self.path}: look through it, "
                    f"then run `chmod 700 {shlex.quote(str(self.path))}`."
                )
            if status.st_mode & 0o066:
                self.path.chmod(0o700)
        except OSError as error:
            raise StorageFailure(f"The data directory {self.path} cannot be used: {error.strerror}.") from None

    def server_lock(self) -> AbstractContextManager[None]:
        """Held by the one server of this directory; StorageFailure names the process that has it."""
        return self._held("server.lock", "A server already runs")

    def rotation_lock(self) -> AbstractContextManager[None]:
        """Held by the one rotation of the master key; StorageFailure names the process that has it."""
        return self._held("rotation.lock", "A rotation of the master key already runs")

    def backup_lock(self) -> AbstractContextManager[None]:
        """Held by the one backup that is made or checked; StorageFailure names the process that has it."""
        return self._held("backup.lock", "A backup is already being made or checked")

    @contextmanager
    def _held(self, name: str, refusal: str) -> Iterator[None]:
        """The kernel frees it when the process ends, however it ends."""
        descriptor = open_private(self.path / name)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode().strip()
                raise StorageFailure(
                    f"{refusal} on the data directory {self.path}{f' (process {holder})' if holder else ''}."
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """A descriptor of the file (made where there is none), while no other process or thread is in here with it."""
    descriptor = open_private(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def open_private(path: Path) -> int:
    """A descriptor, for reading and writing, of a file with mode 0600; made where there is none.

    A file of ours that was copied here with a wider mode is mended.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StorageFailure(f"The file {path} cannot be used: {error.strerror}.") from None
    with suppress(PermissionError):  # not ours, and yet open to us: its owner decides
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    return descriptor


def make_private(path: Path) -> None:
    """Makes the file, or mends its mode, without opening one that is there.

    For SQLite's files: its locks are the process's own, and closing any descriptor of the file drops them all
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise StorageFailure(f"The file {path} cannot be made: {error.strerror}.") from None


def server_process(lock: Path) -> int | None:
    """The process that holds the server's lock. It wrote its number there; one that was killed left it behind."""
    try:
        number = int(lock.read_text(encoding="ascii"))
        os.kill(number, 0)
    except (OSError, ValueError, OverflowError):
        return None
    return number
