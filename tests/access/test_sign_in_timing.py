"""Nobody learns from the time of a refusal whether there is an administrator of a name (policy A3)."""

from __future__ import annotations

import math
import random
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from claude_code_api.access import Access
from claude_code_api.access.password_hash import PasswordHasher
from claude_code_api.access.throttle import FORGOTTEN_AFTER
from claude_code_api.errors import Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings

pytestmark = pytest.mark.policy("A3")
EACH = 60
SURE = 4.5
"""Standard deviations; chance alone comes so far in one of 150,000 runs."""


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[Access]:
    settings = Settings(data_dir=tmp_path / "data").model_copy(update={"bcrypt_rounds": 7})
    async with Access.open(settings) as access:
        await access.administrators.set_password("anna", Secret(secrets.token_urlsafe()))
        yield access


async def times(access: Access) -> tuple[list[float], list[float]]:
    """Of refusals of a name that there is, and of names that there are not, in an order by chance."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    order = [True, False] * EACH
    random.Random(7).shuffle(order)
    now = 0.0
    for known in order:
        now += 2 * FORGOTTEN_AFTER  # so that none is slowed
        access.sign_in.throttle._clock = lambda now=now: now
        name, password = "anna" if known else secrets.token_hex(2), Secret(secrets.token_urlsafe())
        began = time.perf_counter()
        with pytest.raises(Unauthenticated):
            await access.sign_in.attempt(name, password, address="192.0.2.1")
        taken[known].append(time.perf_counter() - began)
    return taken[True], taken[False]


def deviations(one: Sequence[float], other: Sequence[float]) -> float:
    """Mann and Whitney's U, in standard deviations: how unlike chance it is that one of them is the slower."""
    above = sum((a > b) + (a == b) / 2 for a in one for b in other)
    middle = len(one) * len(other) / 2
    return abs(above - middle) / math.sqrt(len(one) * len(other) * (len(one) + len(other) + 1) / 12)


async def test_unknown_names_and_wrong_passwords_take_the_same_time(access: Access) -> None:
    assert deviations(*await times(access)) < SURE


async def test_the_measure_would_notice_a_shorter_way(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    matches = PasswordHasher.matches

    async def careless(hasher: PasswordHasher, password: Secret, kept: str | None, every: Sequence[str] = ()) -> bool:
        return False if kept is None else await matches(hasher, password, kept, every)

    monkeypatch.setattr(PasswordHasher, "matches", careless)
    assert deviations(*await times(access)) > SURE
