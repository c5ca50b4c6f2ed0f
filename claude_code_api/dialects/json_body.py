"""A request's body: JSON of bounded depth, decoded once into a struct, every fault named by its path."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from claude_code_api.errors import InvalidRequest

T = TypeVar("T")

MAX_NESTED = 50_000
"""Arrays and objects in one body. Each costs up to 2 µs until it is a conversation, and nothing else runs meanwhile:
400,000 small parts, 11 MB, took 0.76 seconds. Ten thousand messages with a tool call each have 40,000."""
_PIECE = 64 * 1024
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T], max_depth: int) -> T:
    """`body` as the decoder's type.

    InvalidRequest says what is wrong: code `invalid_json` for what is no JSON, `too_deep`, `too_many_values`, or
    `invalid_value` and `param` (`messages.2.content`, None for the body itself) for what is not of the type.
    """
    check_structure(body, max_depth)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as fault:
        raise not_of_the_type(fault) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise InvalidRequest(f"Invalid request format: the body is no JSON ({fault}).", code="invalid_json") from None


def not_of_the_type(fault: msgspec.ValidationError) -> InvalidRequest:
    """What msgspec found wrong, with the code `invalid_value` and the path of the value as `param`."""
    reason, _, path = str(fault).rpartition(" - at `$")
    return _wrong(reason, path.removesuffix("`")) if reason else _wrong(str(fault), "")


def check_structure(body: bytes, max_depth: int) -> None:
    """Refuses JSON that nests deeper than `max_depth`, or holds more than MAX_NESTED arrays and objects.

    Takes any bytes, without recursion and before the decoder, which builds what it reads. Only the brackets outside
    of strings are left, then the innermost pairs are taken away, one level at a time: for 32 MiB, 0.2 seconds at worst.
    """
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _outside_strings(body.translate(_BRACES_AS_BRACKETS, _NOT_STRUCTURE).replace(b'""', b""))
    brackets += b"]" * max_depth  # a body that was cut off is no deeper for it
    for level in range(max_depth):
        if b"[" * (max_depth - level + 1) in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    if b"[" in brackets:
        raise InvalidRequest(
            f"Invalid request format: arrays and objects are nested deeper than {max_depth}.", code="too_deep"
        )


def _outside_strings(marks: bytes) -> bytes:
    """The brackets among brackets and quotes; piece by piece, as a list of all pieces could take a gigabyte."""
    brackets = bytearray()
    inside = 0
    for start in range(0, len(marks), _PIECE):
        pieces = marks[start : start + _PIECE].split(b'"')
        brackets += b"".join(pieces[inside::2])
        inside ^= (len(pieces) - 1) & 1
        if len(brackets) > 2 * MAX_NESTED:
            raise InvalidRequest(
                f"Invalid request format: more than {MAX_NESTED} arrays and objects.", code="too_many_values"
            )
    return bytes(brackets)


def _wrong(reason: str, path: str) -> InvalidRequest:
    """msgspec's words for a fault (`Expected …`, `Object missing …`) with its path as OpenAI writes paths."""
    param = re.sub(r"\[(\d+)\]", r".\1", path).removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", reason):
        param = f"{param}.{missing[1]}".removeprefix(".")
        reason = "required, but missing"
    elif unknown := re.fullmatch(r"Object contains unknown field `(.+)`", reason):
        param = f"{param}.{unknown[1]}".removeprefix(".")
        reason = "there is no such field"
    where = f"`{param}`" if param else "the body"
    shown = reason if len(reason) <= 200 else reason[:200] + "…"
    return InvalidRequest(f"Invalid request format: {where}: {shown}.", code="invalid_value", param=param or None)
