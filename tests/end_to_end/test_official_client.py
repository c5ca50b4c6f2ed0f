"""Everything that `/v1/chat/completions` promises, through the vendor's own client and the real Claude Code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from asking import ask, said, stream, user
from gateways import Gateway
from making import texts

from claude_code_api.stand_in import StandIn, api_key, script

ClientFor = Callable[..., openai.OpenAI]


@pytest.fixture(scope="module")
def lenient(start_gateway: Any) -> Iterator[Gateway]:
    with start_gateway(unsupported_parameters="ignore", model_aliases="house=haiku,gpt-4o=opus") as gateway:
        yield gateway


def model_sent(stand_in: StandIn) -> str:
    return str(stand_in.requests[-1].body["model"])


def images_sent(stand_in: StandIn) -> list[list[Any]]:
    """The images of each turn of the user's that went upstream."""
    turns = [turn["content"] for turn in stand_in.requests[-1].body["messages"] if turn["role"] == "user"]
    return [
        [block["source"] for block in turn if isinstance(block, dict) and block["type"] == "image"] for turn in turns
    ]


class TestAnswers:
    def test_a_whole_answer_has_its_text_its_end_and_its_cost(self, client: openai.OpenAI) -> None:
        answer = ask(client, script(text="Good morning"))
        (choice,) = answer.choices
        assert (choice.message.role, choice.message.content, choice.finish_reason) == (
            "assistant", "Good morning", "stop",
        )  # fmt: skip
        assert answer.object == "chat.completion"
        assert answer.model.startswith("claude-haiku")
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0

    def test_a_stream_begins_with_the_role_and_ends_with_its_reason(self, client: openai.OpenAI) -> None:
        chunks = stream(client, script(chunks=["Good ", "morn", "ing"]))
        assert said(chunks) == "Good morning"
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
        assert len({chunk.id for chunk in chunks}) == 1
        assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
        assert not any(chunk.usage for chunk in chunks)

    def test_a_stream_comes_as_it_is_said_and_not_at_its_end(self, client: openai.OpenAI) -> None:
        with ask(client, script(tokens=5, pause=0.2), stream=True) as chunks:
            times = [time.monotonic() for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
        assert len(times) == 5
        assert times[-1] - times[0] > 0.6

    def test_usage_comes_last_in_a_stream_that_asks_for_it(self, client: openai.OpenAI) -> None:
        counts = {
            "input_tokens": 11,
            "output_tokens": 7,
            "cache_read_input_tokens": 5,
            "cache_creation_input_tokens": 3,
        }
        question = script(text="Hi", usage=counts)
        *others, last = stream(client, question, stream_options={"include_usage": True})
        assert not any(chunk.usage for chunk in others)
        assert last.choices == []
        whole = ask(client, question)
        for usage in (last.usage, whole.usage):
            assert usage.completion_tokens_details.reasoning_tokens == 0
            assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (19, 7, 26)
            assert usage.prompt_tokens_details.cached_tokens == 5

    def test_thinking_that_was_asked_for_is_shown_counted_and_may_come_back(
        self, client: openai.OpenAI, stand_in: StandIn
    ) -> None:
        question = script(thinking="let me see", text="Yes")
        first = ask(client, question, reasoning_effort="high").choices[0].message
        assert (first.reasoning_content, first.content) == ("let me see", "Yes")
        history = [{"role": "user", "content": question}, first.to_dict(), {"role": "user", "content": question}]
        chunks = stream(client, history, reasoning_effort="high", stream_options={"include_usage": True})
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "let me see"
        assert chunks[-1].usage.completion_tokens_details.reasoning_tokens == 3
        one, other = stand_in.requests
        assert one.headers["x-claude-code-session-id"] == other.headers["x-claude-code-session-id"]
        assert "reasoning_content" not in str(other.body)
        assert not hasattr(ask(client, question).choices[0].message, "reasoning_content")

    @pytest.mark.parametrize(
        ("reason", "told"),
        [("max_tokens", "length"), ("refusal", "content_filter"), ("stop_sequence", "stop")],
    )
    def test_it_tells_why_an_answer_ended(self, client: openai.OpenAI, reason: str, told: str) -> None:
        question = script(text="So far", stop_reason=reason)
        answer, chunks = ask(client, question), stream(client, question)
        assert (said(answer), answer.choices[0].finish_reason) == ("So far", told)
        assert (said(chunks), chunks[-1].choices[0].finish_reason) == ("So far", told)

    async def test_the_asynchronous_client_is_served_as_well(self, gateway: Gateway) -> None:
        async with gateway.async_client(gateway.key()) as client:
            chunks = await client.chat.completions.create(
                model="haiku", messages=[{"role": "user", "content": script(text="Grüß dich")}], stream=True
            )
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in chunks]) == "Grüß dich"

    def test_both_kinds_of_credential_answer(self, client_for: ClientFor, stand_in: StandIn) -> None:
        assert said(ask(client_for("direct", token=api_key("direct")), script(text="Yes"))) == "Yes"
        assert stand_in.requests[-1].account == api_key("direct")

    @pytest.mark.policy("N1")
    def test_the_self_signed_certificate_can_be_trusted_by_name(self, gateway: Gateway) -> None:
        http_client = openai.DefaultHttpxClient(verify=gateway.tls())
        with gateway.client(gateway.key(), base_url=f"{gateway.https_url}/v1", http_client=http_client) as client:
            assert said(stream(client, script(text="Sealed"))) == "Sealed"

    @pytest.mark.policy("N1")
    def test_the_self_signed_certificate_is_refused_by_those_who_do_not_trust_it(self, gateway: Gateway) -> None:
        with (
            gateway.client("sk-x", base_url=f"{gateway.https_url}/v1") as client,
            pytest.raises(openai.APIConnectionError),
        ):
            client.models.list()


class TestMessages:
    def test_system_and_developer_messages_at_the_head_are_the_system_prompt(
        self, client: openai.OpenAI, stand_in: StandIn
    ) -> None:
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "developer", "content": "Be brief."},
            user("Hi"),
        ]
        ask(client, messages)
        assert stand_in.requests[-1].body["system"][-1]["text"] == "Be kind.\n\nBe brief."
        assert texts(stand_in.requests[-1]) == [("user", ["Hi"])]

    def test_without_a_system_prompt_none_is_sent(self, client: openai.OpenAI, stand_in: StandIn) -> None:
        ask(client)
        shown = str(stand_in.requests[-1].body.get("system"))
        assert len(shown) < 600, shown

    def test_later_ones_stay_in_their_place(self, client: openai.OpenAI, stand_in: StandIn) -> None:
        messages = [
            user("One"),
            {"role": "assistant", "content": "Two"},
            {"role": "system", "content": "Now in French."},
            user("Three"),
        ]
        ask(client, messages)
        assert texts(stand_in.requests[-1]) == [
            ("user", ["One"]),
            ("assistant", ["Two"]),
            ("user", ["<system>\nNow in French.\n</system>", "Three"]),
        ]

    def test_many_turns_go_upstream_as_native_turns(self, client: openai.OpenAI, stand_in: StandIn) -> None:
        turns = [f"Turn {number}" for number in range(9)]
        messages = [{"role": "assistant" if n % 2 else "user", "content": turn} for n, turn in enumerate(turns)]
        assert said(stream(client, messages)).startswith("I see 9 turns")
        sent = texts(stand_in.requests[-1])
        assert sent == [("assistant" if n % 2 else "user", [turn]) for n, turn in enumerate(turns)]

    def test_a_second_turn_refers_to_the_first(self, client: openai.OpenAI) -> None:
        messages = [user("My name is Ada.")]
        messages.append({"role": "assistant", "content": said(stream(client, messages))})
        messages.append(user(script(echo="first")))
        assert "Ada" in said(ask(client, messages))

    def test_empty_past_turns_are_left_out_and_a_first_one_of_the_assistant_gets_a_beginning(
        self, client: openai.OpenAI, stand_in: StandIn
    ) -> None:
        ask(client, [{"role": "assistant", "content": "Welcome"}, user(" \n"), user("Hi")])
        assert texts(stand_in.requests[-1]) == [
            ("user", ["(The conversation begins.)"]),
            ("assistant", ["Welcome"]),
            ("user", ["Hi"]),
        ]

    def test_an_image_reaches_the_model(self, client: openai.OpenAI, stand_in: StandIn, png: str) -> None:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}", "detail": "high"}}
        answer = ask(client, [user({"type": "text", "text": "What is this?"}, image)])
        assert said(answer).endswith("With it came an image/png of 16×16 pixels.")
        assert images_sent(stand_in) == [[{"type": "base64", "media_type": "image/png", "data": png}]]

    def test_an_image_of_a_past_turn_is_there_too(self, client: openai.OpenAI, stand_in: StandIn, png: str) -> None:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
        text = {"type": "text", "text": "Look"}
        ask(client, [user(text, image), {"role": "assistant", "content": "I see."}, user("And now?")])
        assert images_sent(stand_in) == [[{"type": "base64", "media_type": "image/png", "data": png}], []]

    def test_unknown_fields_and_neutral_values_are_accepted(self, client: openai.OpenAI) -> None:
        more = {"n": 1, "logprobs": False, "presence_penalty": 0, "tools": [], "extra_body": {"new_field": {"a": 1}}}
        assert said(ask(client, script(text="Fine"), user="anna@example", metadata={"a": "b"}, **more)) == "Fine"


class TestSampling:
    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_a_limit_of_tokens_ends_the_answer(self, client: openai.OpenAI, stand_in: StandIn, name: str) -> None:
        answer = ask(client, script(tokens=30), **{name: 4})
        assert stand_in.requests[-1].body["max_tokens"] == 4
        assert (len(said(answer).split()), answer.choices[0].finish_reason) == (4, "length")

    @pytest.mark.parametrize("stop", ["END", ["never", "END"]])
    def test_a_stop_sequence_ends_the_answer_before_it(self, client: openai.OpenAI, stop: Any) -> None:
        answer = ask(client, script(text="One two END three"), stop=stop)
        assert (said(answer).strip(), answer.choices[0].finish_reason) == ("One two", "stop")

    @pytest.mark.parametrize(("given", "sent"), [({"temperature": 0.25}, 0.25), ({"temperature": 1.7}, 1.0)])
    def test_temperature_reaches_the_model(
        self, client: openai.OpenAI, stand_in: StandIn, given: dict[str, Any], sent: float
    ) -> None:
        ask(client, model="claude-haiku-4-5", **given)
        assert stand_in.requests[-1].body["temperature"] == sent

    def test_top_p_reaches_the_model(self, client: openai.OpenAI, stand_in: StandIn) -> None:
        ask(client, model="claude-haiku-4-5", top_p=0.5)
        assert stand_in.requests[-1].body["top_p"] == 0.5

    def test_together_with_temperature_top_p_is_left_out(self, client: openai.OpenAI, stand_in: StandIn) -> None:
        assert said(ask(client, script(text="Both"), model="claude-haiku-4-5", temperature=0.5, top_p=0.5)) == "Both"
        body = stand_in.requests[-1].body
        assert (body["temperature"], "top_p" in body) == (0.5, False)

    @pytest.mark.parametrize("name", ["temperature", "top_p"])
    def test_a_model_that_takes_no_sampling_says_so_by_name(self, client: openai.OpenAI, name: str) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            ask(client, model="claude-opus-4-8", **{name: 0.5})
        assert raised.value.param == name

    def test_unless_the_operator_prefers_to_leave_it_out(
        self, lenient: Gateway, client_for: ClientFor, stand_in: StandIn
    ) -> None:
        client = client_for(gateway=lenient)
        answer = ask(client, script(text="Still"), model="claude-opus-4-8", temperature=0.5, top_p=0.5, seed=7)
        assert said(answer) == "Still"
        assert not {"temperature", "top_p"} & set(stand_in.requests[-1].body)

    def test_the_user_is_sent_to_nobody(self, client: openai.OpenAI, stand_in: StandIn) -> None:
        ask(client, user="person-4711")
        assert "person-4711" not in str(stand_in.requests[-1].body)


class TestModels:
    @pytest.mark.parametrize(
        ("asked", "sent"),
        [
            ("sonnet", "claude-sonnet"),
            ("opus", "claude-opus"),
            ("haiku", "claude-haiku"),
            ("claude-opus-4-1", "claude-opus-4-1"),
            ("gpt-4o", "claude-sonnet"),
            ("gpt-4o-mini", "claude-haiku"),
        ],
    )
    def test_names_of_every_kind_are_understood(
        self, client: openai.OpenAI, stand_in: StandIn, asked: str, sent: str
    ) -> None:
        answer = ask(client, model=asked)
        assert model_sent(stand_in).startswith(sent)
        assert answer.model == model_sent(stand_in)

    @pytest.mark.parametrize(("asked", "sent"), [("house", "claude-haiku"), ("gpt-4o", "claude-opus")])
    def test_the_operators_own_names_come_first(
        self, lenient: Gateway, client_for: ClientFor, stand_in: StandIn, asked: str, sent: str
    ) -> None:
        ask(client_for(gateway=lenient), model=asked)
        assert model_sent(stand_in).startswith(sent)

    @pytest.mark.parametrize("model", ["llama-3", "claude-none-9"])
    def test_an_unknown_one_is_not_found(self, client: openai.OpenAI, model: str) -> None:
        with pytest.raises(openai.NotFoundError) as raised:
            ask(client, model=model)
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")

    def test_the_list_is_claude_codes_own_and_each_of_it_can_be_asked_for(self, client: openai.OpenAI) -> None:
        listed = {model.id: model for model in client.models.list()}
        assert {"sonnet", "opus", "haiku"} <= set(listed)
        assert {model.object for model in listed.values()} == {"model"}
        assert client.models.retrieve("sonnet") == listed["sonnet"]
        with pytest.raises(openai.NotFoundError, match="llama-3") as raised:
            client.models.retrieve("llama-3")
        assert raised.value.code == "model_not_found"

    def test_a_key_for_one_model_may_use_no_other(self, client_for: ClientFor, stand_in: StandIn) -> None:
        client = client_for(models=["haiku"])
        assert [model.id for model in client.models.list()] == ["haiku"]
        assert said(ask(client, script(text="Mine"))) == "Mine"
        stand_in.clear()
        with pytest.raises(openai.PermissionDeniedError) as raised:
            ask(client, model="opus")
        assert raised.value.code == "model_not_allowed"
        assert stand_in.requests == []
