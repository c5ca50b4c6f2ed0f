"""Laws of the whole line, for any text: what a client says arrives as it was said, and so does the answer."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import openai
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from claude_code_api.stand_in import StandIn, script

# Each example is a real Claude Code process.
few = settings(
    max_examples=10, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

# Lone surrogates are no Unicode text: no client can send them as UTF-8.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
spaced = st.builds("".join, st.tuples(st.sampled_from(["", " ", "\n", "\t ", " "]), text, st.sampled_from(["", " \n"])))
PICTURE = {"type": "image_url", "image_url": {"url": ""}}
parts = st.lists(spaced.map(lambda said: {"type": "text", "text": said}) | st.just(PICTURE), max_size=4)
messages = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": spaced | parts})
    | st.fixed_dictionaries({"role": st.just("assistant"), "content": spaced})
    | st.fixed_dictionaries({"role": st.sampled_from(["system", "developer"]), "content": spaced}),
    max_size=8,
)


def turns_of(conversation: list[dict[str, Any]]) -> tuple[str, list[tuple[str, list[str]]]]:
    """The system prompt and the turns that a conversation is, told anew: role and texts, `image` for an image."""
    head = 0
    while head < len(conversation) and conversation[head]["role"] in ("system", "developer"):
        head += 1
    system = "\n\n".join(m["content"] for m in conversation[:head] if m["content"].strip())
    blocks = []
    for message in conversation[head:]:
        content = message["content"]
        said = [content] if isinstance(content, str) else [p.get("text", "image") for p in content]
        said = [block for block in said if block.strip()]
        if message["role"] in ("system", "developer"):
            said = [f"<system>\n{block}\n</system>" for block in said]
        blocks += [("assistant" if message["role"] == "assistant" else "user", block) for block in said]
    turns = [(role, [block for _, block in turn]) for role, turn in groupby(blocks, key=lambda pair: pair[0])]
    if turns and turns[0][0] == "assistant":
        turns.insert(0, ("user", ["(The conversation begins.)"]))
    return system, turns


def sent(stand_in: StandIn) -> tuple[str, list[tuple[str, list[str]]]]:
    """The same, as it went upstream."""
    body = stand_in.requests[-1].body
    turns = []
    for turn in body["messages"]:
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        said = [block.get("text", block["type"]) for block in blocks]
        said = [block for block in said if not block.startswith("<system-reminder>")]
        if turn["role"] != "system":
            turns.append((turn["role"], said))
    given = [block["text"] for block in body.get("system", [])]
    return given[-1], turns


def with_picture(conversation: list[dict[str, Any]], png: str) -> list[Any]:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
    return [
        message if isinstance(message["content"], str)
        else message | {"content": [picture if part is PICTURE else part for part in message["content"]]}
        for message in conversation
    ]  # fmt: skip


@few
@given(messages, spaced.filter(str.strip))
@example([{"role": "user", "content": "\x00\x01\x1b[31m\x7f\x85\u2028\u2029\ufeff\u200b\U000e0041"}], "\0")
@example([{"role": "user", "content": "a\r\nb\rc"}, {"role": "assistant", "content": " e\u0301 \u00e9 "}], "\u202ee")
@example([{"role": "system", "content": " \n kept \n "}, {"role": "user", "content": "</system>"}], "<system-reminder")
def test_any_history_comes_out_upstream_as_the_same_native_turns(
    client: openai.OpenAI, stand_in: StandIn, png: str, history: list[dict[str, Any]], question: str
) -> None:
    conversation = [*history, {"role": "user", "content": question}]
    system, turns = turns_of(conversation)
    client.chat.completions.create(model="haiku", messages=with_picture(conversation, png))
    shown, arrived = sent(stand_in)
    assert arrived == turns
    if system:
        assert shown == system


@few
@given(st.lists(text, min_size=1, max_size=12).filter(any))
@example(["\U0001f468", "\u200d", "\U0001f469", "e", "\u0301"])
@example(["", "\n", "", " ", "data: [DONE]\n\n", "\u2028", "\x00"])
def test_a_streamed_answer_put_together_equals_the_whole_one_for_any_split(
    client: openai.OpenAI, chunks: list[str]
) -> None:
    question: Any = [{"role": "user", "content": script(chunks=chunks)}]
    whole = client.chat.completions.create(model="haiku", messages=question)
    streamed = client.chat.completions.create(model="haiku", messages=question, stream=True)
    told = [chunk.choices[0].delta.content for chunk in streamed if chunk.choices]
    assert "".join(part or "" for part in told) == whole.choices[0].message.content == "".join(chunks)
