"""The interface's own description, OpenAPI 3.1, from the types that requests are decoded with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from claude_code_api.dialects.openai_chat.schema import REFUSED, Request
from claude_code_api.dialects.openai_chat.shapes import Completion, Error, ModelCard, ModelList
from claude_code_api.errors import RequestFailure

Json = dict[str, Any]

TITLE = "Claude Code API"
_ABOUT = "An OpenAI-compatible API in front of Claude Code. A program needs an API key of the gateway's own."
REF = "#/components/schemas/{name}"

EXAMPLE = {"model": "sonnet", "messages": [{"role": "user", "content": "Hello"}]}
_EXAMPLE_STREAM = 'data: {"id":"chatcmpl-…","object":"chat.completion.chunk", …}\n\ndata: [DONE]\n\n'

_REASONS = {
    400: "The request is wrong; `param` names the field.",
    401: "No API key, or none that is valid.",
    403: "The key may not do this, or the way must be encrypted.",
    404: "There is no such model, record or endpoint.",
    405: "The endpoint answers other methods.",
    408: "The request came too slowly.",
    409: "It contradicts what is there.",
    412: "It is not (any more) as it was seen; `If-Match` names the version.",
    413: "The body is too large.",
    415: "The body is no JSON, or packed in an unknown way.",
    429: "Too many requests; `Retry-After` tells when to come back.",
    431: "The head is too large.",
    502: "Anthropic or Claude Code failed, or Anthropic refused the stored credential.",
    503: "There is no room now; `Retry-After` tells when to come back.",
    504: "Anthropic took too long.",
}
_ANY = (400, 403, 408, 429, 431, 503)  # what every request may meet
_WITH_KEY = (*_ANY, 401, 502, 504)

_STATUS = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
_NO_KEY: list[Json] = []


class Described(msgspec.Struct, frozen=True):
    """Paths, shapes and ways to say who one is, of another part of the interface."""

    paths: Json
    schemas: Json
    security_schemes: Json


def description(health_paths: Iterable[str], more: Described | None = None) -> Json:
    """The whole document, with `more` behind. It tells nothing of this installation."""
    more = more or Described({}, {}, {})
    types = (Request, Completion, ModelList, ModelCard, Error)
    refs, schemas = msgspec.json.schema_components(types, ref_template=REF)
    shapes = dict(zip(types, refs, strict=True))
    for struct, rows in REFUSED.items():
        for row in rows:  # anything else is refused
            neutral = [None, *map(msgspec.json.decode, row.neutral)]
            schemas[struct.__name__]["properties"][row.name]["enum"] = neutral
    for field in schemas["Request"]["properties"].values():
        if told := re.sub(r"See \*[\w ]+\*\.", "", field.pop("description", "")).strip():  # of docs/openai-chat.md
            field["description"] = told
    model = {
        "name": "model",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": "sonnet",
    }
    chat = _operation("Answer a conversation", "createChatCompletion", shapes[Completion], (*_WITH_KEY, 404, 413, 415))
    chat["description"] = "Whole, or streamed as server-sent events where `stream` is true."
    chat["requestBody"] = {"required": True, "content": _json(shapes[Request], EXAMPLE)}
    chat["responses"]["200"]["content"]["text/event-stream"] = {
        "schema": {"type": "string"},
        "example": _EXAMPLE_STREAM,
    }
    paths: Json = {
        "/v1/chat/completions": {"post": chat},
        "/v1/models": {"get": _operation("List the models", "listModels", shapes[ModelList], _WITH_KEY)},
        "/v1/models/{model}": {
            "parameters": [model],
            "get": _operation("Tell one model", "getModel", shapes[ModelCard], (*_WITH_KEY, 404)),
        },
    }
    for path in sorted(health_paths):
        summary = "Tell whether requests are taken" if path.endswith("ready") else "Tell that the gateway lives"
        operation = _operation(summary, path.strip("/").replace("/", "_"), _STATUS, _ANY)
        paths[path] = {"get": {**operation, "security": _NO_KEY}}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": "1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"header": []}],
        "paths": paths | more.paths,
        "components": {
            "schemas": schemas | more.schemas,
            "responses": {str(status): _refusal(status, shapes[Error]) for status in _REASONS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer sk-…`"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                **more.security_schemes,
            },
        },
    }


def _json(schema: Json, example: object = None) -> Json:
    return {"application/json": {"schema": schema, **({"example": example} if example else {})}}


def _operation(summary: str, identifier: str, answer: Json, refusals: Iterable[int]) -> Json:
    return {"summary": summary, "operationId": identifier, "responses": answers(200, answer, refusals)}


def answers(status: int, answer: Json | None, refusals: Iterable[int]) -> Json:
    """The answer (None: without a body) and the refusals that an operation has."""
    content = {"content": _json(answer)} if answer else {}
    return {
        str(status): {"description": "The answer.", **content},
        **{str(refused): {"$ref": f"#/components/responses/{refused}"} for refused in sorted(refusals)},
    }


def _refusal(status: int, shape: Json) -> Json:
    failure = next(kind for kind in RequestFailure.__subclasses__() if kind.status == status)
    fault = {"message": _REASONS[status], "type": failure.type, "param": None, "code": failure.default_code}
    return {"description": _REASONS[status], "content": _json(shape, {"error": fault})}
