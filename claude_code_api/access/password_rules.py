"""Which passwords administrators may have (policy A5), and as what a password counts.

Length and a look at what everybody tries, and no rules about kinds of characters: NIST SP 800-63B, 3.1.1. No refusal
repeats the password.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

from claude_code_api.errors import InvalidRequest
from claude_code_api.secret import Secret

SHORTEST = 12
LONGEST = 1024
"""Characters; Unicode's code points."""
LONGEST_GIVEN = 8 * LONGEST
"""Characters before they are composed. What is longer is no password of anybody, and not worth to be looked at."""
MOST_COMMON = 10_000

_SAMPLE = re.compile(
    "(please|change|replace|me|this|it|your|password|here|now|example|sample|default|placeholder|todo)+"
)
"""What examples and templates say in the place of a password, without all that is no letter."""
_NO_LETTER = re.compile(r"[\W\d_]+")
_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def counted(password: Secret) -> str:
    """A password as it counts: without space at its ends, composed (NFC), every kind of space the same.

    Keyboards differ in how they compose letters and in the spaces that they make, and copies bring line ends along.
    That is the profile OpaqueString (RFC 8265, 4.2); compatible characters stay apart.
    """
    text = "".join(" " if unicodedata.category(sign) == "Zs" else sign for sign in password.reveal().strip())
    return unicodedata.normalize("NFC", text)


def check_strength(password: Secret, name: str) -> None:
    """InvalidRequest says why it may not be the password of the administrator of this name.

    The first call reads a list, which is no work for the event loop.
    """
    if len(password.reveal()) > LONGEST_GIVEN:
        raise _refused(f"A password has {SHORTEST} to {LONGEST} characters; this one has many more.")
    text = counted(password)
    plain, own = text.casefold(), name.casefold()
    letters = _NO_LETTER.sub("", plain)
    if _SAMPLE.fullmatch(letters):
        raise _refused("This password is a sample, which everybody knows; choose another one.")
    if not SHORTEST <= len(text) <= LONGEST:
        raise _refused(f"A password has {SHORTEST} to {LONGEST} characters; this one has {len(text)}.")
    if plain == own or (letters and letters == _NO_LETTER.sub("", own)):
        raise _refused("This password is the administrator's name, or little more; choose another one.")
    if (plain + plain).index(plain, 1) < SHORTEST:
        raise _refused("This password is one short text again and again; choose another one.")
    if len({(ord(after) - ord(sign)) % 10 for sign, after in pairwise(plain)}) == 1:
        raise _refused("This password only counts, or says the alphabet; choose another one.")
    if plain in _common() or _AROUND.sub("", plain) in _common():
        raise _refused("This password is among the most common ones, or little more; choose another one.")


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(why, code="weak_password", param="password")


@cache
def _common() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"][:MOST_COMMON])
