"""Names that people give to keys and credentials, the ids that we give, and who is not a person."""

from __future__ import annotations

import re
import secrets
import unicodedata

from claude_code_api.errors import InvalidRequest

LONGEST = 100

COMMAND_LINE = "command line"
GATEWAY = "gateway"
"""Who makes a change, in the audit log, where it is no administrator."""

_SECRET = re.compile(r"(?<![0-9A-Za-z])sk-\S{30}")


def checked(name: str, param: str = "name") -> str:
    """The name as it is kept: trimmed, composed (NFC), 1 to 100 printable characters; InvalidRequest otherwise.

    Names are shown everywhere, so one that looks like a key or token is refused, and never repeated (policy T1).
    """
    kept = composed(name)
    if not 1 <= len(kept) <= LONGEST or not kept.isprintable():
        raise InvalidRequest(f"A name has 1 to {LONGEST} characters, none of them a control character.", param=param)
    if _SECRET.search(kept):
        raise InvalidRequest("This looks like a secret, not like a name: names are shown openly.", param=param)
    return kept


def composed(name: str) -> str:
    """Trimmed, and in one of the ways in which the same letters can be written (NFC)."""
    return unicodedata.normalize("NFC", name.strip())


def new_id(prefix: str) -> str:
    """Such as `key_9f86d081884c7d65`: random, and safe as a file name."""
    return f"{prefix}_{secrets.token_hex(8)}"
