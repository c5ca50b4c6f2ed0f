"""Where the master key comes from: a file of its own, a setting (an environment variable), or a command (for a KMS).

Each gives a keyring. The file alone is ours to write: the first start makes it, a rotation puts a new key on its top.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from claude_code_api import environment
from claude_code_api.access.master_key import KEY_BYTES, LONGEST_KEYRING, Keyring, MasterKey, new_key, read_keyring
from claude_code_api.errors import VaultFailure, WrongSetting
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, secret_variables

COMMAND_TIMEOUT = 30.0
"""Seconds that the command may take."""
NO_KEY = f"no master key ({KEY_BYTES} bytes in base64, or several of these, the newest first)"
HOW_TO_MAKE_ONE = "`openssl rand -base64 32` makes one"


class KeySource(Protocol):
    """`name` begins a sentence about it. All of it may block; VaultFailure says what is wrong, and never the key."""

    name: str

    def load(self) -> Keyring | None:
        """The keys; None where there is no place yet that could hold one."""
        ...

    def create(self) -> Keyring:
        """The first key of all, made and durable."""
        ...

    def add(self) -> MasterKey:
        """A new key before the others, made and durable."""
        ...


def key_source(settings: Settings) -> KeySource:
    """The one that the settings name; by default a file in the data directory."""
    names = ("master_key", "master_key_file", "master_key_command")
    given = [name for name in names if getattr(settings, name)]
    if len(given) > 1:
        raise WrongSetting(f"The settings {' and '.join(given)} are both given; the master key has one source.")
    if settings.master_key:
        return KeySetting(settings.master_key)
    if settings.master_key_command:
        return KeyCommand(settings.master_key_command)
    return KeyFile(settings.master_key_path)


class KeyFile:
    """A private file. It is never overwritten in place: a new text is durable before it takes the old one's name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"The file {path}"

    def load(self) -> Keyring | None:
        text = self._read()
        if text is None:
            return None
        keyring = read_keyring(text)
        if keyring is None:
            raise VaultFailure(f"{self.name} holds {NO_KEY}.")
        return keyring

    def create(self) -> Keyring:
        master, text = new_key()
        try:
            written = _written_beside(self._path, text.encode())
            try:
                os.link(written, self._path)  # which, unlike a renaming, never replaces a file
            finally:
                written.unlink()
            _sync_directory(self._path.parent)
        except OSError as error:
            raise VaultFailure(f"The master key file {self._path} cannot be made: {error.strerror}.") from None
        return Keyring([master])

    def add(self) -> MasterKey:
        master, text = new_key()
        path = self._path.resolve()  # of a link, what it leads to
        try:
            os.replace(_written_beside(path, text.encode() + (self._read() or b"")), path)
            _sync_directory(path.parent)  # the new name must outlive a power cut, too
        except OSError as error:
            raise VaultFailure(
                f"The master key file {path} cannot be written: {error.strerror}. Put a new key on a line above the "
                f"others yourself ({HOW_TO_MAKE_ONE}), then rotate again. Nothing was changed."
            ) from None
        return master

    def _read(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                exposed = os.fstat(file.fileno()).st_mode & 0o077
                text = file.read(LONGEST_KEYRING + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VaultFailure(f"The master key file {self._path} cannot be read: {error.strerror}.") from None
        if exposed:
            mend = f"run `chmod 600 {shlex.quote(str(self._path))}`"
            raise VaultFailure(f"Others may read the master key file {self._path}: {mend}.")
        return text


class _Foreign:
    """What is not ours to write."""

    name: str
    advice: str

    def create(self) -> Keyring:
        raise NotImplementedError  # it has a key, or `load` has said that it has none

    def add(self) -> MasterKey:
        raise VaultFailure(f"{self.name} is yours to change: {self.advice} Nothing was changed.")


class KeySetting(_Foreign):
    name = "The setting master_key"
    advice = (
        f"put a new key before the one that stands there ({HOW_TO_MAKE_ONE}), with a space between them, "
        "start the gateway again with both, then rotate again."
    )

    def __init__(self, text: Secret) -> None:
        self._text = text

    def load(self) -> Keyring:
        keyring = read_keyring(self._text.reveal().encode())
        if keyring is None:
            raise VaultFailure(f"{self.name} holds {NO_KEY}.")
        return keyring


class KeyCommand(_Foreign):
    """Run without a shell, without input, and without the secrets in our environment; its output is the keyring.

    What it writes to standard error goes nowhere, since that may be anything.
    """

    advice = (
        f"let it print a new key on a line above the one that it prints now ({HOW_TO_MAKE_ONE}), then rotate again."
    )

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words
        self.name = f"The master key command {words[0]}"  # its arguments may be anybody's

    def load(self) -> Keyring:
        status, text = self._run()
        by_hand = "; run it by hand to see why"
        if status is None:
            raise VaultFailure(f"{self.name} took longer than {COMMAND_TIMEOUT:g} seconds.")
        if status:
            how = f"was ended by signal {-status}" if status < 0 else f"failed with status {status}"
            raise VaultFailure(f"{self.name} {how}{by_hand}.")
        keyring = read_keyring(text)
        if keyring is None:
            raise VaultFailure(f"{self.name} printed {NO_KEY}{by_hand}.")
        return keyring

    def _run(self) -> tuple[int | None, bytes]:
        """Exit status and output. Status None: it took too long, and was ended with all that it had started."""
        try:
            process = subprocess.Popen(
                self._words, env=environment.without(secret_variables()), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise VaultFailure(f"{self.name} cannot be run: {error.strerror}.") from None
        ended = threading.Event()

        def end() -> None:
            ended.set()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(COMMAND_TIMEOUT, end)
        timer.start()
        try:
            with process:
                text: bytes = process.stdout.read(LONGEST_KEYRING + 1) if process.stdout else b""
        finally:
            timer.cancel()
        return (None if ended.is_set() else process.returncode), text


def _written_beside(path: Path, text: bytes) -> Path:
    """A private file with this text, durable, in the same directory; one that a killed run left is made anew."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    return beside


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
