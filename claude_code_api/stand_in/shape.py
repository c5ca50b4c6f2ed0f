"""Checks of JSON values, whose refusals are worded as the API words them: `messages.0.role: Field required`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any

from claude_code_api.stand_in.errors import invalid

Json = dict[str, Any]


def text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"{path}: Input should be a valid string")
    return value


def base64_data(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(text(value, path), validate=True)
    except binascii.Error:
        raise invalid(f"{path}: invalid base64 data") from None


def flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{path}: Input should be a valid boolean")
    return value


def integer(value: Any, path: str, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"{path}: Input should be a valid integer")
    if value < least:
        raise invalid(f"{path}: Input should be greater than or equal to {least}")
    return value


def fraction(value: Any, path: str) -> float:
    """A number from 0 to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid(f"{path}: Input should be a valid number")
    if value < 0:
        raise invalid(f"{path}: Input should be greater than or equal to 0")
    if value > 1:
        raise invalid(f"{path}: Input should be less than or equal to 1")
    return value


def array(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid(f"{path}: Input should be a valid list")
    return value


def mapping(value: Any, path: str) -> Json:
    if not isinstance(value, dict):
        raise invalid(f"{path}: Input should be a valid dictionary")
    return value


def one_of(value: Any, allowed: Sequence[str], path: str) -> str:
    if value not in allowed:
        *most, last = (f"'{name}'" for name in allowed)
        expected = f"{', '.join(most)} or {last}" if most else last
        raise invalid(f"{path}: Input should be {expected}")
    return str(value)


def fields(value: Json, path: str, required: Iterable[str], optional: Iterable[str]) -> None:
    """All required fields are there and none that is unknown. `path` is "" for the request itself."""
    prefix = f"{path}." if path else ""
    for name in required:
        if name not in value:
            raise invalid(f"{prefix}{name}: Field required")
    for name in value:
        if name not in required and name not in optional:
            raise invalid(f"{prefix}{name}: Extra inputs are not permitted")
