"""The interface's own description: whole, true, without a key, and with nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import jsonschema
import msgspec
import pytest
from surface_server import CHAT, HELLO, KEY, request

from claude_code_api import __version__
from claude_code_api.conversation import Finished, Started, TextDelta, ThinkingDelta, ToolArguments, ToolCall, Usage
from claude_code_api.dialects.openai_chat import completion, model_card, model_list
from claude_code_api.dialects.openai_chat import error as told
from claude_code_api.dialects.openai_chat.schema import REFUSED, Request
from claude_code_api.errors import RequestFailure
from claude_code_api.gateway.models import Model
from claude_code_api.surface.app import _HEALTH, App
from claude_code_api.surface.description import EXAMPLE, description
from claude_code_api.surface.documentation import POLICY

ITS_OWN = {"/openapi.json", "/docs", "/docs.css"}
DESCRIBED = description(_HEALTH)


def validate(value: Any, shape: str) -> None:
    schema = {"$ref": f"#/components/schemas/{shape}", "components": DESCRIBED["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


async def test_the_description_needs_no_key_and_names_every_route(serve, gateway):
    served = serve()
    answer = await served.exchange(request(path="/openapi.json"))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    document = json.loads(answer.body)
    assert document == msgspec.to_builtins(DESCRIBED)
    assert gateway.presented == []

    app = served.server._config.app
    assert isinstance(app, App)
    routes = {path: {method.lower()} for path, (method, _) in app._routes.items() if path not in ITS_OWN}
    routes["/v1/models/{model}"] = {"get"}
    assert {path: set(methods) - {"parameters"} for path, methods in document["paths"].items()} == routes


async def test_it_tells_nothing_of_the_installation(serve):
    served = serve()
    for path in ITS_OWN:
        body = (await served.exchange(request(path=path))).body.decode()
        for secret in (__version__, served.server.http_url, str(served.server._settings.data_dir)):
            assert secret not in body


@pytest.mark.policy("N3")
async def test_the_page_has_no_script_no_inline_style_and_no_other_origin(serve):
    served = serve()
    page = await served.exchange(request(path="/docs"))
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == POLICY.decode()
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"

    links, names = set(), set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "style", "img", "iframe", "form")
            for name, value in attributes:
                assert name in ("charset", "content", "href", "id", "lang", "name", "rel")
                if name == "href":
                    links.add(value)
                elif name == "id":
                    names.add(f"#{value}")

    Reader().feed(page.body.decode())
    assert links <= names | ITS_OWN
    for path in set(DESCRIBED["paths"]) | set(DESCRIBED["components"]["schemas"]):
        assert path in page.body.decode()
    style = await served.exchange(request(path="/docs.css"))
    assert (style.status, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert not re.search(rb"url\(|@import|//", style.body)


def test_every_reference_leads_somewhere():
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DESCRIBED)):
        place = DESCRIBED
        for step in reference.split("/"):
            place = place[step]


def test_every_field_of_a_request_is_described_and_refused_ones_have_their_neutral_values():
    fields = DESCRIBED["components"]["schemas"]["Request"]["properties"]
    assert set(fields) == set(Request.__struct_fields__)
    for row in REFUSED[Request]:
        assert fields[row.name]["enum"] == [None, *map(json.loads, row.neutral)]
    validate(EXAMPLE, "Request")
    with pytest.raises(jsonschema.ValidationError):
        validate(EXAMPLE | {"n": 2}, "Request")


ENDED = Finished(stop_reason="tool_use", usage=Usage(input_tokens=1, output_tokens=1))
CALL = (ToolCall(0, "call_1", "look"), ToolArguments(0, "{}"))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("events", [HELLO, (Started("m"), ThinkingDelta("hm"), TextDelta("so"), *CALL, ENDED)])
def test_real_answers_have_the_shape_that_is_described(events, legacy):
    answer = json.loads(completion("chatcmpl-1", 1, "sonnet", events, legacy_functions=legacy, show_thinking=True))
    validate(answer, "Completion")
    described = DESCRIBED["components"]["schemas"]
    assert set(answer) == set(described["Completion"]["properties"])
    assert set(answer["choices"][0]["message"]) <= set(described["AnswerMessage"]["properties"])
    assert set(answer["usage"]) == set(described["TokenUsage"]["properties"])


def test_models_and_errors_have_the_shape_that_is_described():
    validate(json.loads(model_list([Model("sonnet", 0, "anthropic")])), "ModelList")
    validate(json.loads(model_card(Model("sonnet", 0, "anthropic"))), "ModelCard")
    for kind in RequestFailure.__subclasses__():
        validate(json.loads(told(kind("It failed.", param="messages"))), "Error")
    for status, refusal in DESCRIBED["components"]["responses"].items():
        assert any(kind.status == int(status) for kind in RequestFailure.__subclasses__())
        validate(refusal["content"]["application/json"]["example"], "Error")


async def test_only_reading_is_allowed(serve):
    served = serve()
    assert (await served.exchange(request("POST", "/docs", authorization=f"Bearer {KEY}"))).status == 405
    assert (await served.exchange(request("HEAD", "/docs"))).body == b""
    assert CHAT in DESCRIBED["paths"]
