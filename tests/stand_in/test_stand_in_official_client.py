"""Anthropic's own client finds in the stand-in what it expects of the API."""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import ANY

import anthropic
import httpx2
import pytest

from claude_code_api.stand_in import StandIn, api_key, oauth_token, script

REQUEST: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 1000,
    "thinking": {"type": "adaptive", "display": "summarized"},
}
ERRORS = [
    (400, anthropic.BadRequestError),
    (401, anthropic.AuthenticationError),
    (403, anthropic.PermissionDeniedError),
    (404, anthropic.NotFoundError),
    (413, anthropic.APIStatusError),
    (429, anthropic.RateLimitError),
    (500, anthropic.InternalServerError),
    (503, anthropic.InternalServerError),
    (529, anthropic.InternalServerError),
]


def user(text: str) -> dict[str, Any]:
    return REQUEST | {"messages": [{"role": "user", "content": text}]}


def test_a_stream_has_the_events_of_the_api_in_their_order(client: anthropic.Anthropic) -> None:
    prompt = script(thinking="Well then", text="Hi there", tools=[{"name": "look", "input": {"at": "é"}}])
    kinds = []
    for event in client.messages.create(**user(prompt), stream=True):
        kind = event.type
        if event.type == "content_block_delta":
            kind += ":" + event.delta.type
        if event.type == "content_block_start":
            kind += ":" + event.content_block.type
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
    assert kinds == [
        "message_start",
        "content_block_start:thinking",
        "content_block_delta:thinking_delta",
        "content_block_delta:signature_delta",
        "content_block_stop",
        "content_block_start:text",
        "content_block_delta:text_delta",
        "content_block_stop",
        "content_block_start:tool_use",
        "content_block_delta:input_json_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_streaming_helper_puts_the_answer_together(client: anthropic.Anthropic) -> None:
    prompt = script(
        thinking="Well", text="Hi there", tools=[{"name": "look", "input": {"at": ["é", 1]}, "id": "toolu_1"}]
    )
    with client.messages.stream(**user(prompt)) as stream:
        message = stream.get_final_message()
    assert [block.to_dict() for block in message.content] == [
        {"type": "thinking", "thinking": "Well", "signature": ANY},
        {"type": "text", "text": "Hi there"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": ["é", 1]}},
    ]
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 1


def test_the_whole_answer_is_the_streamed_one(client: anthropic.Anthropic) -> None:
    prompt = script(
        thinking="Well", chunks=["H", "i ", "there"], tools=[{"name": "look", "input": {}, "id": "toolu_1"}]
    )
    with client.messages.stream(**user(prompt)) as stream:
        streamed = stream.get_final_message()
    whole = client.messages.create(**user(prompt))
    assert [block.to_dict() for block in whole.content] == [block.to_dict() for block in streamed.content]
    assert whole.usage.output_tokens == streamed.usage.output_tokens
    assert whole.stop_reason == streamed.stop_reason


async def test_the_asynchronous_client_works_in_the_same_loop() -> None:
    async with (
        StandIn() as stand_in,
        anthropic.AsyncAnthropic(api_key=api_key(), base_url=stand_in.url, max_retries=0) as client,
    ):
        async with client.messages.stream(**user("Hello")) as stream:
            text = "".join([part async for part in stream.text_stream])
        assert text == 'I see 1 turn, which says "Hello".'
        assert (await client.messages.create(**user("Hello"))).content[0].to_dict()["text"] == text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "kind"), ERRORS)
def test_every_kind_of_error_reaches_the_client_as_its_class(
    client: anthropic.Anthropic, status: int, kind: type[anthropic.APIStatusError], stream: bool
) -> None:
    with pytest.raises(kind, match="out of luck") as caught:
        client.messages.create(**user(script(status=status, message="out of luck")), stream=stream)
    body: Any = caught.value.body
    assert caught.value.status_code == status
    assert body["request_id"] == caught.value.response.headers["request-id"]
    assert body["type"] == "error"


def test_an_error_type_alone_has_its_status(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
        client.messages.create(**user(script(error_type="overloaded_error")))
    assert caught.value.status_code == 529


def test_an_error_in_mid_stream_is_an_event(client: anthropic.Anthropic) -> None:
    deltas: list[Any] = []
    stream = client.messages.create(**user(script(tokens=5, error_after=2)), stream=True)
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        deltas.extend(event for event in stream if event.type == "content_block_delta")
    assert len(deltas) == 2


def test_what_would_be_an_error_in_mid_stream_is_the_status_of_a_whole_answer(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.InternalServerError) as caught:
        client.messages.create(**user(script(tokens=5, error_after=2, error_type="api_error")))
    assert caught.value.status_code == 500


@pytest.mark.parametrize(("stream", "cut"), [(False, 0), (True, 0), (False, 2)])
def test_a_connection_cut_before_the_answer_is_an_error(client: anthropic.Anthropic, cut: int, stream: bool) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**user(script(tokens=5, cut=cut)), stream=stream)


def test_a_stream_is_cut_after_so_many_deltas(client: anthropic.Anthropic) -> None:
    deltas: list[Any] = []
    stream = client.messages.create(**user(script(tokens=5, cut=2)), stream=True)
    with pytest.raises(httpx2.RemoteProtocolError):
        deltas.extend(event for event in stream if event.type == "content_block_delta")
    assert len(deltas) == 2


def test_nonsense_is_a_success_without_sense(client: anthropic.Anthropic) -> None:
    response = client.messages.with_raw_response.create(**user(script(nonsense=True)))
    assert response.http_response.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        response.http_response.json()


def test_an_error_that_comes_a_few_times_is_over_then(stand_in: StandIn) -> None:
    prompt = script(id="twice", times=2, status=529, text="Here I am")
    with anthropic.Anthropic(api_key=api_key(), base_url=stand_in.url, max_retries=3) as client:
        client.messages.create(**user(script(id="other", times=0, status=529)))
        message = client.messages.create(**user(prompt))
    assert message.content[0].to_dict()["text"] == "Here I am"
    assert len(stand_in.requests) == 4


def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    short = client.messages.count_tokens(model="claude-sonnet-5", messages=[{"role": "user", "content": "Hello"}])
    long = client.messages.count_tokens(
        model="claude-sonnet-5",
        system="Be brief.",
        tools=[{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}],
        messages=[{"role": "user", "content": "Hello " * 400}],
    )
    assert 1 <= short.input_tokens <= 5
    assert 600 <= long.input_tokens <= 700


def test_the_list_of_models_comes_in_pages(client: anthropic.Anthropic) -> None:
    models = list(client.models.list(limit=5))
    assert len(models) == len({model.id for model in models}) > 10
    page = client.models.list(limit=5)
    assert (len(page.data), page.has_more, page.first_id, page.last_id) == (5, True, models[0].id, models[4].id)
    before = client.models.list(limit=3, before_id=models[4].id)
    assert [model.id for model in before.data] == [model.id for model in models[1:4]]
    assert before.has_more
    assert not client.models.list(limit=1000).has_more


def test_a_model_is_found_by_its_id_and_by_its_alias(client: anthropic.Anthropic) -> None:
    assert client.models.retrieve("claude-opus-4-0").id == "claude-opus-4-20250514"
    assert client.models.retrieve("claude-sonnet-5").display_name == "Claude Sonnet 5"


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "many"}, {"after_id": "claude-none"}])
def test_a_page_that_cannot_be_is_refused(client: anthropic.Anthropic, query: dict[str, Any]) -> None:
    with pytest.raises(anthropic.BadRequestError):
        client.models.list(extra_query=query)


def test_an_unknown_model_is_not_found(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model: claude-none"):
        client.messages.create(**user("Hello") | {"model": "claude-none"})
    with pytest.raises(anthropic.NotFoundError, match="model: claude-none"):
        client.models.retrieve("claude-none")


def test_a_subscription_is_told_of_its_limits(stand_in: StandIn) -> None:
    prefix = "anthropic-ratelimit-unified-"
    with anthropic.Anthropic(auth_token=oauth_token(), api_key=None, base_url=stand_in.url, max_retries=0) as client:
        plenty = client.messages.with_raw_response.create(**user("Hello")).headers
        limit = {"status": "rejected", "reset": 2_000_000_000, "type": "seven_day", "fallback": "available"}
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.messages.create(**user(script(status=429, rate_limit=limit, retry_after=7, headers={"X-Hint": "a"})))
    assert plenty[prefix + "status"] == "allowed"
    assert int(plenty[prefix + "5h-reset"]) > time.time()
    refused = caught.value.response.headers
    assert refused[prefix + "status"] == refused[prefix + "7d-status"] == "rejected"
    assert refused[prefix + "representative-claim"] == "seven_day"
    assert refused[prefix + "7d-utilization"] == "1.0"
    assert (refused[prefix + "reset"], refused[prefix + "fallback"]) == ("2000000000", "available")
    assert (refused["retry-after"], refused["x-hint"]) == ("7", "a")


def test_an_api_key_is_told_of_no_subscription(client: anthropic.Anthropic) -> None:
    headers = client.messages.with_raw_response.create(**user("Hello")).headers
    assert not [name for name in headers if "unified" in name]
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**user(script(status=429, retry_after=7)))
    assert caught.value.response.headers["retry-after"] == "7"
    other = client.messages.with_raw_response.create(**user(script(rate_limit={"type": "overage"}))).headers
    assert other["anthropic-ratelimit-unified-representative-claim"] == "overage"


def test_a_pause_of_nothing_writes_each_delta_on_its_own(client: anthropic.Anthropic) -> None:
    with client.messages.with_streaming_response.create(**user(script(tokens=5, pause=0)), stream=True) as response:
        written = list(response.http_response.iter_raw())
    assert sum(b"content_block_delta" in part for part in written) == 5


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_takes_the_time_that_the_script_says(client: anthropic.Anthropic, stream: bool) -> None:
    prompt = script(tokens=3, delay=0.05, first_token_delay=0.05, pause=0.05)
    begin = time.monotonic()
    answer = client.messages.create(**user(prompt), stream=stream)
    if stream:
        for _ in answer:
            pass
    assert time.monotonic() - begin >= 0.2
