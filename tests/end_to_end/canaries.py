"""Canaries: unique marks, and the search for them in whatever encoding they may have got somewhere."""

from __future__ import annotations

import os
import secrets
import string
import threading
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

PIECE = 12
"""Characters of a mark that count as found: half a secret is a leak too. By chance it does not happen (62^12)."""


def canary() -> str:
    """Letters and digits that stand nowhere else."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(24))


def pieces(mark: str) -> list[str]:
    return [mark[at : at + PIECE] for at in range(0, len(mark) - PIECE + 1, PIECE)]


def encodings(text: str) -> list[bytes]:
    """The text raw, in UTF-16, in hex, percent-encoded, and in base64 at each of the three offsets.

    For letters and digits base64 and its form for URLs are the same.
    """
    raw = text.encode()
    forms = [raw, text.encode("utf-16-le"), raw.hex().encode(), raw.hex().upper().encode()]
    forms += ["".join(f"%{byte:02{case}}" for byte in raw).encode() for case in "xX"]
    for offset in range(3):
        bits = 8 * (offset + len(raw))
        forms.append(b64encode(b"\0" * offset + raw)[-(-8 * offset // 6) : bits // 6])
    return forms


class Search:
    """Looks for marks, given by name; `found` says which were seen where."""

    def __init__(self, marks: Mapping[str, str]) -> None:
        self.found: set[tuple[str, str]] = set()
        self._needles = [
            (name, form) for name, mark in marks.items() for piece in pieces(mark) for form in encodings(piece)
        ]

    def look(self, data: bytes, where: str) -> None:
        self.found |= {(name, where) for name, needle in self._needles if needle in data}

    def look_into(self, directories: Iterable[Path]) -> None:
        """Every file below the directories; their names count as well."""
        for directory in directories:
            for place, subdirectories, files in os.walk(directory):  # which forgives what goes away meanwhile
                for name in (*subdirectories, *files):
                    path = Path(place, name)
                    self.look(name.encode(), f"the name of {path}")
                    self.look(_read(path) if name in files else b"", str(path))


class Watch:
    """Looks again and again, as long as its block runs: into files, and at what a process and its children show."""

    def __init__(self, search: Search, pid: int, directories: Iterable[Path]) -> None:
        self.children: set[int] = set()
        self._search = search
        self._root = psutil.Process(pid)
        self._directories = list(directories)
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._ended.wait(0.05):
                self._look()
        except BaseException as failure:  # noqa: BLE001 - raised again where the block ends
            self._failure = failure

    def _look(self) -> None:
        try:
            children = self._root.children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        self.children |= {child.pid for child in children}
        for process in (self._root, *children):
            for file in ("cmdline", "environ"):
                self._search.look(_read(Path(f"/proc/{process.pid}/{file}")), file)
        self._search.look_into(self._directories)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it is gone, or a socket
        return b""
