"""The chain: each entry's code binds all of it and the code before it. Pure.

Codes are HMAC-SHA-256 under a key from the vault, so that who can write to the database, and cannot open the vault,
can make none. Entries are numbered from 1 on without a gap. Two kinds of entry say why some are not there: a
`audit.shortened` names the last entry that retention removed, and its code, from which the chain goes on; a
`backup.restored` stands where a database was taken back to an earlier time, and names the numbers that it lost.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

SHORTENED = "audit.shortened"
RESTORED = "backup.restored"
NOTHING = bytes(32)
"""The code before the first entry."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`actor` did `action` to `target`. `details` is JSON text, kept to the letter, since its bytes are what is bound.

    Actors are like "command line (uid 1000)", actions like "key.created", targets ids.
    """

    number: int
    at: datetime
    actor: str
    action: str
    target: str | None
    details: str
    code: bytes = NOTHING

    @property
    def said(self) -> dict[str, Any]:
        """The details as they were given."""
        said: dict[str, Any] = msgspec.json.decode(self.details)
        return said


class Head(msgspec.Struct, frozen=True):
    """The newest entry's number and code; number 0 is an empty log's."""

    number: int = 0
    code: bytes = NOTHING


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with the log; `number` is the entry at which it shows."""

    number: int
    message: str


class Chain:
    """Seals and proves entries under one key."""

    def __init__(self, key: bytes) -> None:
        self._mac = hmac.new(key, digestmod="sha256")  # holds the key where no repr or pickle finds it

    def sealed(self, entry: Entry, before: bytes) -> Entry:
        """The entry with its code, as the next one after the code `before`."""
        return msgspec.structs.replace(entry, code=self._code(entry, before))

    def sign(self, head: Head) -> bytes:
        """Proof that this head was once the newest, for a place outside the database."""
        return self._of(b"head", str(head.number).encode(), head.code)

    def proves(self, entry: Entry, before: bytes) -> bool:
        return hmac.compare_digest(entry.code, self._code(entry, before))

    def _code(self, entry: Entry, before: bytes) -> bytes:
        return self._of(
            before,
            str(entry.number).encode(),
            entry.at.isoformat(timespec="microseconds").encode(),
            entry.actor.encode(),
            entry.action.encode(),
            b"" if entry.target is None else b"=" + entry.target.encode(),
            entry.details.encode(),
        )

    def _of(self, *parts: bytes) -> bytes:
        """Each part with its length before it, so that no two lists of parts read the same."""
        mac = self._mac.copy()
        for part in parts:
            mac.update(len(part).to_bytes(8, "big") + part)
        return mac.digest()


class Examination:
    """A log looked through from its first entry to its last: what is wrong with it, nothing where it is as written.

    `shortened` is its newest entry of that kind, `anchor` a head that is known to have been reached. What was looked
    through before, up to `known`, need not be looked through again.
    """

    def __init__(self, chain: Chain, shortened: Entry | None, anchor: Head, known: Head | None = None) -> None:
        self._chain = chain
        self._anchor = anchor
        self.removed = Head()  # what retention removed last: the log begins behind it
        if shortened is not None:
            said = shortened.said
            self.removed = Head(int(said["through"]), bytes.fromhex(said["code"]))
        self.head = max(known or Head(), self.removed, key=lambda head: head.number)

    def take(self, entry: Entry) -> Iterator[Fault]:
        """The next entry, in the order of their numbers."""
        lost = [self.head.number + 1, entry.number - 1]
        if lost[0] <= lost[1] and not (entry.action == RESTORED and entry.said.get("lost") == lost):
            yield Fault(lost[0], f"{_numbers(*lost)} missing.")  # without which this one cannot be proved
        elif entry.number <= self.head.number:
            yield Fault(entry.number, f"Entry {entry.number} should not be there any more.")
        elif not self._chain.proves(entry, self.head.code):
            yield Fault(entry.number, f"Entry {entry.number} ({entry.action}) was changed, moved or made up.")
        self.head = Head(entry.number, entry.code)
        if self.head.number == self._anchor.number and not hmac.compare_digest(entry.code, self._anchor.code):
            yield Fault(entry.number, f"Entry {entry.number} is not the one that the anchor names.")

    def end(self) -> Iterator[Fault]:
        if self.head.number < self._anchor.number:
            lost = self.head.number + 1, self._anchor.number
            yield Fault(lost[0], f"{_numbers(*lost)} cut off at the end.")


def _numbers(first: int, last: int) -> str:
    return f"Entry {first} is" if first == last else f"Entries {first} to {last} are"
