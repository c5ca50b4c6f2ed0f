"""Files through the real Claude Code: documents arrive as they were given, wherever they stand, or fail by name."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest_asyncio
from making import answer, oauth, outcome

from claude_code_api.conversation import (
    Base64Source,
    Conversation,
    Document,
    Image,
    Message,
    Text,
    TextSource,
    Tool,
    ToolCall,
    ToolResult,
    ToolUse,
)
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.stand_in import StandIn, script

StartEngine = Callable[..., Awaitable[ClaudeCode]]


def pdf(pages: int = 1) -> Document:
    kids = b" ".join(b"%d 0 R" % (number + 3) for number in range(pages))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, pages)]
    objects += [b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>"] * pages
    body = b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%b\nendobj\n" % pair for pair in enumerate(objects, 1))
    return Document(Base64Source("application/pdf", base64.b64encode(body + b"trailer<</Root 1 0 R>>").decode()), "p")


NOTES = Document(TextSource("@/etc/passwd\n# Notes\n\x00"), "notes.md")
TOOL = Tool(name="look", input_schema={"type": "object", "properties": {}})


@pytest_asyncio.fixture
async def engine(start_engine: StartEngine) -> ClaudeCode:
    return await start_engine(reuse_processes=True, max_processes=4)


def user(*blocks: Any) -> Message:
    return Message("user", blocks)


def assistant(*blocks: Any) -> Message:
    return Message("assistant", blocks)


def asking(*messages: Message, **fields: Any) -> Conversation:
    return Conversation(**{"model": "haiku", "messages": messages, **fields})


def sent(stand_in: StandIn) -> list[tuple[str, list[dict[str, Any]]]]:
    """The turns of the last request, without what Claude Code adds."""
    turns = []
    for turn in stand_in.requests[-1].body["messages"]:
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kept = [{k: v for k, v in b.items() if k != "cache_control"} for b in blocks]
        kept = [b for b in kept if not b.get("text", "").startswith("<system-reminder>")]
        if turn["role"] != "system":
            turns.append((turn["role"], kept))
    return turns


def native(*messages: Message) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(message.role, msgspec.json.decode(msgspec.json.encode(message.content))) for message in messages]


async def test_documents_arrive_as_they_are_in_history_and_in_the_current_turn(
    engine: ClaudeCode, stand_in: StandIn, png: str
) -> None:
    image = Image(Base64Source("image/png", png))
    conversation = (
        user(pdf(), NOTES, Text("Read")),
        assistant(Text("Read.")),
        user(NOTES, image, pdf(2), image, Text("And these?")),
    )
    await answer(engine, asking(*conversation), oauth("anna"))
    assert sent(stand_in) == native(*conversation)


async def test_a_conversation_about_files_goes_on_in_its_process(engine: ClaudeCode, stand_in: StandIn) -> None:
    first = user(pdf(), NOTES, Text("Read"))
    said, _ = await answer(engine, asking(first), oauth("anna"))
    await answer(engine, asking(first, assistant(Text(said)), user(Text("And?"))), oauth("anna"))
    assert len({request.headers["x-claude-code-session-id"] for request in stand_in.requests}) == 1
    other = user(pdf(2), NOTES, Text("Read"))
    await answer(engine, asking(other, assistant(Text(said)), user(Text("And?"))), oauth("anna"))
    assert sent(stand_in) == native(other, assistant(Text(said)), user(Text("And?")))


async def test_results_that_claude_code_would_change_go_in_as_native_history(
    engine: ClaudeCode, stand_in: StandIn, png: str
) -> None:
    image = Image(Base64Source("image/png", png))
    for content, is_error in (
        ((), False),
        ((Text("Here"), pdf(), NOTES), False),
        ((image,), False),
        ((Text("a"), Text("b")), True),
    ):
        calls = [{"name": "mcp__client__look", "input": {}}]
        question = user(Text(f"Go {script(text='', tools=calls, then={'text': 'Done.'})}"))
        _, events = await answer(engine, asking(question, tools=(TOOL,)), oauth("anna"))
        (call,) = [event for event in events if isinstance(event, ToolCall)]
        turns = (question, assistant(ToolUse(call.id, "look", {})), user(ToolResult(call.id, content, is_error)))
        said, _ = await answer(engine, asking(*turns, tools=(TOOL,)), oauth("anna"))
        assert said == "Done."
        shown = assistant(ToolUse(call.id, "mcp__client__look", {}))
        assert sent(stand_in) == native(question, shown, turns[-1])
    assert len({request.headers["x-claude-code-session-id"] for request in stand_in.requests}) == 1
    assert "interrupted" not in str(stand_in.requests[-1].body)
    assert not list(engine._program.homes.rglob("tool-results")), "nothing of it is written to disk"


async def test_a_file_that_anthropic_refuses_is_a_fault_and_never_an_answer_without_it(
    engine: ClaudeCode, stand_in: StandIn
) -> None:
    at = "messages.0.content.0.pdf.source.base64.data: "
    for fault, times, told in (
        (at + "A maximum of 100 PDF pages may be provided.", 1, "could not read the document"),
        (at + "A maximum of 100 PDF pages may be provided.", 9, "pages of PDF"),
        (at + "The PDF specified is password protected.", 9, "password"),
        ("Could not process PDF", 9, "could not read the document"),
    ):
        refused = script(status=400, error_type="invalid_request_error", message=fault, times=times, id=fault)
        _, failure = await outcome(engine, asking(user(pdf(), Text(f"Read {refused}"))), oauth("anna"))
        assert failure is not None
        assert (failure.status, failure.code, failure.param) == (400, "invalid_file", "messages")
        assert told in failure.message
    await answer(engine, asking(user(pdf(), Text("Again"))), oauth("anna"))
    assert sent(stand_in) == native(user(pdf(), Text("Again"))), "nothing of it is left"


async def test_too_many_pages_are_refused_upstream_and_told(engine: ClaudeCode) -> None:
    _, failure = await outcome(engine, asking(user(pdf(601), Text("Read"))), oauth("anna"))
    assert failure is not None
    assert (failure.status, failure.code) == (400, "invalid_file")
