"""The text of an API key: `sk-`, 42 random letters or digits, and a checksum of six (policy K1, K2).

An administrator's token is the same behind `adm-`.

The checksum needs no secret. It tells garbage from a key without a look into the database; it proves nothing.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib

from claude_code_api.secret import Secret

PREFIX = "sk-"
ADMIN_PREFIX = "adm-"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH = 42  # × log2(62) = 250.07 bits
CHECKSUM_LENGTH = 6  # 62⁶ holds the 32 bits of a CRC

_FORM = re.compile(rf"(sk-|adm-)([0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})")


def generate(prefix: str = PREFIX) -> Secret:
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return Secret(prefix + random + _checksum(random))


def is_well_formed(key: Secret, prefix: str = PREFIX) -> bool:
    """Whether it has our form and its checksum fits: true of every key made here, of hardly any misspelt one."""
    parts = _FORM.fullmatch(key.reveal())
    return parts is not None and parts[1] == prefix and _checksum(parts[2]) == parts[3]


def _checksum(random: str) -> str:
    number = zlib.crc32(random.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
