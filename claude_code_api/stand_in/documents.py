"""What the API demands of documents, and what they are in words."""

from __future__ import annotations

import base64
import re
from typing import Any

from claude_code_api.stand_in import shape
from claude_code_api.stand_in.errors import invalid
from claude_code_api.stand_in.shape import Json

MAX_PDF_PAGES = 600
MAX_TITLE = 500
_PAGE = re.compile(rb"/Type\s*/Page\b")
_ENCRYPTED = re.compile(rb"/Encrypt\s*(?:\d+\s+\d+\s+R|<<)")


def check(block: Json, path: str) -> None:
    """One `document` block; `path` is its own."""
    for name in ("title", "context"):
        if (value := block.get(name)) is not None and not shape.text(value, f"{path}.{name}"):
            raise invalid(f"{path}.{name}: String should have at least 1 character")
    if len(block.get("title") or "") > MAX_TITLE:
        raise invalid(f"{path}.title: String should have at most {MAX_TITLE} characters")
    if (citations := block.get("citations")) is not None:
        shape.fields(shape.mapping(citations, f"{path}.citations"), f"{path}.citations", (), ("enabled",))
    source, path = block["source"], f"{path}.source"
    kind = shape.mapping(source, path).get("type")
    shape.one_of(kind, ("base64", "text", "content", "url", "file"), f"{path}.type")
    if kind == "base64":
        shape.fields(source, f"{path}.base64", ("type", "media_type", "data"), ())
        shape.one_of(source["media_type"], ("application/pdf",), f"{path}.base64.media_type")
        _check_pdf(shape.base64_data(source["data"], f"{path}.base64.data"), f"{path}.base64.data")
    elif kind == "text":
        shape.fields(source, f"{path}.text", ("type", "media_type", "data"), ())
        shape.one_of(source["media_type"], ("text/plain",), f"{path}.text.media_type")
        shape.text(source["data"], f"{path}.text.data")


def check_pages(messages: list[Json]) -> None:
    """The pages of all PDFs together. Only those are counted that no object stream hides."""
    pages = sum(_pages(block) for message in messages for block in _documents(message["content"]))
    if pages > MAX_PDF_PAGES:
        raise invalid(f"A maximum of {MAX_PDF_PAGES} PDF pages may be provided.")


def describe(block: Json) -> str:
    """A document in words: `the PDF "a.pdf"`."""
    kind = "PDF" if block["source"]["type"] == "base64" else "text"
    return f'the {kind} "{block["title"]}"' if block.get("title") else f"a {kind}"


def _check_pdf(data: bytes, path: str) -> None:
    if b"%PDF-" not in data[:1024]:
        raise invalid(f"{path}: The PDF specified was not valid.")
    if _ENCRYPTED.search(data):
        raise invalid(f"{path}: The PDF specified is password protected.")


def _documents(content: Any) -> list[Json]:
    documents: list[Json] = []
    for block in content if isinstance(content, list) else ():
        if block["type"] == "document":
            documents.append(block)
        elif block["type"] == "tool_result":
            documents += _documents(block.get("content"))
    return documents


def _pages(document: Json) -> int:
    source = document["source"]
    return len(_PAGE.findall(base64.b64decode(source["data"]))) if source["type"] == "base64" else 0
