"""What may be given to an API key beside its text: name, models, limits and end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import TypeAdapter, ValidationError

from claude_code_api.access import names
from claude_code_api.errors import InvalidRequest
from claude_code_api.settings import Rates

MOST_CONCURRENT = 100_000
LONGEST_RATES = 200

_RATES: TypeAdapter[str] = TypeAdapter(Rates)


class KeyLimits(TypedDict, total=False):
    """What a new key may be given; it has none of what is left out."""

    models: Sequence[str]
    rate_limit: str | None
    max_concurrent: int | None
    expires_at: datetime | None


class KeyChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to become different; what is left out stays. None takes a limit, or the end, away."""

    name: str | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType = UNSET
    rate_limit: str | UnsetType | None = UNSET
    max_concurrent: int | UnsetType | None = UNSET
    expires_at: datetime | UnsetType | None = UNSET

    def checked(self) -> dict[str, Any]:
        """By column. InvalidRequest names the field that is wrong."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}
        return {name: _CHECKS[name](value) for name, value in given.items()}


def checked_models(models: Iterable[str]) -> list[str]:
    return [names.checked(model, "models") for model in models]


def checked_rates(rates: str | None) -> str | None:
    if rates is not None and len(rates) > LONGEST_RATES:
        raise InvalidRequest(f"A rate limit has {LONGEST_RATES} characters at most.", param="rate_limit")
    try:
        return None if rates is None else _RATES.validate_python(rates)
    except ValidationError:
        raise InvalidRequest(
            'A rate limit is like "100/minute" or "10/second;1000/hour", or "off".', param="rate_limit"
        ) from None


def checked_concurrent(number: int | None) -> int | None:
    if number is not None and not 1 <= number <= MOST_CONCURRENT:
        raise InvalidRequest(f"A key may have 1 to {MOST_CONCURRENT} requests at once.", param="max_concurrent")
    return number


def checked_expiry(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None or moment <= datetime.now(UTC):
        raise InvalidRequest("A key's end lies in the future and has a time zone.", param="expires_at")
    return moment.astimezone(UTC)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "name": names.checked,
    "models": checked_models,
    "rate_limit": checked_rates,
    "max_concurrent": checked_concurrent,
    "expires_at": checked_expiry,
}
