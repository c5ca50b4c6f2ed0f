"""An answer as bytes: one JSON document, or the events of a stream."""

from __future__ import annotations

from typing import Any

import msgspec

from claude_code_api.stand_in.answer import Answer

_encode = msgspec.json.encode
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def whole(answer: Answer) -> bytes:
    return _encode(_message(answer, [block.whole for block in answer.blocks], answer.usage))


def pieces(answer: Answer) -> tuple[bytes, list[bytes], bytes]:
    """The stream in three parts: its beginning, the deltas, its end.

    Each delta comes with what stands between it and the one before (the end of a block, the start of the
    next), so that a stream can be paused or broken off after any of them.
    """
    usage = answer.usage | {"output_tokens": 1}
    head = _event(b"message_start", {"type": "message_start", "message": _message(answer, [], usage, ended=False)})
    deltas: list[bytes] = []
    between = b""
    ping = _PING
    for index, block in enumerate(answer.blocks):
        between += _event(
            b"content_block_start", {"type": "content_block_start", "index": index, "content_block": block.start}
        )
        between += ping
        ping = b""
        opening = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":' % index
        for kind, text in block.deltas:
            deltas.append(b"%b%b%b%b}}\n\n" % (between, opening, kind, _encode(text)))
            between = b""
        between += b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % index
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}
    end = _event(b"message_delta", {"type": "message_delta", "delta": delta, "usage": answer.usage})
    return head, deltas, between + ping + end + _MESSAGE_STOP


def error_event(body: bytes) -> bytes:
    return b"event: error\ndata: %b\n\n" % body


def _event(name: bytes, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, _encode(data))


def _message(answer: Answer, content: list[Any], usage: dict[str, Any], *, ended: bool = True) -> dict[str, Any]:
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": answer.stop_reason if ended else None,
        "stop_sequence": answer.stop_sequence if ended else None,
        "usage": usage,
    }
