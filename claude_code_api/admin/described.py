"""The admin API's part of `openapi.json`, from the actions themselves."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from claude_code_api.admin.action import Action, Download
from claude_code_api.admin.actions import ACTIONS
from claude_code_api.admin.api import IF_VERSION, PREFIX
from claude_code_api.admin.metrics import PATH as METRICS
from claude_code_api.admin.sign_in import Me, SignInForm
from claude_code_api.secret import Secret
from claude_code_api.surface.description import REF, Described, Json, answers

SECURITY: list[Json] = [{"session": [], "csrf": []}, {"admin": []}]
SCHEMES: Json = {
    "session": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token"},
    "admin": {"type": "http", "scheme": "bearer", "description": "An admin token: `Authorization: Bearer adm-…`"},
}
_REFUSALS = (400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 429, 431, 503)


def described() -> Described:
    """The paths and the shapes of all actions and of the session."""
    given = [SignInForm, *(each.takes for each in ACTIONS)]
    told = [Me, *(each.gives for each in ACTIONS if each.gives not in (type(None), Download))]
    _, schemas = msgspec.json.schema_components([*given, *told], ref_template=REF, schema_hook=_schema)
    paths: Json = {}
    for each in ACTIONS:
        paths.setdefault(PREFIX + each.path, {})[each.method.lower()] = _operation(each, schemas)
    paths[f"{PREFIX}/session"] = {
        "get": _described("Tell who is signed in", "showSession", 200, _reference(Me)),
        "post": {
            **_described("Sign in", "signIn", 201, _reference(Me)),
            "security": [],
            "requestBody": _body(_reference(SignInForm)),
        },
        "delete": _described("Sign out", "signOut", 204, None),
    }
    paths[METRICS] = {"get": _metrics()}
    for kind in given:  # what is asked for stands with the operations
        if kind is not SignInForm:
            schemas.pop(kind.__name__, None)
    return Described(paths, schemas, SCHEMES)


def _operation(action: Action[Any, Any], schemas: Json) -> Json:
    in_path = re.findall(r"{(\w+)}", action.path)
    gives = action.gives
    answer = (
        None
        if gives in (type(None), Download)
        else msgspec.json.schema_components([gives], ref_template=REF, schema_hook=_schema)[0][0]
    )
    operation = _described(action.summary, _camel(action.name), action.status, answer)
    if action.files:
        text = {"schema": {"type": "string"}}
        operation["responses"]["200"]["content"] = dict.fromkeys(action.files, text)
    operation["description"] = f"Takes the role {action.role}."
    fields = dict(schemas[action.takes.__name__].get("properties", {}))
    required = set(schemas[action.takes.__name__].get("required", ()))
    parameters = [_parameter(name, "path", fields.pop(name), required=True) for name in in_path]
    if IF_VERSION in fields:
        parameters.append(_parameter("If-Match", "header", fields.pop(IF_VERSION), required=False))
    if action.method in ("GET", "DELETE"):
        parameters += [_parameter(name, "query", each, required=name in required) for name, each in fields.items()]
    elif fields:
        schema = {"type": "object", "properties": fields, "additionalProperties": False}
        if needed := sorted(required & set(fields)):
            schema["required"] = needed
        operation["requestBody"] = _body(schema)
    return {**operation, **({"parameters": parameters} if parameters else {})}


def _metrics() -> Json:
    operation = _described("Tell the metrics", "showMetrics", 200, None)
    text = {"schema": {"type": "string"}}
    operation["responses"]["200"]["content"] = {"text/plain": text, "application/openmetrics-text": text}
    operation["description"] = "For Prometheus, in the format that `Accept` asks for. Takes the role viewer."
    return operation


def _described(summary: str, identifier: str, status: int, answer: Json | None) -> Json:
    return {
        "summary": summary,
        "operationId": identifier,
        "tags": ["administrators"],
        "security": SECURITY,
        "responses": answers(status, answer, _REFUSALS),
    }


def _parameter(name: str, place: str, schema: Json, *, required: bool) -> Json:
    return {"name": name, "in": place, "required": required, "schema": schema}


def _body(schema: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _reference(kind: type[Any]) -> Json:
    return {"$ref": REF.format(name=kind.__name__)}


def _schema(kind: type[Any]) -> Json:
    if kind is Secret:
        return {"type": "string", "format": "password"}
    raise NotImplementedError(kind)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
