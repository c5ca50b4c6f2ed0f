"""`/docs`: the interface's description as a page for people, without scripts and without another origin."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

Json = dict[str, Any]


def docs_page(description: Json) -> bytes:
    """The page in HTML; its style is `/docs.css`."""
    info = description["info"]
    page = Element("html", lang="en")
    head = SubElement(page, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    SubElement(head, "title").text = info["title"]
    SubElement(head, "link", rel="stylesheet", href="/docs.css")
    body = SubElement(SubElement(page, "body"), "main")
    SubElement(body, "h1").text = info["title"]
    _prose(SubElement(body, "p"), info["description"])
    _prose(
        SubElement(body, "p"),
        "The key comes as `Authorization: Bearer sk-…` or `x-api-key: sk-…`. All of this is there",
    )
    link = SubElement(body[-1], "a", href="/openapi.json")
    link.text = "for programs"
    link.tail = "."
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                _operation(body, method, path, operation, description["components"]["responses"])
    SubElement(body, "h2").text = "Shapes"
    for name, schema in description["components"]["schemas"].items():
        _shape(body, name, schema)
    rendered: bytes = tostring(page, encoding="utf-8", method="html")
    return b"<!DOCTYPE html>\n" + rendered


def _operation(body: Element, method: str, path: str, operation: Json, refusals: Json) -> None:
    section = SubElement(body, "section")
    title = SubElement(section, "h2")
    SubElement(title, "b").text = method.upper()
    SubElement(title, "code").text = path
    without_key = " No key is needed." if operation.get("security") == [] else ""
    _prose(SubElement(section, "p"), f"{operation['summary']}. {operation.get('description', '')}{without_key}")
    if "requestBody" in operation:
        asked = operation["requestBody"]["content"]["application/json"]
        if "example" in asked:
            _kinds(SubElement(section, "p"), "Takes ", asked["schema"])
            SubElement(section, "pre").text = json.dumps(asked["example"], indent=2)
        elif "properties" in asked["schema"]:
            _fields(section, "Takes", asked["schema"])
        else:
            _kinds(SubElement(section, "p"), "Takes ", asked["schema"])
    if parameters := operation.get("parameters"):
        shape = {
            "properties": {each["name"]: each["schema"] for each in parameters},
            "required": [each["name"] for each in parameters if each["required"]],
        }
        _fields(section, "In the path, the query or a header", shape)
    for content_type, answer in next(iter(operation["responses"].values())).get("content", {}).items():
        if content_type == "application/json":
            _kinds(SubElement(section, "p"), "Answers ", answer["schema"])
    refused = SubElement(SubElement(section, "details"), "table")
    refused_title = Element("summary")
    refused_title.text = "Errors"
    section[-1].insert(0, refused_title)
    for status, told in operation["responses"].items():
        if "$ref" in told:
            row = SubElement(refused, "tr")
            SubElement(row, "th").text = status
            _prose(SubElement(row, "td"), refusals[status]["description"])


def _shape(body: Element, name: str, schema: Json) -> None:
    section = SubElement(body, "section", id=name)
    SubElement(SubElement(section, "h3"), "code").text = name
    if "description" in schema:
        _prose(SubElement(section, "p"), schema["description"])
    _table(section, schema)


def _fields(section: Element, title: str, schema: Json) -> None:
    SubElement(section, "p").text = f"{title}:"
    _table(section, schema)


def _table(section: Element, schema: Json) -> None:
    table = SubElement(section, "table")
    for field, kind in schema.get("properties", {}).items():
        row = SubElement(table, "tr")
        SubElement(SubElement(row, "th"), "code").text = field
        cell = SubElement(row, "td")
        _kinds(cell, "", kind)
        if field in schema.get("required", ()):
            SubElement(cell, "em").text = " required"
        if "description" in kind:
            _prose(SubElement(cell, "p"), kind["description"])


def _kinds(parent: Element, before: str, schema: Json) -> None:
    """What a value may be, as text with links to the shapes."""
    parent.text = before
    for kind in _kinds_of(schema):
        if kind.startswith("#"):
            link = SubElement(parent, "a", href=kind)
            link.text = kind[1:]
            link.tail = ""
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + kind
        else:
            parent.text += kind


def _kinds_of(schema: Json) -> Iterator[str]:
    if "$ref" in schema:
        yield "#" + schema["$ref"].rpartition("/")[2]
    elif "anyOf" in schema:
        for number, choice in enumerate(schema["anyOf"]):
            if number:
                yield " or "
            yield from _kinds_of(choice)
    elif "enum" in schema:
        yield " or ".join(map(json.dumps, schema["enum"]))
    elif "const" in schema:
        yield json.dumps(schema["const"])
    elif schema.get("type") == "array":
        yield "list of "
        yield from _kinds_of(schema.get("items", {}))
    else:
        yield str(schema.get("type", "anything"))


def _prose(parent: Element, text: str) -> None:
    """Text with code between backticks."""
    for number, piece in enumerate(re.split(r"`([^`]+)`", text)):
        if number % 2:
            SubElement(parent, "code").text = piece
        elif len(parent):
            parent[-1].tail = piece
        else:
            parent.text = piece
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + " "
