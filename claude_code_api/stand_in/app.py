"""The endpoints as one plain ASGI application: authentication, rules, script, answer."""

from __future__ import annotations

import urllib.parse
from collections import Counter
from typing import Any

import msgspec

from claude_code_api.stand_in import accounts, errors, models, rules, turns, wire
from claude_code_api.stand_in.answer import Answer, answer
from claude_code_api.stand_in.errors import Refused, invalid
from claude_code_api.stand_in.exchange import Exchange, Gone, Receive, Scope, Send
from claude_code_api.stand_in.limit_headers import response_headers
from claude_code_api.stand_in.prompt_cache import PromptCache, input_tokens
from claude_code_api.stand_in.record import Records
from claude_code_api.stand_in.script import Script

RECORDS_PATH = "/stand-in/requests"
_encode = msgspec.json.encode


class App:
    """`records` takes what is asked; the prompt cache and the count of scripted faults live as long as this."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._cache = PromptCache()
        self._faults: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        record = exchange.record
        try:
            body = await exchange.read_body()
            if record.path == RECORDS_PATH:
                await self._show_records(exchange)
                return
            self._records.add(record)
            await self._answer(exchange, body)
        except Refused as refused:
            await exchange.respond(refused.status, refused.body(exchange.request_id))
        except Gone:
            record.disconnected = True

    async def _show_records(self, exchange: Exchange) -> None:
        if exchange.record.method not in ("GET", "DELETE"):
            raise _METHOD_NOT_ALLOWED
        shown = [record.as_json() for record in self._records.snapshot()]
        if exchange.record.method == "DELETE":
            self._records.clear()
        await exchange.respond(200, _encode(shown))

    async def _answer(self, exchange: Exchange, body: bytes) -> None:
        record = exchange.record
        record.account = accounts.presented(exchange.headers)
        accounts.check(exchange.headers)
        if b"anthropic-version" not in exchange.headers:
            raise invalid("anthropic-version: header is required")
        match record.method, record.path:
            case "POST", "/v1/messages":
                await self._messages(exchange, rules.decode(body))
            case "POST", "/v1/messages/count_tokens":
                request = rules.decode(body)
                rules.check_count(request)
                await exchange.respond(200, _encode({"input_tokens": input_tokens(request)}))
            case "GET", "/v1/models":
                await exchange.respond(200, _encode(_model_page(record.query)))
            case "GET", path if path.startswith("/v1/models/"):
                await exchange.respond(200, _encode(models.find(path.removeprefix("/v1/models/")).card()))
            case _, "/v1/messages" | "/v1/messages/count_tokens" | "/v1/models":
                raise _METHOD_NOT_ALLOWED
            case _:
                raise Refused(404, "not_found_error", "Not found")

    async def _messages(self, exchange: Exchange, request: dict[str, Any]) -> None:
        rules.check(request)
        script = self._due(turns.script_of(request))
        account = exchange.record.account
        exchange.extra_headers += response_headers(script, subscription=accounts.is_subscription(account))
        if script.delay:
            await exchange.wait(script.delay)
        if script.cut == 0:
            exchange.cut()
        elif script.nonsense:
            await exchange.respond(200, b"<html>neither events nor JSON</html>")
        elif script.refuses:
            raise _fault(script)
        else:
            reply = answer(request, script, self._cache.usage(account, request))
            await (_stream if request.get("stream") else _whole)(exchange, script, reply)

    def _due(self, script: Script) -> Script:
        """The script, without its fault when that has come as often as it was to."""
        if script.times is None:
            return script
        self._faults[script.id] += 1
        return script if self._faults[script.id] <= script.times else script.mended()


async def _stream(exchange: Exchange, script: Script, reply: Answer) -> None:
    head, deltas, end = wire.pieces(reply)
    if script.breaks_off_after is not None:
        deltas = deltas[: script.breaks_off_after]
        end = b"" if script.cut is not None else wire.error_event(_fault(script).body(exchange.request_id))
    await exchange.start_stream()
    if script.pause is None and not script.first_token_delay and script.cut is None:
        await exchange.write_together([head, *deltas, end])
        return
    await exchange.write(head)
    for number, delta in enumerate(deltas):
        pause = script.first_token_delay if number == 0 else script.pause
        if pause is not None:
            await exchange.wait(pause)
        await exchange.write(delta)
    if script.cut is not None:
        exchange.cut()
    else:
        await exchange.write(end, last=True)


async def _whole(exchange: Exchange, script: Script, reply: Answer) -> None:
    """As long under way as the stream would be."""
    deltas = sum(len(block.deltas) for block in reply.blocks)
    if time := script.first_token_delay + (script.pause or 0) * max(deltas - 1, 0):
        await exchange.wait(time)
    if script.error_after is not None:
        raise _fault(script)
    if script.cut is not None:
        await exchange.respond_half(wire.whole(reply))
    else:
        await exchange.respond(200, wire.whole(reply))


_METHOD_NOT_ALLOWED = Refused(405, "invalid_request_error", "Method Not Allowed")


def _model_page(query: str) -> dict[str, Any]:
    asked = dict(urllib.parse.parse_qsl(query))
    limit = asked.get("limit", "20")
    if not limit.isdecimal():
        raise invalid("limit: Input should be a valid integer, unable to parse string as an integer")
    return models.page(int(limit), asked.get("after_id"), asked.get("before_id"))


def _fault(script: Script) -> Refused:
    """The error that the script asks for; what it does not tell follows from the rest."""
    type_ = script.error_type or errors.type_of(script.status or errors.STATUS_OF_TYPE["overloaded_error"])
    status = script.status or errors.STATUS_OF_TYPE.get(type_, 500)
    message = script.message if script.message is not None else errors.MESSAGES.get(type_, "The script says so.")
    return Refused(status, type_, message)
