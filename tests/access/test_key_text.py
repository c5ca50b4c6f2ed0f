"""The text of API keys has the promised form and strength."""

from __future__ import annotations

import itertools
import math
import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.access import key_text
from claude_code_api.secret import Secret

LETTERS_AND_DIGITS = string.ascii_letters + string.digits
SAMPLE = 5_000


@pytest.fixture(scope="module")
def sample() -> list[str]:
    return [key_text.generate().reveal() for _ in range(SAMPLE)]


@pytest.mark.policy("K1")
def test_a_key_is_sk_and_48_letters_or_digits_that_end_in_their_checksum(sample: list[str]) -> None:
    for key in sample:
        assert re.fullmatch(r"sk-[A-Za-z0-9]{48}", key)
        assert key_text.is_well_formed(Secret(key))


@pytest.mark.policy("K1")
def test_the_checksum_is_the_same_for_ever() -> None:
    """Programs keep keys for years: these were made by the first release."""
    for random, checksum in [("0" * 42, "1CtB1C"), ("aB3" * 14, "3CchfR")]:
        assert key_text.is_well_formed(Secret("sk-" + random + checksum))


@pytest.mark.policy("K1")
def test_any_single_wrong_character_is_noticed(sample: list[str]) -> None:
    for key in sample[:20]:
        for at in range(len(key)):
            other = "x" if key[at] != "x" else "y"
            assert not key_text.is_well_formed(Secret(key[:at] + other + key[at + 1 :]))


@given(st.text(max_size=80))
def test_no_other_text_is_well_formed_and_none_breaks_the_check(text: str) -> None:
    assert not key_text.is_well_formed(Secret(text))
    assert not key_text.is_well_formed(Secret("sk-" + text))


@pytest.mark.policy("K2")
def test_42_characters_carry_250_bits() -> None:
    assert sorted(key_text.ALPHABET) == sorted(LETTERS_AND_DIGITS)
    assert key_text.RANDOM_LENGTH * math.log2(len(key_text.ALPHABET)) >= 250


@pytest.mark.policy("K2")
def test_no_key_comes_twice_and_no_two_are_alike(sample: list[str]) -> None:
    """Two random keys agree in 42/62 places on average; in 15 or more with a chance below 1e-14 for each pair."""
    assert len(set(sample)) == SAMPLE
    for one, other in itertools.pairwise(sample):
        assert sum(a == b for a, b in zip(one[3:45], other[3:45], strict=True)) < 15


@pytest.mark.policy("K2")
def test_every_character_is_as_likely_as_any_other(sample: list[str]) -> None:
    """Chi-square with 61 degrees of freedom: above 200 by chance less than once in 1e16."""
    counts = Counter("".join(key[3:45] for key in sample))
    expected = SAMPLE * 42 / 62
    assert set(counts) == set(LETTERS_AND_DIGITS)
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 200


@pytest.mark.policy("K2")
def test_every_place_of_the_key_varies(sample: list[str]) -> None:
    for at in range(3, 45):
        counts = Counter(key[at] for key in sample)
        expected = SAMPLE / 62
        assert sum((counts[character] - expected) ** 2 / expected for character in LETTERS_AND_DIGITS) < 250
