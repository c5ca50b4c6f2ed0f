"""Pages of a list that may be long: each tells where the next one begins, by the place and not by the number of rows.

So a page costs the same wherever it lies, and what is added or removed meanwhile moves nothing into it or out of it.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Generic, TypeVar

import msgspec

from claude_code_api.errors import InvalidRequest

MOST = 200
"""Entries of one page."""
LONGEST_CURSOR = 1000

T = TypeVar("T")
Place = TypeVar("Place", bound=tuple[Any, ...])


class Part(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """`next` is what the following page is asked for with, None at the end."""

    items: tuple[T, ...] = msgspec.field(name="data")
    next: str | None


class Page(Part[T], frozen=True, kw_only=True):
    """`total` counts all that fit, on every page: for lists that are soon counted."""

    total: int


def checked_limit(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise InvalidRequest(f"A page has 1 to {MOST} entries.", param="limit")
    return limit


def cursor_of(*place: Any) -> str:
    """The place (JSON's types and moments) as a text that is safe in a URL, for nobody to read."""
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(cursor: str, form: type[Place]) -> Place:
    """The place, a tuple of the given form; InvalidRequest for a text that is no cursor, or one of another list."""
    try:
        if len(cursor) > LONGEST_CURSOR:
            raise ValueError("longer than any of ours")
        place: Place = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=form)
        if any(isinstance(part, int) and not -(2**63) <= part < 2**63 for part in place):
            raise ValueError("a number that no database holds")
        return place
    except (ValueError, msgspec.DecodeError):
        raise wrong_cursor() from None


def wrong_cursor() -> InvalidRequest:
    return InvalidRequest(
        "This is no cursor of this list: take the one that the page before gave, with the same order.",
        code="invalid_cursor",
        param="after",
    )
