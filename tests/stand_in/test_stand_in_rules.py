"""A request that the API would refuse is refused, in its words; one that it would answer is answered."""

from __future__ import annotations

import base64
import io
from typing import Any

import msgspec
import pytest
from PIL import Image

from claude_code_api.stand_in import models, rules
from claude_code_api.stand_in.errors import Refused

OLD = "claude-sonnet-4-5"
OLDEST = "claude-sonnet-4-0"
MIDDLE = "claude-opus-4-6"
NEW = "claude-sonnet-5"

TOOL = {"name": "look", "input_schema": {"type": "object"}}
MARK = {"type": "ephemeral"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}
TEXT = {"type": "text", "text": "Hello"}


def encoded(kind: str, size: tuple[int, int] = (2, 2)) -> str:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def image(data: str, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def document(**source: Any) -> dict[str, Any]:
    return {"type": "document", "source": source}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return user(*content) | {"role": "assistant"}


def system(*content: Any) -> dict[str, Any]:
    return user(*content) | {"role": "system"}


def request(**fields: Any) -> dict[str, Any]:
    asked = {"model": NEW, "max_tokens": 2000, "messages": [user("Hello")]} | fields
    # As it arrives: what stands here as a tuple or a shared value is a list and a value of its own there.
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(asked))
    return {name: value for name, value in decoded.items() if value != "absent"}


def blocks(*content: Any) -> dict[str, Any]:
    return {"messages": [user(*content)]}


def turns(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages), **fields}


PDF = base64.b64encode(b"%PDF-1.7 and so on").decode()

ACCEPTED = {
    "the least": {},
    "what Claude Code sends": {
        "system": [TEXT, {**TEXT, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [user(TEXT), {**system(TEXT), "output_config": {"effort": "medium"}}],
        "metadata": {"user_id": "somebody"},
        "thinking": {"type": "adaptive", "display": "omitted"},
        "context_management": {"edits": []},
        "output_config": {"effort": "medium"},
        "stream": True,
    },
    "an empty system prompt": {"system": ""},
    "consecutive turns of one role": turns(user("a"), user("b"), assistant("c"), assistant("d"), user("e")),
    "a prefill": turns(user("a"), assistant("b"), model=OLD),
    "an empty last assistant turn": turns(user("a"), assistant(""), model=OLD),
    "a prefill of blocks": turns(user("a"), assistant(TEXT), model=OLD),
    "system turns": turns(user("a"), system("b"), assistant("c"), user("d"), system("e"), system("f")),
    "tools": {"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "auto"}},
    "a tool that must be called": {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "look"}},
    "no tool choice without tools": {"tool_choice": {"type": "none"}},
    "a tool call with its result": turns(user("a"), assistant(TEXT, CALL), user(RESULT, TEXT)),
    "a result over two messages": turns(
        user("a"),
        assistant(CALL),
        assistant({**CALL, "id": "toolu_2"}),
        user(RESULT),
        user({"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True}),
    ),
    "a system turn before the result": turns(user("a"), assistant(CALL), user(RESULT), system("b")),
    "a rich result": turns(user("a"), assistant(CALL), user({**RESULT, "content": [TEXT, image(encoded("PNG"))]})),
    "images": blocks(*(image(encoded(kind), f"image/{kind.lower()}") for kind in ("PNG", "JPEG", "GIF", "WEBP"))),
    "images elsewhere": blocks(
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    ),
    "documents": blocks(
        document(type="base64", media_type="application/pdf", data=PDF),
        document(type="text", media_type="text/plain", data="Once upon a time"),
        document(type="url", url="https://example.com/a.pdf"),
    ),
    "blocks of server tools": turns(user("a"), assistant({"type": "server_tool_use", "whatever": 1}, TEXT), user("b")),
    "four marks": {
        "tools": [{**TOOL, "cache_control": MARK}],
        "system": [{**TEXT, "cache_control": MARK}],
        "messages": [user({**TEXT, "cache_control": MARK})],
        "cache_control": MARK,
    },
    "longer lived marks first": {"system": [{**TEXT, "cache_control": MARK | {"ttl": "1h"}}], "cache_control": MARK},
    "a thinking budget": {
        "model": OLD,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "temperature": 1,
        "top_p": "absent",
    },
    "thinking off": {"thinking": {"type": "disabled"}},
    "thinking with a high top_p": {"model": OLD, "thinking": {"type": "enabled", "budget_tokens": 1024}, "top_p": 0.95},
    "temperature": {"model": OLD, "temperature": 0.5, "top_k": 5},
    "both of them on an older model": {"model": OLDEST, "temperature": 0.5, "top_p": 0.5},
    "the default temperature on a newer one": {"temperature": 1, "top_p": 1},
    "stop sequences": {"stop_sequences": ["END", " ."]},
}

TOO_LARGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(4 * 1024 * 1024)).decode()

REFUSED = {
    "no model": ({"model": "absent"}, "model: Field required"),
    "no max_tokens": ({"max_tokens": "absent"}, "max_tokens: Field required"),
    "no messages": ({"messages": "absent"}, "messages: Field required"),
    "an unknown field": ({"n": 1}, "n: Extra inputs are not permitted"),
    "a model of another type": ({"model": 1}, "model: Input should be a valid string"),
    "max_tokens 0": ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    "max_tokens as text": ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
    "too many max_tokens": (
        {"model": OLD, "max_tokens": 64_001},
        "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for " + OLD,
    ),
    "stream as text": ({"stream": "yes"}, "stream: Input should be a valid boolean"),
    "empty messages": ({"messages": []}, "messages: at least one message is required"),
    "messages of another type": ({"messages": {}}, "messages: Input should be a valid list"),
    "a message of another type": ({"messages": ["Hello"]}, "messages.0: Input should be a valid dictionary"),
    "a message without role": ({"messages": [{"content": "a"}]}, "messages.0.role: Field required"),
    "a message with more": (
        {"messages": [user("a") | {"name": "Ada"}]},
        "messages.0.name: Extra inputs are not permitted",
    ),
    "an unknown role": (
        {"messages": [user("a") | {"role": "tool"}]},
        "messages.0.role: Input should be 'user', 'assistant' or 'system'",
    ),
    "content of another type": (
        {"messages": [user("a") | {"content": 1}]},
        "messages.0.content: Input should be a valid string or list",
    ),
    "the assistant first": (turns(assistant("a"), user("b")), 'messages: first message must use the "user" role'),
    "empty text": (turns(user("")), "messages.0: all messages must have non-empty content"),
    "empty content": (
        turns(user("a"), assistant("b"), user("c") | {"content": []}),
        "messages.2: all messages must have non-empty content",
    ),
    "an empty assistant turn": (
        turns(user("a"), assistant(""), user("b")),
        "messages.1: all messages must have non-empty",
    ),
    "blank text": (turns(user(" \n")), "messages: text content blocks must contain non-whitespace text"),
    "an empty block": (blocks({"type": "text", "text": ""}), "messages: text content blocks must be non-empty"),
    "a blank block": (
        blocks({"type": "text", "text": " "}),
        "messages: text content blocks must contain non-whitespace",
    ),
    "a marked empty block": (
        blocks({"type": "text", "text": "", "cache_control": MARK}),
        "messages.0.content.0.text: cache_control cannot be set for empty text blocks",
    ),
    "text of another type": (
        blocks({"type": "text", "text": 1}),
        "messages.0.content.0.text.text: Input should be a valid",
    ),
    "a block without text": (blocks({"type": "text"}), "messages.0.content.0.text: Field required"),
    "a block with more": (blocks({**TEXT, "id": 1}), "messages.0.content.0.text.id: Extra inputs are not permitted"),
    "a block without type": (blocks({"text": "a"}), "messages.0.content.0.type: Field required"),
    "a block of another type": (
        blocks({"type": "image_url"}),
        "messages.0.content.0: Input tag 'image_url' found using",
    ),
    "a prefill on a newer model": (
        turns(user("a"), assistant("b"), model=MIDDLE),
        "does not support assistant message prefill",
    ),
    "trailing whitespace": (
        turns(user("a"), assistant("b "), model=OLD),
        "final assistant content cannot end with trailing",
    ),
    "the same in a block": (
        turns(user("a"), assistant({**TEXT, "text": "b\n"}), model=OLD),
        "cannot end with trailing",
    ),
    "system turns on an older model": (
        turns(user("a"), system("b"), model=OLD),
        "role 'system' is not supported on this",
    ),
    "a system turn after the assistant's": (
        turns(user("a"), assistant("b"), system("c"), user("d")),
        "messages.2: a 'system' message must follow a 'user' message",
    ),
    "a system turn first": (turns(system("a"), user("b")), 'first message must use the "user" role'),
    "an empty system block": (
        {"system": [{"type": "text", "text": ""}]},
        "system: text content blocks must be non-empty",
    ),
    "a marked empty system block": (
        {"system": [{"type": "text", "text": "", "cache_control": MARK}]},
        "system.0.text: cache_control cannot be set for empty text blocks",
    ),
    "an image as system prompt": ({"system": [image(encoded("PNG"))]}, "system.0.type: Input should be 'text'"),
    "system of another type": ({"system": 1}, "system: Input should be a valid string or list"),
    "a blank stop sequence": ({"stop_sequences": ["\n"]}, "each stop sequence must contain non-whitespace"),
    "a stop sequence alone": ({"stop_sequences": "END"}, "stop_sequences: Input should be a valid list"),
    "more metadata": ({"metadata": {"name": "Ada"}}, "metadata.name: Extra inputs are not permitted"),
    "metadata of another type": ({"metadata": {"user_id": 1}}, "metadata.user_id: Input should be a valid string"),
    # tools
    "an unanswered call": (
        turns(user("a"), assistant(CALL)),
        "messages.1: `tool_use` ids were found without `tool_result`",
    ),
    "a call answered by text": (
        turns(user("a"), assistant(CALL), user("b")),
        "messages.1: `tool_use` ids were found without",
    ),
    "a result behind text": (turns(user("a"), assistant(CALL), user(TEXT, RESULT)), "immediately after: toolu_1. Each"),
    "one result of two": (
        turns(user("a"), assistant(CALL, {**CALL, "id": "toolu_2"}), user(RESULT)),
        "after: toolu_2. Each",
    ),
    "a result without call": (
        turns(user("a"), assistant("b"), user(TEXT, RESULT)),
        "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1. Each",
    ),
    "a result of an earlier call": (
        turns(user("a"), assistant(CALL), user(RESULT), assistant("b"), user(RESULT)),
        "messages.4.content.0: unexpected `tool_use_id`",
    ),
    "two results": (turns(user("a"), assistant(CALL), user(RESULT, RESULT)), "each tool_use must have a single result"),
    "two calls with one id": (turns(user("a"), assistant(CALL, CALL), user(RESULT)), "`tool_use` ids must be unique"),
    "an id with blanks": (
        turns(user("a"), assistant({**CALL, "id": "a b"}), user({**RESULT, "tool_use_id": "a b"})),
        "messages.1.content.tool_use.id: String should match pattern",
    ),
    "a call of the user": (blocks(CALL), "messages.0: `tool_use` blocks can only be in `assistant` messages"),
    "a result of the assistant": (
        turns(user("a"), assistant(RESULT)),
        "`tool_result` blocks can only be in `user` messages",
    ),
    "a call without input": (
        turns(user("a"), assistant({"type": "tool_use", "id": "a", "name": "b"})),
        "messages.1.content.0.tool_use.input: Field required",
    ),
    "a result of another type": (
        turns(user("a"), assistant(CALL), user({**RESULT, "content": [CALL]})),
        "messages.2.content.0.tool_result.content.0.type: Input should be",
    ),
    "an unclear error": (
        turns(user("a"), assistant(CALL), user({**RESULT, "is_error": 1})),
        "messages.2.content.0.tool_result.is_error: Input should be a valid boolean",
    ),
    "a tool with a blank": ({"tools": [{**TOOL, "name": "a b"}]}, "tools.0.custom.name: String should match pattern"),
    "two tools of one name": ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
    "a tool without schema": ({"tools": [{"name": "a"}]}, "tools.0.custom.input_schema: Field required"),
    "a schema without type": (
        {"tools": [{"name": "a", "input_schema": {}}]},
        "tools.0.custom.input_schema.type: Field required",
    ),
    "a schema of an array": (
        {"tools": [{"name": "a", "input_schema": {"type": "array"}}]},
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    "OpenAI's form of a tool": (
        {"tools": [{**TOOL, "parameters": {}}]},
        "tools.0.custom.parameters: Extra inputs are not",
    ),
    "a description of another type": (
        {"tools": [{**TOOL, "description": 1}]},
        "tools.0.custom.description: Input should be",
    ),
    "a choice without tools": (
        {"tool_choice": {"type": "any"}},
        "tool_choice may only be specified while providing tools",
    ),
    "a choice of no known kind": (
        {"tools": [TOOL], "tool_choice": {"type": "required"}},
        "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'",
    ),
    "a choice of no known tool": (
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "go"}},
        "Tool 'go' not found in provided tools",
    ),
    "thinking with a forced tool": (
        {
            "model": OLD,
            "tools": [TOOL],
            "tool_choice": {"type": "any"},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    # images and documents
    "an image of no known type": (
        blocks(image(encoded("PNG"), "image/bmp")),
        "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg'",
    ),
    "an image that is no base64": (blocks(image("@@@@")), "image.source.base64.data: invalid base64 data"),
    "an image that is none": (blocks(image(base64.b64encode(b"BM, a bitmap").decode())), "Could not process image"),
    "an image of another type": (blocks(image(encoded("JPEG"))), "but the image appears to be a image/jpeg image"),
    "an image too large": (blocks(image(TOO_LARGE)), "image exceeds 5 MB maximum"),
    "an image too wide": (blocks(image(encoded("PNG", (8001, 1)))), "exceed max allowed size: 8000 pixels"),
    "an image without a source": (blocks({"type": "image"}), "messages.0.content.0.image.source: Field required"),
    "an image from nowhere": (
        blocks({"type": "image", "source": {"type": "path"}}),
        "image.source.type: Input should be",
    ),
    "an image over plain HTTP": (
        blocks({"type": "image", "source": {"type": "url", "url": "http://example.com"}}),
        "Only HTTPS URLs are supported.",
    ),
    "an image of the assistant": (
        turns(user("a"), assistant(image(encoded("PNG")))),
        "`image` blocks can only be in `user`",
    ),
    "a document that is no PDF": (
        blocks(document(type="base64", media_type="application/pdf", data=encoded("PNG"))),
        "The PDF specified was not valid.",
    ),
    "a document of another type": (
        blocks(document(type="base64", media_type="text/html", data=PDF)),
        "document.source.base64.media_type: Input should be 'application/pdf'",
    ),
    "text of another type in a document": (
        blocks(document(type="text", media_type="text/plain", data=1)),
        "document.source.text.data: Input should be a valid string",
    ),
    # the prompt cache
    "five marks": (
        {"system": [{**TEXT, "cache_control": MARK}] * 4, "cache_control": MARK},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "a mark of no known type": (
        {"cache_control": {"type": "lasting"}},
        "cache_control.type: Input should be 'ephemeral'",
    ),
    "a mark for a day": ({"cache_control": MARK | {"ttl": "1d"}}, "cache_control.ttl: Input should be '5m' or '1h'"),
    "longer lived marks last": (
        {"system": [{**TEXT, "cache_control": MARK}], "cache_control": MARK | {"ttl": "1h"}},
        "must not come after a ttl='5m' cache_control block.",
    ),
    "five marks in results": (
        turns(user("a"), assistant(CALL), user({**RESULT, "content": [{**TEXT, "cache_control": MARK}] * 5})),
        "Found 5.",
    ),
    # thinking and sampling
    "a small budget": (
        {"model": OLD, "thinking": {"type": "enabled", "budget_tokens": 1023}},
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    "a budget of everything": (
        {"model": OLD, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    "no budget": ({"model": OLD, "thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
    "a budget on a newer model": ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.type.enabled"),
    "adaptive thinking on an older model": (
        {"model": OLD, "thinking": {"type": "adaptive"}},
        "adaptive thinking is not",
    ),
    "thinking of no known type": ({"thinking": {"type": "on"}}, "thinking.type: Input should be"),
    "thinking shown in no known way": (
        {"thinking": {"type": "adaptive", "display": "all"}},
        "thinking.adaptive.display: Input",
    ),
    "thinking with a temperature": (
        {"model": MIDDLE, "thinking": {"type": "adaptive"}, "temperature": 0.5},
        "`temperature` may only be set to 1 when thinking is enabled.",
    ),
    "thinking with a low top_p": (
        {"model": MIDDLE, "thinking": {"type": "adaptive"}, "top_p": 0.5},
        "`top_p` must be greater",
    ),
    "thinking with top_k": (
        {"model": MIDDLE, "thinking": {"type": "adaptive"}, "top_k": 5},
        "`top_k` must be unset when",
    ),
    "a high temperature": ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
    "a low temperature": ({"temperature": -1}, "temperature: Input should be greater than or equal to 0"),
    "a temperature as text": ({"temperature": "hot"}, "temperature: Input should be a valid number"),
    "a negative top_k": ({"top_k": -1}, "top_k: Input should be greater than or equal to 0"),
    "temperature and top_p": (
        {"model": OLD, "temperature": 0.5, "top_p": 0.5},
        "cannot both be specified for this model",
    ),
    "temperature on a newer model": ({"temperature": 0.5}, "`temperature` is deprecated for this model."),
    "top_p on a newer model": ({"top_p": 0.5}, "`top_p` is deprecated for this model."),
    "top_k on a newer model": ({"top_k": 5}, "`top_k` is deprecated for this model."),
}


@pytest.mark.parametrize("fields", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_api_would_answer_is_accepted(fields: dict[str, Any]) -> None:
    rules.check(request(**fields))


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_api_would_refuse_is_refused_in_its_words(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused) as caught:
        rules.check(request(**fields))
    assert message in caught.value.message
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(Refused, match="model: claude-none") as caught:
        rules.check(request(model="claude-none"))
    assert (caught.value.status, caught.value.type) == (404, "not_found_error")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'"text"', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match=r"valid JSON|valid dictionary"):
        rules.decode(body)


def test_counting_tokens_takes_the_prompt_alone() -> None:
    asked = {"model": NEW, "messages": [user("Hello")], "system": "Be brief.", "tools": [TOOL]}
    rules.check_count(asked)
    with pytest.raises(Refused, match="max_tokens: Extra inputs are not permitted"):
        rules.check_count(asked | {"max_tokens": 5})
    with pytest.raises(Refused, match="messages: at least one message is required"):
        rules.check_count(asked | {"messages": []})


def test_names_of_models_are_unique() -> None:
    names = [name for model in models.MODELS for name in (model.id, *model.aliases)]
    assert len(names) == len(set(names))
    assert all(models.find(name) for name in names)
