"""The prompt cache gives what the real one would: written once, read while the prefix stays the same."""

from __future__ import annotations

from typing import Any

import pytest

from claude_code_api.stand_in.prompt_cache import PromptCache, input_tokens

MARK = {"type": "ephemeral"}
LONG = "many words " * 600  # 1650 tokens


def marked(text: str, **mark: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": MARK | mark}


def request(*messages: Any, **fields: Any) -> dict[str, Any]:
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(messages)]
    return {"model": "claude-sonnet-5", "messages": turns} | fields


def figures(usage: dict[str, Any]) -> tuple[int, int, int]:
    return usage["cache_creation_input_tokens"], usage["cache_read_input_tokens"], usage["input_tokens"]


def test_without_a_mark_nothing_is_cached() -> None:
    cache = PromptCache()
    for _ in range(2):
        assert figures(cache.usage("a", request(LONG))) == (0, 0, 1651)


def test_what_was_written_is_read_the_next_time() -> None:
    cache = PromptCache()
    asked = request("Hello", system=[marked(LONG)])
    assert figures(cache.usage("a", asked)) == (1651, 0, 2)
    assert figures(cache.usage("a", asked)) == (0, 1651, 2)


def test_a_conversation_reads_its_past_and_writes_its_present() -> None:
    cache = PromptCache()
    first, second = [marked(LONG)], [marked(LONG + "!")]
    cache.usage("a", request(first))
    past = [{"type": "text", "text": LONG}]  # the mark has moved on
    assert figures(cache.usage("a", request(past, "Hi", second))) == (1652, 1651, 0)


def test_another_account_model_or_prompt_reads_nothing() -> None:
    cache = PromptCache()
    asked = request([marked(LONG)])
    cache.usage("a", asked)
    assert figures(cache.usage("b", asked)) == (1651, 0, 0)
    assert figures(cache.usage("a", asked | {"model": "claude-opus-5"})) == (1651, 0, 0)
    assert figures(cache.usage("a", request([marked("x" + LONG)])))[1] == 0
    assert figures(cache.usage("a", asked | {"tools": [{"name": "look", "input_schema": {"type": "object"}}]}))[1] == 0


def test_a_mark_on_the_whole_request_is_one_at_its_end() -> None:
    cache = PromptCache()
    asked = request(LONG, cache_control=MARK | {"ttl": "1h"})
    usage = cache.usage("a", asked)
    assert figures(usage) == (1651, 0, 0)
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 1651}
    assert figures(cache.usage("a", asked)) == (0, 1651, 0)


def test_a_short_prompt_is_not_cached() -> None:
    cache = PromptCache()
    for _ in range(2):
        assert figures(cache.usage("a", request([marked("Hello")]))) == (0, 0, 2)


def test_the_oldest_prefix_is_forgotten_and_a_used_one_kept() -> None:
    cache = PromptCache(max_prefixes=2)
    old, used, new = (request([marked(name + LONG)]) for name in ("old", "used", "new"))
    for asked in (used, old, used, new):
        cache.usage("a", asked)
    assert figures(cache.usage("a", used))[1] > 0
    assert figures(cache.usage("a", old))[1] == 0


def test_a_prefix_is_found_twenty_blocks_back_and_no_further() -> None:
    block = {"type": "text", "text": "x"}
    for added, found in ((20, True), (21, False)):
        cache = PromptCache()
        cache.usage("a", request([marked(LONG)]))
        later = [{"type": "text", "text": LONG}, *[block] * (added - 1), marked("end")]
        assert (figures(cache.usage("a", request(later)))[1] == 1651) is found


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        ({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}, 1600),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 1600}}, 101),
        ({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x" * 400}]}, 109),
    ],
)
def test_every_kind_of_block_counts(block: dict[str, Any], tokens: int) -> None:
    assert input_tokens(request([block])) == tokens
