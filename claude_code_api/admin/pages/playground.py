"""A small playground: asks as a program with a chosen key would. With a script the answer is streamed."""

from __future__ import annotations

import msgspec

from claude_code_api.admin.actions.keys import list_keys
from claude_code_api.admin.actions.playground import ask, live_key
from claude_code_api.admin.pages.rendering import Form
from claude_code_api.admin.pages.visit import MENDED, Answer, Answered, Shown, Visit, view
from claude_code_api.errors import InvalidRequest, NotFound, RequestFailure
from claude_code_api.gateway.models import DEFAULT_NAMES

KEYS = 200
"""Keys to choose from, those that were used last."""
FIELDS = ("key", "model", "system", "message")


@view("GET", "/admin/playground", "admin")
async def show(visit: Visit) -> Answer:
    return await _page(visit, Form("ask", {"model": "sonnet", **visit.query}))


@view("POST", "/admin/playground", "admin")
async def put(visit: Visit) -> Answer:
    given = {name: visit.form[name] for name in FIELDS if name in visit.form}
    if b"text/event-stream" in visit.exchange.headers.get(b"accept", b""):
        await _stream(visit, given)
        return Answered()
    try:
        if "message" not in given:
            raise InvalidRequest("Write what you want to ask.", param="message")
        answer = await visit.do(ask, **{"key": "", **given})
    except (*MENDED, NotFound) as failure:
        return await _page(visit, visit.failed_form("ask", failure, *FIELDS), failure)
    except RequestFailure as failure:  # what Anthropic said of it
        return await _page(visit, visit.failed_form("ask", failure), failure)
    figures = f"{answer.input_tokens:,} tokens in, {answer.output_tokens:,} out"
    return await _page(visit, Form("ask", given), answer=answer.text, figures=figures)


async def _stream(visit: Visit, given: dict[str, str]) -> None:
    """As `/v1/chat/completions` streams; failures are JSON, which the page's script reads."""
    exchange = visit.exchange
    try:
        key = await live_key(visit.parts, given.get("key", ""))
        messages = [{"role": "system", "content": given["system"]}] if "system" in given else []
        body = {
            "model": given.get("model", "sonnet"),
            "messages": [*messages, {"role": "user", "content": given.get("message", "")}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        async with visit.parts.keys.passing(exchange, key):
            await visit.admin.chat.answer(exchange, key, msgspec.json.encode(body))
    except RequestFailure as failure:
        if exchange.status:
            raise
        await exchange.refuse(failure)


async def _page(
    visit: Visit, form: Form, failure: RequestFailure | None = None, answer: str = "", figures: str = ""
) -> Answer:
    keys = await visit.do(list_keys, state="live", sort="last_used_at", limit=KEYS)
    models = dict.fromkeys([*DEFAULT_NAMES, *visit.parts.settings.model_aliases])
    values = {
        "keys": [(key.id, f"{key.name} (sk-…{key.hint})") for key in keys.items],
        "models": [(name, name) for name in models],
        "form": form,
        "answer": answer,
        "answer_figures": figures,
    }
    return Shown("playground.html", "playground", values, failure.status if failure else 200)
