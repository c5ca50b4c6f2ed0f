"""The anchor: the newest entry's number and code in a file, outside the database that may be cut short.

It lies in the data directory, or where the setting `audit_anchor_file` puts it. It may be an entry or two behind (a
process was killed between the two writes), never ahead.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

import msgspec

from claude_code_api.audit.chain import Chain, Head
from claude_code_api.errors import StorageFailure
from claude_code_api.storage.data_directory import exclusive


class _Line(msgspec.Struct, frozen=True):
    number: int
    code: str
    proof: str


class Anchor:
    def __init__(self, path: Path, chain: Chain) -> None:
        self._path = path
        self._chain = chain

    def read(self) -> Head | None:
        """None where there is no file. StorageFailure for one that the gateway did not write."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageFailure(f"The audit anchor {self._path} cannot be read: {error.strerror}.") from None
        try:
            line = msgspec.json.decode(content, type=_Line)
            head = Head(line.number, bytes.fromhex(line.code))
            proof = bytes.fromhex(line.proof)
        except (ValueError, msgspec.DecodeError):
            head, proof = Head(), b""
        if not hmac.compare_digest(proof, self._chain.sign(head)):
            raise StorageFailure(f"The audit anchor {self._path} was not written by this gateway, or was changed.")
        return head

    def text(self, head: Head) -> bytes:
        """The file's content for this head."""
        line = _Line(head.number, head.code.hex(), self._chain.sign(head).hex())
        return msgspec.json.encode(line) + b"\n"

    def advance(self, head: Head) -> None:
        """To a newer head; an older one changes nothing."""
        with exclusive(self._path.with_name(self._path.name + ".lock")):
            known = self.read()
            if known is not None and known.number >= head.number:
                return
            temporary = self._path.with_name(self._path.name + ".new")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(self.text(head))
            temporary.replace(self._path)
