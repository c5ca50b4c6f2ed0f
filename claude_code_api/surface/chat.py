"""`POST /v1/chat/completions`: from the request's bytes to the answer's, whole or streamed."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from claude_code_api.conversation import Accepted, Event, Finished, Started, TextDelta, ToolCall
from claude_code_api.dialects.openai_chat import Answer, ChatRequest, Limits, completion, decode
from claude_code_api.gateway.request import Request
from claude_code_api.settings import Settings
from claude_code_api.surface.body import read_body, require_json
from claude_code_api.surface.body_budget import BodyBudget
from claude_code_api.surface.event_stream import EventStream
from claude_code_api.surface.exchange import Exchange
from claude_code_api.surface.gateway import Gateway

if TYPE_CHECKING:  # the surface needs no database
    from claude_code_api.access import ApiKey


class Chat:
    def __init__(self, settings: Settings, gateway: Gateway, bodies: BodyBudget) -> None:
        self._gateway = gateway
        self._bodies = bodies
        self._limits = Limits.of(settings)
        self._max_body_bytes = settings.max_body_bytes
        self._keepalive_interval = settings.keepalive_interval

    async def __call__(self, exchange: Exchange, key: ApiKey) -> None:
        """Answers, or raises the RequestFailure that is to be answered with."""
        require_json(exchange)
        with self._bodies.share(key.id) as share:  # for as long as the request holds what was read
            await self.answer(exchange, key, await read_body(exchange, self._max_body_bytes, share))

    async def answer(self, exchange: Exchange, key: ApiKey, body: bytes) -> None:
        """The same for a body that was read already."""
        request = decode(body, self._limits)
        del body  # the request is as large, and its share is of one
        exchange.notes["model"] = request.conversation.model[:64]
        exchange.notes["stream"] = request.stream
        asked = Request(exchange.id, exchange.path, request.stream)
        events = self._gateway.answer(key, request.conversation, asked)
        # Closing it is what ends the work upstream, whatever ends this request.
        async with aclosing(events):
            if request.stream:
                await self._stream(exchange, request, events)
            else:
                await self._whole(exchange, request, events)

    async def _whole(self, exchange: Exchange, request: ChatRequest, events: AsyncGenerator[Event, None]) -> None:
        created = int(time.time())
        collected = []
        async for event in events:
            _note(event, exchange)
            collected.append(event)
        body = completion(
            _completion_id(),
            created,
            request.conversation.model,
            collected,
            legacy_functions=request.legacy_functions,
            show_thinking=request.show_thinking,
        )
        await exchange.answer(200, body)

    async def _stream(self, exchange: Exchange, request: ChatRequest, events: AsyncGenerator[Event, None]) -> None:
        answer = Answer(
            _completion_id(),
            int(time.time()),
            request.include_usage,
            request.conversation.model,
            legacy_functions=request.legacy_functions,
            show_thinking=request.show_thinking,
        )
        stream = EventStream(exchange, Answer.KEEPALIVE, self._keepalive_interval)
        try:
            async for event in events:
                _note(event, exchange)
                if isinstance(event, Accepted):  # before it, the request waits, and may still be refused
                    stream.comment_silence()
                if chunk := answer.chunk(event):
                    await stream.send(chunk)
            await stream.send(Answer.DONE, more=False)
        except (Exception, asyncio.CancelledError) as fault:
            if not stream.begun:
                raise
            if failure := exchange.failure_of(fault):
                exchange.notes["error"] = failure.code
                await stream.send(answer.failure(failure), more=False)
            else:
                exchange.notes["disconnected"] = True
        finally:
            await stream.close()


def _note(event: Event, exchange: Exchange) -> None:
    """What the log tells of an answer: its model and figures."""
    notes = exchange.notes
    if isinstance(event, (TextDelta, ToolCall)):  # a union would be made anew each time
        if "first_token_ms" not in notes:
            notes["first_token_ms"] = exchange.elapsed_ms
    elif isinstance(event, Started):
        notes["model"] = event.model
    elif isinstance(event, Finished):
        notes["stop_reason"] = event.stop_reason
        notes["input_tokens"] = event.usage.prompt_tokens
        notes["output_tokens"] = event.usage.output_tokens


def _completion_id() -> str:
    return "chatcmpl-" + secrets.token_hex(12)
