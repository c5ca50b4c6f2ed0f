"""An answer as a value: its blocks with their deltas, why it stopped, and what it cost."""

from __future__ import annotations

import functools
import re
import uuid
from typing import Any

import msgspec

from claude_code_api.stand_in import models, signatures, thinking_rules, turns
from claude_code_api.stand_in.script import Script

_WORDS = re.compile(r"\S+\s*|\s+")
_WORD_LIST = ("river ", "stone ", "light ", "window ", "garden ", "paper ", "winter ", "morning ")


class Block(msgspec.Struct):
    """`start` is the block as `content_block_start` shows it, `whole` as it is when finished.

    `deltas` holds pairs of a delta's JSON up to its text, and the text: (b'{"type":"text_delta","text":', "Hello").
    """

    start: dict[str, Any]
    whole: dict[str, Any]
    deltas: list[tuple[bytes, str]]


class Answer(msgspec.Struct):
    id: str
    model: str
    blocks: list[Block]
    stop_reason: str
    stop_sequence: str | None
    usage: dict[str, Any]


TEXT_DELTA = b'{"type":"text_delta","text":'
THINKING_DELTA = b'{"type":"thinking_delta","thinking":'
SIGNATURE_DELTA = b'{"type":"signature_delta","signature":'
JSON_DELTA = b'{"type":"input_json_delta","partial_json":'


def identifier(prefix: str) -> str:
    return f"{prefix}_01{uuid.uuid4().hex[:22]}"


def answer(request: dict[str, Any], script: Script, usage: dict[str, Any]) -> Answer:
    """What the script (or, without one, the default) says to a request. `usage` is that of the prompt."""
    blocks = _thought(request, script)
    thought = spent = token_count(f"{script.thinking or ''} {script.redacted_thinking or ''}") if blocks else 0

    chunks = _chunks(request, script)
    text = "".join(chunks)
    length, stop_reason, stop_sequence = _end(text, request, spent)
    if length < len(text):
        text, chunks = text[:length], _cut_to(chunks, length)
    if text:
        blocks.append(_text(text, chunks))
        spent += token_count(text)

    if script.tools and stop_reason == "end_turn":
        calls = [_tool_use(call.name, call.input, call.id) for call in script.tools]
        spent += sum(token_count("".join(part for _, part in call.deltas)) for call in calls)
        blocks += calls
        stop_reason = "tool_use"

    return Answer(
        identifier("msg"),
        request["model"],
        blocks,
        script.stop_reason or stop_reason,
        script.stop_sequence if script.stop_sequence is not None else stop_sequence,
        usage
        | {"output_tokens": max(spent, 1), "output_tokens_details": {"thinking_tokens": thought}}
        | (script.usage or {}),
    )


def _thought(request: dict[str, Any], script: Script) -> list[Block]:
    """What the model thinks first, where the request lets it; each block is signed for its place."""
    model = models.find(request["model"])
    if not thinking_rules.thinks(request, model):
        return []
    place = signatures.places(request)
    for message in request["messages"]:
        place.add_message(message)
    blocks = []
    if script.thinking is not None:
        shown = script.thinking if thinking_rules.shows_text(request, model) else ""
        blocks.append(_thinking(shown, signatures.sign(shown, place.here())))
        place.add_message({"role": "assistant", "content": [blocks[0].whole]})
    if script.redacted_thinking is not None:
        data = identifier("redacted")
        whole = {"type": "redacted_thinking", "data": f"{data}.{signatures.sign(data, place.here())}"}
        blocks.append(Block(whole, whole, []))
    return blocks


def _chunks(request: dict[str, Any], script: Script) -> list[str]:
    if script.tokens is not None:
        chunks = words(script.tokens)
    elif script.chunks is not None:
        chunks = list(script.chunks)
    elif script.text is not None:
        chunks = _WORDS.findall(script.text)
    elif script.echo is not None:
        chunks = _WORDS.findall(turns.echo(request, script.echo))
    elif script.tools or script.stop_reason == "refusal":
        chunks = []
    else:
        chunks = _WORDS.findall(turns.default_answer(request))
    return chunks * script.repeat


@functools.lru_cache(maxsize=64)
def words(count: int) -> list[str]:
    return [_WORD_LIST[number % len(_WORD_LIST)] for number in range(count)]


def token_count(text: str) -> int:
    """Tokens of an answer: its words."""
    return len(text.split())


def _end(text: str, request: dict[str, Any], spent: int) -> tuple[int, str, str | None]:
    """How much of a text is said, and why it ends there: the reason, and the stop sequence if it is that."""
    sequences = request.get("stop_sequences") or ()
    found = min([(at, sequence) for sequence in sequences if (at := text.find(sequence)) >= 0], default=None)
    length = found[0] if found else len(text)
    room = max(request["max_tokens"] - spent, 0)
    if length // 2 + 1 > room:  # otherwise it cannot have so many words
        ends = [match.end() for match in re.finditer(r"\S+", text[:length])]
        if len(ends) > room:
            return ends[room - 1] if room else 0, "max_tokens", None
    return (length, "stop_sequence", found[1]) if found else (length, "end_turn", None)


def _cut_to(chunks: list[str], length: int) -> list[str]:
    kept: list[str] = []
    for chunk in chunks:
        if length <= 0:
            break
        kept.append(chunk[:length])
        length -= len(chunk)
    return kept


def _text(text: str, chunks: list[str]) -> Block:
    return Block({"type": "text", "text": ""}, {"type": "text", "text": text}, [(TEXT_DELTA, part) for part in chunks])


def _thinking(shown: str, signature: str) -> Block:
    """Without a text to show, the signature alone tells of it."""
    return Block(
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking", "thinking": shown, "signature": signature},
        [*((THINKING_DELTA, word) for word in _WORDS.findall(shown)), (SIGNATURE_DELTA, signature)],
    )


def _tool_use(name: str, arguments: dict[str, Any], call_id: str | None) -> Block:
    start = {"type": "tool_use", "id": call_id or identifier("toolu"), "name": name, "input": {}}
    text = msgspec.json.encode(arguments).decode()
    size = max(1, -(-len(text) // 4))
    parts = ["", *(text[at : at + size] for at in range(0, len(text), size))]
    return Block(start, start | {"input": arguments}, [(JSON_DELTA, part) for part in parts])
