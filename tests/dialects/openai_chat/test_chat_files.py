"""Files in a request: PDFs and texts become documents, what a label says is checked against the bytes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.conversation import Base64Source, Document, Image, Text, TextSource, ToolResult
from claude_code_api.dialects.openai_chat import ChatRequest
from claude_code_api.errors import InvalidRequest

Ask = Callable[..., ChatRequest]
AT = "messages.0.content.0.file"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{b64(content)}"


def read(*files: Any) -> list[dict[str, Any]]:
    """A user's message of these files, and a question."""
    parts = [{"type": "file", "file": {"file_data": file} if isinstance(file, str) else file} for file in files]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is this?"}]}]


def first(request: ChatRequest) -> Any:
    return request.conversation.messages[-1].content[0]


def refusal(call: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        call()
    return raised.value


@pytest.mark.parametrize(
    "file_data", [data_url(PDF, "application/pdf"), data_url(PDF, "application/octet-stream"), b64(PDF)]
)
def test_a_pdf_is_a_document_in_its_place(ask: Ask, file_data: str) -> None:
    (turn,) = ask(read({"file_data": file_data, "filename": "a.pdf"})).conversation.messages
    assert turn.content == (Document(Base64Source("application/pdf", b64(PDF)), "a.pdf"), Text("What is this?"))


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain", "text/markdown", "text/csv", "text/html", "text/x-python", "text/plain;charset=utf-8",
        "TEXT/PLAIN;charset=UTF-8;name=a", "application/json", "application/ld+json", "application/xml",
        "application/x-yaml", "application/yaml", "application/javascript", "application/x-ndjson", "application/toml",
        "application/sql", "application/typescript", "application/x-sh", "application/octet-stream",
    ],
)  # fmt: skip
def test_a_text_is_a_document_of_plain_text(ask: Ask, media_type: str) -> None:
    text = "naïve, 漢字\r\n\x00" if media_type != "application/octet-stream" else "naïve, 漢字\r\n"
    block = first(ask(read({"file_data": data_url(text.encode(), media_type), "filename": "notes"})))
    assert block == Document(TextSource(text), "notes")


def test_a_byte_order_mark_is_no_text(ask: Ask) -> None:
    assert first(ask(read(data_url(b"\xef\xbb\xbfhello", "text/plain")))).source == TextSource("hello")


def test_base64_alone_is_told_by_its_bytes(ask: Ask) -> None:
    assert first(ask(read(b64(b"a,b\n1,2\n")))) == Document(TextSource("a,b\n1,2\n"))


def test_a_picture_as_a_file_is_an_image(ask: Ask, png: str) -> None:
    assert first(ask(read(f"data:image/png;base64,{png}"))) == Image(Base64Source("image/png", png))


@pytest.mark.parametrize(("name", "title"), [(None, None), ("", None), (" ", None), ("n" * 600, "n" * 500)])
def test_a_name_is_the_title_as_far_as_anthropic_takes_it(ask: Ask, name: Any, title: Any) -> None:
    assert first(ask(read({"file_data": b64(PDF), "filename": name}))).title == title


def test_files_stand_among_texts_and_images_and_in_results_of_tools(ask: Ask, png: str) -> None:
    document = {"type": "file", "file": {"file_data": b64(PDF)}}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
    text = {"type": "text", "text": "x"}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    request = ask(
        [
            {"role": "user", "content": [text, document, image, document]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": [text, document]},
        ]
    )
    asked, _, answered = request.conversation.messages
    assert [type(block) for block in asked.content] == [Text, Document, Image, Document]
    (result,) = answered.content
    assert isinstance(result, ToolResult)
    assert [type(block) for block in result.content] == [Text, Document]


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    ("file", "fault"),
    [
        (data_url(b"hello", "application/pdf"), "no PDF"),
        (data_url(b"", "text/plain"), "empty"),
        (data_url(b" \n", "text/plain"), "empty"),
        (data_url(PDF.replace(b"/Root", b"/Encrypt 9 0 R/Root"), "application/pdf"), "encrypted"),
        (b64(PDF.replace(b"/Root", b"/Encrypt <</V 4>>/Root")), "encrypted"),
        (data_url("naïve".encode("latin-1"), "text/plain"), "not UTF-8 (byte 2)"),
        (data_url("naïve".encode("utf-16"), "text/csv"), "not UTF-8"),
        (data_url(b"hello", "text/plain;charset=iso-8859-1"), "texts are UTF-8"),
        (b64(b"\x00\x01\x02"), "neither a PDF nor a text"),
        (b64(b"\xff\xfe\xfd"), "not UTF-8"),
        (data_url(b"PK\x03\x04", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"), "no type"),
        (data_url(b"x", "audio/mpeg"), "no type"),
        ("data:text/plain,hello", "begins data:"),
        ("data:;base64", "begins data:"),
        ("data:" + "a" * 5000 + ";base64,aGk=", "begins data:"),
        ("https://example.com/a.pdf", "not fetched from URLs"),
        ("data:text/plain;base64,aGk", "no base64"),
        ("not base64 at all!", "no base64"),
        ("data:text/plain;base64,aGVs\nbG8=", "no base64"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(ask: Ask, file: str, fault: str) -> None:
    refused = refusal(lambda: ask(read(file)))
    assert (refused.status, refused.code, refused.param) == (400, "invalid_file", f"{AT}.file_data")
    assert fault in refused.message


def test_files_that_were_uploaded_elsewhere_are_refused_by_name(ask: Ask) -> None:
    for file in ({"file_id": "file-abc"}, {"file_id": "file-abc", "file_data": b64(PDF)}):
        refused = refusal(lambda file=file: ask(read(file)))  # type: ignore[misc]
        assert (refused.status, refused.code, refused.param) == (400, "unsupported_parameter", f"{AT}.file_id")
    assert refusal(lambda: ask(read({"filename": "a.pdf"}))).param == f"{AT}.file_data"
    assert refusal(lambda: ask(read({"file_data": 1}))).param == f"{AT}.file_data"
    assert refusal(lambda: ask([{"role": "user", "content": [{"type": "file"}]}])).param == AT


def test_sizes_and_numbers_are_limited(ask: Ask) -> None:
    for size in (3001, 30_000):
        refused = refusal(lambda size=size: ask(read(b64(b"x" * size))))  # type: ignore[misc]
        assert (refused.status, refused.code, refused.param) == (400, "file_too_large", f"{AT}.file_data")
    assert first(ask(read(b64(b"x" * 3000))))
    assert ask(read(*[b64(PDF)] * 3))
    assert refusal(lambda: ask(read(*[b64(PDF)] * 4))).code == "too_many_files"


@given(st.binary(max_size=60), st.sampled_from(["", "data:text/plain;base64,", "data:application/pdf;base64,"]))
def test_any_bytes_are_a_document_or_a_fault_that_names_the_file(ask: Ask, content: bytes, head: str) -> None:
    try:
        block = first(ask(read(head + b64(content))))
    except InvalidRequest as refused:
        block = refused
    if isinstance(block, Document) and isinstance(block.source, TextSource):
        assert block.source.data.encode() == content.removeprefix(b"\xef\xbb\xbf")
    else:
        assert isinstance(block, Document) or block.param == f"{AT}.file_data"
