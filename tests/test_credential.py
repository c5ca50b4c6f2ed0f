"""Tokens are told apart by their form, and one of no known form is refused before anything is stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.credential import Credential, CredentialKind, kind_of
from claude_code_api.errors import InvalidRequest
from claude_code_api.secret import Secret

OAUTH = "sk-ant-oat01-"
API_KEY = "sk-ant-api03-"
tails = st.from_regex(r"[A-Za-z0-9_-]{20,500}", fullmatch=True)


@pytest.mark.policy("T5")
@given(tails)
def test_each_kind_is_known_by_its_beginning(tail: str) -> None:
    assert kind_of(Secret(OAUTH + tail)) is CredentialKind.OAUTH
    assert kind_of(Secret(API_KEY + tail)) is CredentialKind.API_KEY


@pytest.mark.policy("T5")
@pytest.mark.parametrize(
    "text",
    [
        "", "hello", OAUTH, OAUTH + "x" * 19, OAUTH + "x" * 501, "sk-ant-oat02-" + "x" * 80, "sk-ant-sid01-" + "x" * 80,
        "sk-ant-api3-" + "x" * 80, "sk-" + "x" * 48, OAUTH + "x" * 80 + "\n", " " + OAUTH + "x" * 80,
        OAUTH + "x" * 40 + " " + "x" * 40, OAUTH + "ß" * 80, OAUTH.upper() + "x" * 80,
    ],
)  # fmt: skip
def test_every_other_form_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        kind_of(Secret(text))
    assert (refused.value.code, refused.value.param) == ("invalid_credential_format", "token")
    assert "sk-ant-oat01-…" in refused.value.message
    assert "x" * 19 not in refused.value.message


@pytest.mark.policy("T1")
def test_a_credential_shows_no_token() -> None:
    credential = Credential(id="c", name="main", kind=CredentialKind.OAUTH, token=Secret(OAUTH + "Canary" * 10))
    assert "Canary" not in repr(credential)
