"""Messages become a system prompt and alternating turns, every text of them kept to the letter."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.conversation import Message, Text
from claude_code_api.dialects.openai_chat import ChatRequest, Limits
from claude_code_api.dialects.openai_chat.schema import AssistantMessage, TextPart, UserMessage
from claude_code_api.dialects.openai_chat.turns import BEGINNING, read_messages
from claude_code_api.errors import InvalidRequest

Ask = Callable[..., ChatRequest]


def say(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def user(*texts: str) -> Message:
    return Message("user", tuple(map(Text, texts)))


def assistant(*texts: str) -> Message:
    return Message("assistant", tuple(map(Text, texts)))


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


def refusal(call: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        call()
    return raised.value


def test_leading_system_and_developer_messages_are_the_system_prompt(ask: Ask) -> None:
    conversation = ask(
        [say("system", "Be brief."), say("developer", parts("Use metres.", " ")), say("system", ""), say("user", "hi")]
    ).conversation
    assert conversation.system == "Be brief.\n\nUse metres."
    assert conversation.messages == (user("hi"),)


def test_later_ones_stay_in_their_place_as_marked_text(ask: Ask) -> None:
    conversation = ask(
        [
            say("user", "hi"),
            say("developer", "Now in French."),
            say("assistant", "salut"),
            say("system", parts("Be brief.", "Be kind.")),
        ]
    ).conversation
    assert conversation.system == ""
    assert conversation.messages == (
        user("hi", "<system>\nNow in French.\n</system>"),
        assistant("salut"),
        user("<system>\nBe brief.\n</system>", "<system>\nBe kind.\n</system>"),
    )


def test_neighbours_of_one_role_are_one_turn_of_separate_blocks(ask: Ask) -> None:
    messages = [say("user", "a"), say("user", parts("b", "c")), say("assistant", "d"), say("assistant", "e")]
    conversation = ask([*messages, say("user", "f")]).conversation
    assert conversation.messages == (user("a", "b", "c"), assistant("d", "e"), user("f"))


def test_empty_turns_are_left_out_and_their_neighbours_joined(ask: Ask) -> None:
    conversation = ask(
        [
            say("user", "a"),
            say("assistant", None),
            say("user", parts(" \n", "b")),
            say("assistant", ""),
            say("user", []),
        ]
    ).conversation
    assert conversation.messages == (user("a", "b"),)


def test_a_history_that_begins_with_the_assistant_gets_a_users_turn_first(ask: Ask) -> None:
    conversation = ask([say("system", "s"), say("assistant", "Welcome!"), say("user", "hi")]).conversation
    assert conversation.messages == (BEGINNING, assistant("Welcome!"), user("hi"))


def test_an_assistants_refusal_is_its_text(ask: Ask) -> None:
    conversation = ask(
        [
            say("user", "a"),
            say("assistant", [{"type": "refusal", "refusal": "No."}, *parts("Sorry.")]),
            say("user", "b"),
            say("assistant", None, refusal="Never."),
            say("user", "c"),
        ]
    ).conversation
    assert conversation.messages[1] == assistant("No.", "Sorry.")
    assert conversation.messages[3] == assistant("Never.")


def test_names_of_participants_are_ignored(ask: Ask) -> None:
    assert ask([say("user", "hi", name="Ann")]) == ask([say("user", "hi")])


@pytest.mark.parametrize(
    ("messages", "param", "words"),
    [
        ([say("user", "a"), say("assistant", "b")], "messages.1", "beginning its answer is not supported"),
        ([say("user", "a"), say("assistant", "b"), say("user", "  ")], "messages.2", "the last message is empty"),
        ([say("user", "")], "messages", "no message of a user"),
        ([say("system", "a")], "messages", "no message of a user"),
    ],
)
def test_a_conversation_ends_with_what_there_is_to_answer(ask: Ask, messages: Any, param: str, words: str) -> None:
    fault = refusal(lambda: ask(messages))
    assert (fault.code, fault.param) == ("invalid_messages", param)
    assert fault.message.startswith("Invalid request format")
    assert words in fault.message


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (say("assistant", None, tool_calls=[{"type": "custom", "id": "1"}]), "messages.1.tool_calls.0.type"),
        (say("assistant", "x", audio={"id": "1"}), "messages.1.audio"),
        (say("user", [*parts("x"), {"type": "input_audio"}]), "messages.1.content.1.type"),
        (say("user", [{"type": "input_audio"}]), "messages.1.content.0.type"),
    ],
)
@pytest.mark.parametrize("ignore", [False, True])
def test_kinds_of_message_that_are_not_supported_are_named(ask: Ask, message: Any, param: str, ignore: bool) -> None:
    messages = [say("user", "a"), message, say("user", "b")]
    fault = refusal(lambda: ask(messages, changed={"ignore_unsupported": ignore}))
    assert (fault.code, fault.param) == ("unsupported_parameter", param)
    assert "not supported" in fault.message


def test_empty_tool_calls_are_none(ask: Ask) -> None:
    told = say("assistant", "b", tool_calls=[], function_call=None, audio=None)
    conversation = ask([say("user", "a"), told, say("user", "c")]).conversation
    assert conversation.messages[1] == assistant("b")


@pytest.mark.policy("V3")
@pytest.mark.parametrize(
    "text",
    [
        "@/etc/passwd",
        "@~/.ssh/id_rsa",
        "/cost",
        "!id",
        "#note",
        " \n@file ",
        "</system>",
        "{{x}} $HOME %s",
        "\x00\x1b[2J",
    ],
)
def test_what_looks_like_a_command_is_text_in_every_role(ask: Ask, text: str) -> None:
    conversation = ask(
        [say("system", text), say("user", text), say("assistant", text), say("system", text), say("user", parts(text))]
    ).conversation
    assert conversation.system == text
    assert conversation.messages == (user(text), assistant(text), user(f"<system>\n{text}\n</system>", text))


roles = st.sampled_from(["user", "assistant"])


@given(st.lists(st.tuples(roles, st.lists(st.text(max_size=4), max_size=3)), max_size=12))
def test_any_history_keeps_every_text_in_its_order_and_role(history: list[tuple[str, list[str]]]) -> None:
    limits = Limits(64, 100, 3, 2000, 3, 2000, remote_images=False, ignore_unsupported=False)
    told = [
        UserMessage([TextPart(text) for text in texts])
        if role == "user"
        else AssistantMessage([TextPart(text) for text in texts])
        for role, texts in history
    ]
    _, turns = read_messages([*told, UserMessage("end")], limits)
    if turns[0] == BEGINNING:
        turns = turns[1:]
    expected = [(role, text) for role, texts in history for text in texts if text.strip()] + [("user", "end")]
    assert [(turn.role, block.text) for turn in turns for block in turn.content if isinstance(block, Text)] == expected
    assert all(one.role != next_one.role for one, next_one in pairwise(turns))
