"""Redaction: no secret leaves in a log line or a message, whatever it stands in (policy T1, T4).

By type (`Secret`, whose text form is redacted), by the name that it goes under (`authorization`, `password`, …)
and by its form (tokens and keys, raw, percent-encoded, in hex or base64). Too much is redacted rather than too
little; all patterns take time that grows with the text's length alone.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from claude_code_api.secret import Secret

REDACTED = "[redacted]"
LONGEST = 16_384
"""Characters that are kept of one text; a pipe holds four such lines before its reader must read."""
DEEPEST = 8
"""Levels of nesting that are kept of one value."""
MOST = 100
"""Items that are kept of one mapping or sequence."""
_INT64 = 2**63
_LONGEST_NAME = 64

# --- forms ----------------------------------------------------------------------------------------------

_START = r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2}))"  # of a word, in a URL too
_DASH = r"(?:-|%(?:25)*2[dD]|\\u002[dD]|\\x2[dD])"
_CHARACTER = rf"(?:[A-Za-z0-9_-]|{_DASH}|%(?:25)*5[fF])"


def _in_base64(text: str) -> list[str]:
    """What any base64 of a longer text with this one inside must contain, at each of the three offsets."""
    forms = []
    for offset in range(3):
        encoded = b64encode(b"\0" * offset + text.encode()).decode().rstrip("=")
        bits = 8 * (offset + len(text))
        forms.append(encoded[(8 * offset + 5) // 6 : bits // 6])
    return forms


_BASE64 = _in_base64("sk-ant-")
_HEX = b"sk-ant-".hex()
_FORMS = re.compile(
    "|".join(
        (
            r"-----BEGIN[A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END[A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
            rf"sk{_DASH}ant{_DASH}{_CHARACTER}{{7,}}",  # Anthropic's, of any kind
            r"sk-[A-Za-z0-9]{32,}",  # ours: a run of letters and digits that is no prose
            rf"{_START}(?:sk|adm){_DASH}{_CHARACTER}{{16,}}",
            r"eyJ[A-Za-z0-9_-]{8,1000}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",  # a signed token (JWT)
            r"(?<=://)[^/\s@]{0,200}@",  # user and password in a URL
            r"(?<=://)[^/\s@:]{0,200}:[^\s@]{0,200}@",  # … and a password that holds a slash
            rf"(?:{'|'.join(map(re.escape, _BASE64))})[A-Za-z0-9+/_=-]*",
            rf"(?i:{_HEX})[0-9A-Fa-f]*",
        )
    ),
    re.DOTALL,
)

_MARKS = ("sk", "adm", "eyJ", "://", "PRIVATE KEY", *_BASE64)
"""One of these stands in all that has such a form, or its hex. To look for them costs a fiftieth, and few texts have
one.
"""

# --- names ----------------------------------------------------------------------------------------------

_NAMES = (
    r"(?:[a-z0-9]{1,30}[-_]){0,4}(?:api[-_]?key|token|secret|password|passwd|passphrase|private[-_]key|pepper|session)"
)
_LINE_NAMES = r"(?:proxy-)?authorization|(?:set-)?cookie"  # their values may have several words
_NAME = re.compile(rf"{_LINE_NAMES}|{_NAMES}", re.IGNORECASE)
_QUOTED = r"""\[redacted\]|b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'"""
_SIGN = r"""\\{0,4}(?:["']?\s*(?:[:=]|%3[ad])|["']\s*,)(?:\s|%20)*"""
_NAMED = re.compile(
    rf"""
    (?P<line>{_START}(?:{_LINE_NAMES}){_SIGN})(?:{_QUOTED}|[^\r\n]+)
    | (?P<name>{_START}(?:{_NAMES}){_SIGN})(?:{_QUOTED}|[^\s,;&]+)
    | (?P<scheme>{_START}(?:bearer(?:\s|%20|\+)+|basic(?:\s|%20|\+)+(?-i:(?![a-z]+\b))))[^\s"',;]+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SHORTEST = len("token=x")
_SEPARATOR = re.compile(r"[:=,%+\s]")  # without one there is no name and no value: most fields are such words


def redact(text: str) -> str:
    """The text with every secret in it replaced by `[redacted]`."""
    if len(text) < _SHORTEST:
        return text
    if _has_a_mark(text):
        text = _FORMS.sub(REDACTED, text)
    return _NAMED.sub(_keep_name, text) if _SEPARATOR.search(text) else text


def _has_a_mark(text: str) -> bool:
    for mark in _MARKS:  # a generator would cost more than all the rest
        if mark in text:
            return True
    return _HEX in text.lower()


def _keep_name(match: re.Match[str]) -> str:
    return (match["line"] or match["name"] or match["scheme"]) + REDACTED


# --- values ---------------------------------------------------------------------------------------------


def redacted(value: object, depth: int = 0) -> Any:
    """A value made of JSON's types alone, without secrets, that stands for any value at all.

    What JSON has no type for becomes its `repr`. A broken value becomes its type's name: it never breaks a log line.
    """
    if type(value) is str:  # as nearly all are
        return _text(value)
    try:
        return _plain(value, depth)
    except Exception:  # noqa: BLE001 - a foreign object may raise anything when it is looked at
        return f"<{type(value).__name__} that cannot be shown>"


def _plain(value: object, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return _text(bytes(value).decode("utf-8", "backslashreplace"))
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return _text(repr(value))
    if depth == DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        fields = [(*_field(name), item) for name, item in islice(value.items(), MOST)]
        return {
            name: REDACTED if secret and _may_be_secret(item) else redacted(item, depth + 1)
            for name, secret, item in fields
        }
    items = list(islice(value, MOST))
    if len(items) == 2 and _field(items[0])[1] and _may_be_secret(items[1]):  # a header, as servers keep it
        items[1] = REDACTED
    return [redacted(item, depth + 1) for item in items]


def _field(name: object) -> tuple[str, bool]:
    """A name as it is shown, and whether what goes under it is a secret."""
    if isinstance(name, str) and len(name) <= _LONGEST_NAME:
        return _known_field(str.__str__(name))
    shown = str(redacted(name, DEEPEST))
    return shown, bool(_NAME.fullmatch(shown))


@lru_cache(maxsize=512)
def _known_field(name: str) -> tuple[str, bool]:
    """Nearly all names are the few of our own log lines, and half of a line's cost was to look at them anew."""
    shown = _text(name)
    return shown, bool(_NAME.fullmatch(shown))


def _may_be_secret(value: object) -> bool:
    """Under such a name; a Secret shows itself redacted."""
    return not isinstance(value, Secret | bool | None)


def _text(text: str) -> str:
    text = redact(text)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
