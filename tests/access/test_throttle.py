"""Guesses are slowed, and never lock anybody out (policy A3)."""

from __future__ import annotations

import pytest

from claude_code_api.access import throttle as module
from claude_code_api.access.throttle import FORGOTTEN_AFTER, FREE, LONGEST_WAIT, STORM, Attempt, Throttle
from claude_code_api.errors import RateLimited
from claude_code_api.secret import Secret

pytestmark = pytest.mark.policy("A3")
HERE, THERE = "192.0.2.1/32", "198.51.100.1/32"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(clock)


GUESSES = iter(range(10**9))


def tries(
    throttle: Throttle, name: str = "anna", address: str = HERE, *, device: str | None = None, words: str | None = None
) -> Attempt | int:
    """The attempt, or the seconds to wait. Each has other words, unless they are given."""
    try:
        return throttle.begin(name, Secret(words or f"guess {next(GUESSES)}"), address, device)
    except RateLimited as refused:
        told = refused
    assert told.code == "too_many_attempts"
    assert told.retry_after is not None
    return told.retry_after


def waits(throttle: Throttle, clock: Clock, number: int, name: str = "anna", address: str = HERE) -> list[int]:
    """What a guesser who comes back at the right moment has to wait each time."""
    waited = []
    for _ in range(number):
        if isinstance(came := tries(throttle, name, address), int):
            waited.append(came)
            clock.now += came
            assert isinstance(tries(throttle, name, address), Attempt)
    return waited


def test_some_attempts_are_free_then_the_waits_grow_to_half_a_minute(throttle: Throttle, clock: Clock) -> None:
    for _ in range(FREE):
        assert isinstance(tries(throttle), Attempt)
    assert isinstance(tries(throttle), Attempt)  # the sixth makes the next one wait
    assert waits(throttle, clock, 9) == [1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_many_at_once_are_no_way_around_it(throttle: Throttle) -> None:
    begun = [came for _ in range(1000) if isinstance(came := tries(throttle), Attempt)]
    assert len(begun) == FREE + 1, "none of them has ended yet"


def test_attempts_that_have_to_wait_make_nobody_wait_longer(throttle: Throttle, clock: Clock) -> None:
    for _ in range(2000):
        tries(throttle)
        clock.now += 0.05
        assert isinstance(came := tries(throttle, "bert"), Attempt | int)
        assert isinstance(came, Attempt) or came <= LONGEST_WAIT
    tried = [came for _ in range(50) if isinstance(came := tries(throttle), int)]
    assert max(tried) <= LONGEST_WAIT
    clock.now += LONGEST_WAIT
    assert isinstance(tries(throttle), Attempt)


def test_one_address_is_slowed_whatever_names_it_tries(throttle: Throttle) -> None:
    came = [tries(throttle, f"name {number}") for number in range(100)]
    assert sum(isinstance(each, Attempt) for each in came) == FREE + 1


def test_one_account_is_slowed_from_wherever_it_is_tried(throttle: Throttle) -> None:
    came = [tries(throttle, address=f"192.0.2.{number}/32") for number in range(100)]
    assert sum(isinstance(each, Attempt) for each in came) == FREE + 1
    assert isinstance(tries(throttle, "bert", THERE), Attempt), "others are not"


def test_a_known_device_never_waits_for_others(throttle: Throttle, clock: Clock) -> None:
    for _ in range(1000):
        tries(throttle)
        clock.now += 0.06
    assert isinstance(tries(throttle), int)
    assert isinstance(tries(throttle, device="d1"), Attempt), "from the same address, for the same account"
    assert isinstance(tries(throttle, device="d2"), Attempt)


def test_a_known_device_has_a_count_of_its_own(throttle: Throttle) -> None:
    came = [tries(throttle, device="d1") for _ in range(100)]
    assert sum(isinstance(each, Attempt) for each in came) == FREE + 1, "one that was stolen cannot guess either"
    assert isinstance(tries(throttle, device="d2"), Attempt)
    for _ in range(FREE):
        assert isinstance(tries(throttle), Attempt), "and counts nowhere else"


@pytest.mark.parametrize("address", [HERE, THERE])
def test_who_waits_and_comes_back_with_the_same_words_is_let_through_a_storm(
    throttle: Throttle, clock: Clock, address: str
) -> None:
    """Also from the address of the storm, whose next guess takes every place as soon as it is free."""

    def storm(seconds: float) -> None:
        for _ in range(int(seconds * 20)):
            tries(throttle)
            clock.now += 0.05

    storm(50)
    began = clock.now
    while isinstance(came := tries(throttle, address=address, words="the right ones"), int):
        storm(came)
        assert clock.now - began < 60
    assert clock.now - began <= LONGEST_WAIT + 1


def test_coming_back_is_bounded_too(throttle: Throttle, clock: Clock) -> None:
    """Who repeats each guess after a wait gets on no faster than one in 15 seconds, and one in 30 of the others."""
    for _ in range(FREE + 4):
        tries(throttle)
    made, began, told = 0, clock.now, [f"again {number}" for number in range(200)]
    while clock.now - began < 600:
        for words in told[:20]:
            if isinstance(tries(throttle, words=words), Attempt):
                made += 1
                told.remove(words)
        clock.now += 1
    assert made <= 600 / 15 + 600 / 30 + FREE


def test_words_that_come_back_early_or_far_too_late_count_as_any_others(throttle: Throttle, clock: Clock) -> None:
    while not isinstance(tries(throttle), int):
        pass
    first = tries(throttle, words="mine")
    assert first == 1
    assert tries(throttle, words="mine") == 1, "the wait is not longer for asking again"
    clock.now += module.RETURN_WITHIN + 2
    for _ in range(3):
        tries(throttle)
    assert isinstance(tries(throttle, words="mine"), int)


def test_what_was_right_is_taken_back_and_nothing_else_with_it(throttle: Throttle) -> None:
    for _ in range(100):
        attempt = tries(throttle)
        assert isinstance(attempt, Attempt)
        attempt.take_back()
        attempt.take_back()
    right = tries(throttle)
    wrong = [tries(throttle) for _ in range(FREE)]
    assert isinstance(right, Attempt)
    right.take_back()
    assert all(isinstance(each, Attempt) for each in wrong)
    assert isinstance(tries(throttle), int), "what began meanwhile stays counted"


def test_after_a_quarter_of_an_hour_all_is_forgotten(throttle: Throttle, clock: Clock) -> None:
    for _ in range(100):
        tries(throttle)
    clock.now += FORGOTTEN_AFTER + 1
    assert sum(isinstance(tries(throttle), Attempt) for _ in range(100)) == FREE + 1


def test_a_storm_is_told_of_once(throttle: Throttle, clock: Clock) -> None:
    assert [throttle.in_vain() for _ in range(1000)].count(True) == 1
    clock.now += FORGOTTEN_AFTER + 1
    assert [throttle.in_vain() for _ in range(STORM)] == [False] * (STORM - 1) + [True]


def test_memory_is_bounded_and_waiting_ones_drive_nobody_out(
    throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 50)
    small = Throttle(Clock())
    while not isinstance(tries(small, "anna"), int):
        pass
    for number in range(1000):
        assert isinstance(tries(small, f"name {number}"), int)
    assert isinstance(tries(small, "anna", THERE), int), "still counted"
    for number in range(1000):
        tries(small, f"name {number}", f"address {number}")
    assert len(small._buckets._values) == len(small._told_to_wait._values) == 50


def test_nothing_of_a_password_is_kept(throttle: Throttle) -> None:
    for _ in range(20):
        tries(throttle, words="canary password")
    assert "canary" not in repr(vars(throttle)) + repr(throttle._told_to_wait._values)
    assert all(len(kept) == 16 for kept in throttle._told_to_wait._values)
