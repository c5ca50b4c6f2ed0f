"""Prices by model and date; what nobody knows the price of has no cost, which is not 0."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from claude_code_api.conversation import Usage
from claude_code_api.errors import WrongSetting
from claude_code_api.usage.prices import Prices

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EVERY_KIND = Usage(
    input_tokens=1000, output_tokens=100, cache_read_input_tokens=10_000, cache_creation_input_tokens=3000,
    cache_creation_1h_input_tokens=1000, reasoning_tokens=40,
)  # fmt: skip
OWN = """
[[price]]
models = ["claude-sonnet-5-5", "in-house"]
input = 1
output = 2

[[price]]
models = ["in-house"]
since = 2026-06-01
input = 10
output = 20
cache_read = 0

[[price]]
models = ["in-house"]
since = 2026-06-01
prompt_above = 200_000
input = 100
output = 200
"""


@pytest.fixture
def own(tmp_path: Path) -> Prices:
    path = tmp_path / "prices.toml"
    path.write_text(OWN)
    return Prices.load(path)


def test_each_kind_of_token_has_its_price() -> None:
    # $2 a million in, $10 out, $0.10 read, $2.50 and $4 written; thinking is part of what comes out
    dollars = (1000 * 2 + 100 * 10 + 10_000 * 0.1 + 2000 * 2.5 + 1000 * 4) / 1_000_000
    assert Prices.load().cost("claude-sonnet-5-5", EVERY_KIND, NOW) == round(dollars * 10**9)


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929[1m]"])
def test_a_model_has_one_price_under_all_of_its_names(name: str) -> None:
    assert Prices.load().cost(name, Usage(input_tokens=1), NOW) == 3000
    assert Prices.load().knows(name)


def test_a_model_without_a_price_has_no_cost_unless_nothing_was_used() -> None:
    prices = Prices.load()
    for name in ("claude-sonnet-9", "", "claude-sonnet-4-5-extra"):
        assert prices.cost(name, Usage(input_tokens=1), NOW) is None
        assert prices.cost(name, Usage(), NOW) == 0
        assert not prices.knows(name)


def test_an_operators_price_counts_before_ours_and_from_its_day_on(own: Prices) -> None:
    one = Usage(input_tokens=1, cache_read_input_tokens=10)
    assert own.cost("claude-sonnet-5-5", one, NOW) == 2000
    assert own.cost("claude-haiku-4-5", one, NOW) == 2000
    assert own.cost("in-house", one, datetime(2026, 5, 31, 23, 59, tzinfo=UTC)) == 2000
    assert own.cost("in-house", one, NOW) == 10_000


def test_long_prompts_may_have_prices_of_their_own(own: Prices) -> None:
    at, above = Usage(input_tokens=100_000, cache_read_input_tokens=100_000), Usage(input_tokens=200_001)
    assert own.cost("in-house", at, NOW) == 100_000 * 10_000
    assert own.cost("in-house", above, NOW) == 200_001 * 100_000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("price = 3", "price"),
        ("[[price]]\nmodels = ['a']\ninput = 1", "output"),
        ("[[price]]\nmodels = ['a']\ninput = -1\noutput = 1", "input"),
        ("[[price]]\nmodels = ['a']\ninput = 1\noutput = 1\ncache = 1", "cache"),
        ("[[price]]\nmodels = []\ninput = 1\noutput = 1", "models"),
        ("[[price]]\nmodels = ['a']\ninput = 1\noutput = 1\nsince = 'May'", "since"),
        ("[[price", "at end of document"),
    ],
)
def test_a_wrong_table_is_refused_and_the_fault_named(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(WrongSetting, match=rf"prices_file.*prices\.toml.*{fault}"):
        Prices.load(path)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongSetting, match="No such file"):
        Prices.load(tmp_path / "none.toml")
