"""A secret is shown by nothing but `reveal`."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.secret import Secret

TEXT = "Canary" * 10 + "tail"


@pytest.mark.policy("T1")
def test_no_text_form_shows_more_than_the_end() -> None:
    secret = Secret(TEXT)
    forms = [str(secret), repr(secret), f"{secret}", f"{secret!r:>60}", "%s %r" % (secret, secret)]  # noqa: UP031
    forms += [str([secret]), str({"a": (secret,)}), str(ValueError(secret))]
    forms.append(logging.LogRecord("a", logging.INFO, "", 0, "%s", (secret,), None).getMessage())
    assert [form for form in forms if "Canary" in form] == []
    assert all("…tail" in form for form in forms)


@pytest.mark.policy("T1")
@given(st.text())
def test_the_hint_is_four_characters_at_most_and_none_of_a_short_one(text: str) -> None:
    hint = Secret(text).hint
    assert hint == (text[-4:] if len(text) >= 24 else "")
    assert len(hint) * 6 <= len(text)


def test_a_secret_cannot_leave_by_accident() -> None:
    secret = Secret(TEXT)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, vars):
        with pytest.raises(TypeError):
            leave(secret)
    with pytest.raises(AttributeError):
        secret.other = 1  # type: ignore[attr-defined]


def test_only_reveal_gives_the_text() -> None:
    assert Secret(TEXT).reveal() == TEXT


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) is (one == other)
    assert hash(Secret(one)) == hash(Secret(one))
    assert bool(Secret(one)) is bool(one)


def test_a_secret_is_never_equal_to_its_text() -> None:
    assert Secret(TEXT) != TEXT
    assert Secret(TEXT).__eq__(TEXT) is NotImplemented
