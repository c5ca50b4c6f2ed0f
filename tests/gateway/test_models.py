"""Names of models: each leads to the name that Claude Code knows, or is said not to exist."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.errors import NotFound
from claude_code_api.gateway.models import DEFAULT_NAMES, Catalogue, allowed

LISTED: list[dict[str, Any]] = [
    {"value": "default", "displayName": "Default (recommended)", "description": "Sonnet"},
    {"value": "sonnet", "displayName": "Sonnet"},
    {"value": "opus[1m]", "displayName": "Opus, long"},
    {"value": "haiku"},
    {"value": "haiku"},
    {"displayName": "no value"},
    {"value": 5},
]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-4o", "sonnet"),
        ("gpt-4o-2024-11-20", "sonnet"),
        ("gpt-4.1", "sonnet"),
        ("gpt-4", "sonnet"),
        ("gpt-5", "sonnet"),
        ("gpt-5.1-codex", "sonnet"),
        ("chatgpt-4o-latest", "sonnet"),
        ("gpt-4o-mini", "haiku"),
        ("gpt-4.1-nano", "haiku"),
        ("gpt-5-mini-2025-08-07", "haiku"),
        ("o4-mini", "haiku"),
        ("codex-mini-latest", "haiku"),
        ("gpt-3.5-turbo", "haiku"),
        ("o1", "opus"),
        ("o3", "opus"),
        ("o1-preview", "opus"),
        ("o3-pro-2025-06-10", "opus"),
        ("gpt-5-pro", "opus"),
    ],
)
def test_openais_names_lead_to_claudes(name: str, model: str) -> None:
    assert Catalogue().resolve(name) == model


@pytest.mark.parametrize("name", [*DEFAULT_NAMES, "claude-sonnet-4-5", "claude-opus-4-1-20250805", "claude-opus-5[1m]"])
def test_claudes_names_pass_as_they_are(name: str) -> None:
    assert Catalogue().resolve(name) == name


def test_names_that_claude_code_lists_pass_as_they_are() -> None:
    catalogue = Catalogue.of(LISTED, {})
    assert catalogue.resolve("opus[1m]") == "opus[1m]"
    assert catalogue.resolve("opus") == "opus"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "gpt",
        "gpt-image-1",
        "text-embedding-3-small",
        "claude",
        "claude-",
        "Claude-3",
        "claude-x --help",
        "sonnet\n",
    ],
)
def test_an_unknown_name_does_not_exist(name: str) -> None:
    with pytest.raises(NotFound) as raised:
        Catalogue().resolve(name)
    assert (raised.value.status, raised.value.code, raised.value.param) == (404, "model_not_found", "model")
    assert raised.value.message == f"The model `{name}` does not exist or you do not have access to it."


def test_the_operators_aliases_come_first_and_may_name_any_known_model() -> None:
    catalogue = Catalogue(aliases={"gpt-4o": "opus", "fast": "gpt-4o-mini", "sonnet": "claude-sonnet-4-5"})
    assert catalogue.resolve("gpt-4o") == "opus"
    assert catalogue.resolve("fast") == "haiku"
    assert catalogue.resolve("sonnet") == "claude-sonnet-4-5"


def test_an_alias_for_nothing_known_is_neither_listed_nor_found() -> None:
    catalogue = Catalogue(aliases={"broken": "llama"})
    assert "broken" not in [model.id for model in catalogue.listed()]
    with pytest.raises(NotFound, match="`broken`"):
        catalogue.resolve("broken")


def test_the_list_is_claude_codes_own_and_then_the_aliases() -> None:
    catalogue = Catalogue.of(LISTED, {"gpt-4o": "opus", "haiku": "sonnet"})
    assert [model.id for model in catalogue.listed()] == ["default", "sonnet", "opus[1m]", "haiku", "gpt-4o"]


def test_there_is_a_list_before_claude_code_has_been_asked() -> None:
    assert [model.id for model in Catalogue.of([], {}).listed()] == list(DEFAULT_NAMES)


def test_a_limited_key_sees_what_it_may_use_alone() -> None:
    catalogue = Catalogue.of(LISTED, {"fast": "haiku", "best": "opus"})
    assert [model.id for model in catalogue.listed({"haiku"})] == ["haiku", "fast"]
    assert catalogue.find("gpt-4o-mini", {"haiku"}).id == "gpt-4o-mini"
    with pytest.raises(NotFound) as raised:
        catalogue.find("best", {"haiku"})
    assert raised.value.code == "model_not_found"


def test_every_listed_model_is_found() -> None:
    catalogue = Catalogue.of(LISTED, {"fast": "haiku"})
    assert [catalogue.find(model.id) for model in catalogue.listed()] == catalogue.listed()


def test_a_limit_counts_for_the_name_given_and_the_name_meant() -> None:
    assert allowed((), "gpt-4o", "sonnet")
    assert allowed({"gpt-4o"}, "gpt-4o", "sonnet")
    assert allowed({"sonnet"}, "gpt-4o", "sonnet")
    assert not allowed({"gpt-4o"}, "sonnet", "sonnet")
    assert not allowed({"haiku"}, "gpt-4o", "sonnet")


@given(st.text(max_size=256) | st.from_regex(r"(gpt-4|o1|claude-)[a-z0-9.-]{0,250}", fullmatch=True))
def test_any_name_leads_to_a_name_that_is_safe_to_hand_on_or_nowhere(name: str) -> None:
    try:
        resolved = Catalogue().resolve(name)
    except NotFound:
        return
    assert resolved in DEFAULT_NAMES or (resolved == name and resolved.startswith("claude-") and resolved.isprintable())
