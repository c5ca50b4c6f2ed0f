"""Answers, whole and streamed, have the shapes that OpenAI's clients expect, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from claude_code_api.conversation import Accepted, Event, Finished, RateLimitStatus, Started, TextDelta, Usage
from claude_code_api.dialects.openai_chat import Answer, completion, error, model_card, model_list
from claude_code_api.errors import InternalError, InvalidRequest, Overloaded, RequestFailure
from claude_code_api.gateway.models import Model

Client = Callable[..., openai.OpenAI]
Chunks = Callable[[bytes], list[ChatCompletionChunk]]

USAGE = Usage(input_tokens=10, output_tokens=5, cache_read_input_tokens=100, cache_creation_input_tokens=20)


def events(*texts: str, stop_reason: str = "end_turn") -> list[Event]:
    return [
        Accepted(),
        RateLimitStatus(status="allowed"),
        Started("claude-sonnet-4-5"),
        *map(TextDelta, texts),
        Finished(stop_reason=stop_reason, usage=USAGE),  # type: ignore[arg-type]
    ]


def streamed(told: Iterable[Event], include_usage: bool = False) -> bytes:
    answer = Answer("chatcmpl-1", 1700000000, include_usage, "sonnet")
    return b"".join(map(answer.chunk, told)) + Answer.DONE


ENVELOPE = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"claude-sonnet-4-5",'
    '"system_fingerprint":null,"choices":['
)
"""What every chunk begins with, `…` in the snapshots."""


def lines_of(body: bytes) -> list[str]:
    return body.decode().replace(ENVELOPE, "…").split("\n")


def test_a_whole_answer() -> None:
    body = completion("chatcmpl-1", 1700000000, "sonnet", events("Hel", "lo."))
    assert msgspec.json.decode(body) == snapshot(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "claude-sonnet-4-5",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello.", "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 130,
                "completion_tokens": 5,
                "total_tokens": 135,
                "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "system_fingerprint": None,
        }
    )


def test_a_streamed_answer() -> None:
    assert lines_of(streamed(events("Hel", "lo."))) == snapshot(
        [
            '…{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}',
            "",
            '…{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}]}',
            "",
            '…{"index":0,"delta":{"content":"lo."},"logprobs":null,"finish_reason":null}]}',
            "",
            '…{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}',
            "",
            "data: [DONE]",
            "",
            "",
        ]
    )


def test_a_streamed_answer_with_usage() -> None:
    *before, usage, empty, done, _, _ = lines_of(streamed(events("Hi"), include_usage=True))
    assert before == snapshot(
        [
            '…{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}',
            "",
            '…{"index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}],"usage":null}',
            "",
            '…{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}',
            "",
        ]
    )
    assert (empty, done) == ("", "data: [DONE]")
    assert msgspec.json.decode(usage.replace("…", '{"choices":[')) == snapshot(
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 130,
                "completion_tokens": 5,
                "total_tokens": 135,
                "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
        }
    )


def test_an_error_in_a_stream() -> None:
    failure = Overloaded("Anthropic is overloaded.", retry_after=5)
    assert Answer("chatcmpl-1", 1, False, "sonnet").failure(failure).decode() == snapshot("""\
data: {"error":{"message":"Anthropic is overloaded.","type":"api_error","param":null,"code":"overloaded"}}

""")


def test_an_error() -> None:
    assert error(InvalidRequest("`n` is wrong.", param="n", code="invalid_value")).decode() == snapshot(
        '{"error":{"message":"`n` is wrong.","type":"invalid_request_error","param":"n","code":"invalid_value"}}'
    )


def test_models() -> None:
    assert model_card(Model("opus[1m]", 0, "anthropic")).decode() == snapshot(
        '{"id":"opus[1m]","object":"model","created":0,"owned_by":"anthropic"}'
    )
    listed = model_list([Model("opus", 0, "anthropic"), Model("haiku", 5, "me")])
    assert msgspec.json.decode(listed) == snapshot(
        {
            "object": "list",
            "data": [
                {"id": "opus", "object": "model", "created": 0, "owned_by": "anthropic"},
                {"id": "haiku", "object": "model", "created": 5, "owned_by": "me"},
            ],
        }
    )


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("tool_use", "tool_calls"),
    ],
)
def test_every_stop_reason_has_its_finish_reason_whole_and_streamed(
    chunks_of: Chunks, stop_reason: str, finish_reason: str
) -> None:
    told = events("x", stop_reason=stop_reason)
    whole = ChatCompletion.model_validate_json(completion("c", 1, "sonnet", told))
    assert whole.choices[0].finish_reason == finish_reason
    assert chunks_of(streamed(told))[-1].choices[0].finish_reason == finish_reason


def test_what_is_not_shown_makes_no_bytes() -> None:
    answer = Answer("chatcmpl-1", 1, True, "sonnet")
    assert answer.chunk(Accepted()) == b""
    assert answer.chunk(RateLimitStatus(status="rejected")) == b""
    assert answer.chunk(TextDelta("")) == b""


def test_an_answer_without_an_end_is_never_told_as_whole() -> None:
    with pytest.raises(InternalError):
        completion("chatcmpl-1", 1, "sonnet", events("Hel")[:-1])


def test_the_official_client_reads_a_whole_answer(client: Client) -> None:
    body = completion("chatcmpl-1", 1700000000, "sonnet", events("Hello"))
    with client(body, "application/json") as official:
        answer = official.chat.completions.create(model="sonnet", messages=[{"role": "user", "content": "x"}])
    assert answer.choices[0].message.content == "Hello"
    assert answer.model == "claude-sonnet-4-5"
    assert answer.usage
    assert answer.usage.prompt_tokens_details
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (130, 5, 135)
    assert answer.usage.prompt_tokens_details.cached_tokens == 100


def test_the_official_client_reads_usage_from_the_last_chunk_alone(chunks_of: Chunks) -> None:
    *before, last = chunks_of(streamed(events("Hello"), include_usage=True))
    assert last.choices == []
    assert last.usage
    assert last.usage.total_tokens == 135
    assert [chunk.usage for chunk in before] == [None] * len(before)
    assert all(chunk.usage is None for chunk in chunks_of(streamed(events("Hello"))))


def test_the_official_client_raises_on_an_error_in_the_stream(chunks_of: Chunks) -> None:
    answer = Answer("chatcmpl-1", 1, False, "sonnet")
    body = answer.chunk(Started("claude")) + answer.KEEPALIVE + answer.failure(Overloaded("Come back later."))
    with pytest.raises(openai.APIError, match=r"^Come back later\.$") as raised:
        chunks_of(body + Answer.DONE)
    assert raised.value.code == "overloaded"
    assert raised.value.type == "api_error"


def test_the_official_client_knows_the_class_of_an_error(client: Client) -> None:
    body = error(InvalidRequest("`n` is not supported.", param="n", code="unsupported_parameter"))
    with client(body, "application/json", 400) as official, pytest.raises(openai.BadRequestError) as raised:
        official.models.list()
    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", "n")


def test_the_official_client_lists_models(client: Client) -> None:
    with client(model_list([Model("opus", 0, "anthropic")]), "application/json") as official:
        assert [model.id for model in official.models.list()] == ["opus"]


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from('\n\r\u0085\u2028\u2029\x00"\\'))


@given(st.lists(texts, max_size=6), st.booleans())
def test_a_streamed_answer_put_together_is_the_whole_one(
    chunks_of: Chunks, deltas: list[str], include_usage: bool
) -> None:
    told = events(*deltas)
    whole = ChatCompletion.model_validate_json(completion("c", 1, "sonnet", told))
    chunks = chunks_of(streamed(told, include_usage))
    streamed_text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed_text == whole.choices[0].message.content == "".join(deltas)
    assert {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    assert chunks[0].choices[0].delta.role == "assistant"


@given(texts)
def test_a_chunk_is_one_line_for_every_reader_of_lines(text: str) -> None:
    lines = streamed(events(text)).decode().splitlines()
    assert [line for line in lines if line and not line.startswith("data: ")] == []


@given(texts)
def test_an_error_in_the_stream_is_one_line_whatever_its_message(text: str) -> None:
    body = Answer("c", 1, False, "m").failure(RequestFailure(text))
    assert len([line for line in body.split(b"\n") if line]) == 1
