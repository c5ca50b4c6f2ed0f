"""Redaction: no secret is left, by its form, its name or its type; and all else stays."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.operations.redaction import DEEPEST, LONGEST, MOST, REDACTED, redact, redacted
from claude_code_api.secret import Secret

MARK = "Canary7Canary7Canary7Canary7Canary7Canary7Canary7"
OAUTH = "sk-ant-oat01-" + MARK
FORMS = {
    "OAuth token": OAUTH,
    "Anthropic API key": "sk-ant-api03-" + MARK,
    "another token of Anthropic's": "sk-ant-sid01-" + MARK,
    "API key of ours": "sk-" + MARK[:48],
    "API key of OpenAI's": "sk-proj-" + MARK,
    "admin token": "adm-" + MARK,
    "signed token": f"eyJ{MARK}.eyJ{MARK}.{MARK}",
    "private key": f"-----BEGIN EC PRIVATE KEY-----\n{MARK}\n{MARK}\n-----END EC PRIVATE KEY-----",
    "private key cut off": f"-----BEGIN PRIVATE KEY-----\n{MARK}",
    "bearer": f"Bearer {MARK}",
    "bearer in a URL": f"bearer%20{MARK}",
    "basic": f"Basic {MARK}==",
    "basic without a digit": "Basic " + base64.b64encode(b"Canary7:Canary7Canary7").decode(),
    "header": f"x-api-key: {MARK}",
    "header of several words": f"Authorization: Negotiate {MARK}",
    "cookie": f"cookie: theme=dark; __Host-session={MARK}",
    "headers of a server": f"[(b'x-api-key', b'{MARK}')]",
    "JSON": json.dumps({"password": f"{MARK} {MARK}"}),
    "JSON in JSON": json.dumps(json.dumps({"api_key": MARK})),
    "environment": f"ANTHROPIC_API_KEY={MARK}",
    "query": f"/callback?access_token={MARK}&state=1",
    "URL": f"postgresql+asyncpg://gateway:{MARK}@database/gateway",
    "URL with a slash in its password": f"redis://gateway:{MARK}/{MARK}@cache/0",
    "URL with a name alone": f"https://{MARK}@proxy:3128",
    "percent-encoded": f"sk%2Dant%2Doat01%2D{MARK}",
    "percent-encoded twice": f"sk%252dant%252doat01%252d{MARK}",
    "escaped": f"sk\\u002dant\\u002doat01\\u002d{MARK}",
    "hex": OAUTH.encode().hex(),
    "hex in capitals": OAUTH.encode().hex().upper(),
}
COVERS = ["{}", "x {} y", "({})", '"{}"', "'{}'", "a={}", "line\n{}\nline", "ключ:{}", "{{'a': {}}}", "%22{}%22"]

marks = ("Canary7", base64.b64encode(b"Canary7")[1:-3].decode(), b"Canary7".hex(), b"Canary7".hex().upper())


def holds_a_mark(text: str) -> bool:
    return any(mark in text for mark in marks)


@pytest.mark.policy("T4")
@pytest.mark.parametrize("cover", COVERS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_secret_of_a_known_form_is_left(form: str, cover: str) -> None:
    assert holds_a_mark(form) or "Basic" in form
    shown = redact(cover.format(form))
    assert not holds_a_mark(shown)
    assert form.rpartition(" ")[2] not in shown
    assert REDACTED in shown


@pytest.mark.policy("T4")
@given(st.binary(max_size=5), st.binary(max_size=5))
def test_no_base64_of_a_token_is_left(before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = redact(encode(before + OAUTH.encode() + after).decode())
        assert len(shown.removesuffix(REDACTED)) < 12  # what stood before the token, and a part of its first letters


@pytest.mark.policy("T4")
@given(st.text(), st.sampled_from(sorted(FORMS.values())), st.text())
def test_no_text_around_a_secret_lets_it_through(before: str, form: str, after: str) -> None:
    assert not holds_a_mark(redact(f"{before} {form} {after}"))
    assert not holds_a_mark(redact(quote(f"{before} {OAUTH} {after}")))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_redacting_again_changes_nothing(form: str) -> None:
    assert redact(redact(form)) == redact(form)


@pytest.mark.parametrize(
    "text",
    [
        "POST /v1/chat/completions 200",
        "input_tokens=12 max_tokens: 5",
        "The setting port is '99999': it must be a whole number from 0 to 65535.",
        "This is no OAuth token (sk-ant-oat01-…, from `claude setup-token`).",
        "/dev/disk-by-id/ata and a risk-assessment-of-the-whole",
        "basic usage of it",
        "https://api.anthropic.com/v1/messages?beta=true",
        "claude-sonnet-4-5-20250929",
        "user@example.com",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_names_stay_so_that_a_line_can_be_understood() -> None:
    assert redact(f"x-api-key: {MARK}, host: a") == f"x-api-key: {REDACTED}, host: a"
    assert redact(f"Bearer {MARK} was refused") == f"Bearer {REDACTED} was refused"
    assert redact(f"http://a:{MARK}@b/c") == f"http://{REDACTED}b/c"


@pytest.mark.parametrize(
    "piece",
    ["a", "sk-", "token_", "://a:", "token='\\", "bearer ", "eyJ", "eyJaaaaaaaa.", "%25", "-----BEGIN", "sk%25"],
)
def test_hostile_text_takes_no_longer_than_its_length_asks_for(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 2  # hours, were the time to grow with the square of the length


# --- values ---------------------------------------------------------------------------------------------


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError(OAUTH)


class BrokenMapping(Mapping[str, str]):
    def __getitem__(self, name: str) -> str:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter("ab")

    def __len__(self) -> int:
        return 2


secrets: list[Callable[[], Any]] = [
    lambda: Secret("X" * 30 + MARK + "tail"),
    lambda: OAUTH,
    lambda: OAUTH.encode(),
    lambda: bytearray(OAUTH.encode()),
    lambda: memoryview(OAUTH.encode()),
    lambda: b"\xff\xfe" + OAUTH.encode(),
    lambda: ValueError(OAUTH),
    lambda: type("Holder", (), {"__repr__": lambda _: OAUTH})(),
    lambda: {"password": MARK},
    lambda: {b"Authorization": MARK.encode()},
    lambda: (b"x-api-key", MARK.encode()),
    lambda: {"cookies": 1, "api_key": {"any": [MARK]}},
    lambda: {OAUTH: OAUTH},
]
nested = st.recursive(
    st.sampled_from(secrets).map(lambda make: make()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from(["a", "b", OAUTH]), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.policy("T4")
@given(nested)
def test_no_secret_is_left_in_any_nesting(value: Any) -> None:
    assert not holds_a_mark(json.dumps(redacted(value)))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary()
    | st.complex_numbers() | st.builds(Broken) | st.builds(BrokenMapping) | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.binary(), inner) | st.tuples(inner),
    max_leaves=10,
)  # fmt: skip


@given(anything)
def test_any_value_becomes_json_and_plain_ones_stay(value: Any) -> None:
    shown = redacted(value)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    if value is None or isinstance(value, bool):
        assert shown is value
    if isinstance(value, int) and abs(value) < 2**63:
        assert shown == value


def test_a_broken_value_shows_its_type_and_nothing_else() -> None:
    assert redacted([1, Broken(), 2]) == [1, "<Broken that cannot be shown>", 2]
    assert redacted({"a": BrokenMapping()}) == {"a": "<BrokenMapping that cannot be shown>"}


def test_what_json_has_no_number_for_becomes_text() -> None:
    assert redacted([2**63, float("nan"), float("-inf")]) == ["9223372036854775808", "nan", "-inf"]
    assert redacted(10**5000) == "<int that cannot be shown>"  # Python refuses to write it out


def test_long_wide_and_endless_values_are_cut_short() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    shown = json.dumps(redacted(endless))
    assert shown.count("1") == DEEPEST
    assert redacted("a" * (LONGEST + 1)) == "a" * LONGEST + "…"
    assert len(redacted(range(10**6).__repr__() and list(range(10**6)))) == MOST
    assert len(redacted({n: n for n in range(1000)})) == MOST


def test_a_secret_keeps_its_hint_even_under_a_secret_name() -> None:
    assert redacted({"token": Secret("a" * 40 + "wxyz"), "password": None}) == {
        "token": "Secret(…wxyz)",
        "password": None,
    }
