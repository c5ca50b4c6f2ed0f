"""Every template, with made-up values: whole HTML, nothing inline, and what a screen reader needs."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from page_samples import PAGES

from claude_code_api.admin.pages.rendering import CONTENT_TYPES, HERE, POLICY, assets, render

VOID = {"meta", "link", "input", "img", "br", "hr"}
PARTS = {"base.html", "page.html", "outside.html", "macros.html", "brand.html", "key_fields.html", "snippets.html"}

every_page = pytest.mark.parametrize("name", PAGES)


class Read(HTMLParser):
    """All elements with their attributes, and what is opened and not closed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.strays: list[str] = []
        template, frame, values = PAGES[name]
        self.text = render(template, frame, **values).decode()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.strays.append(tag)

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [marks for tag, marks in self.elements if tag in tags]


def test_every_template_has_a_sample() -> None:
    there = {path.name for path in (HERE / "templates").glob("*.html")}
    assert there - PARTS == {template for template, _, _ in PAGES.values()}


@every_page
def test_every_element_is_closed_where_it_was_opened(name: str) -> None:
    page = Read(name)
    assert (page.strays, page.open) == ([], [])


@every_page
@pytest.mark.policy("N3")
def test_nothing_stands_inline_that_the_policy_would_refuse(name: str) -> None:
    page = Read(name)
    assert [
        marks for _, marks in page.elements if any(mark == "style" or mark.startswith("on") for mark in marks)
    ] == []
    assert page.all("style", "iframe", "object", "base") == []
    assert [marks["src"] for marks in page.all("script")] == [assets()["admin.js"].address]
    addresses = [
        marks.get(mark) or "" for _, marks in page.elements for mark in ("src", "href", "action", "formaction")
    ]
    assert [address for address in addresses if re.match(r"(?i)[a-z]+:|//", address)] == []
    assert b"unsafe" not in POLICY


@every_page
def test_there_is_one_heading_of_the_page_and_a_title_of_its_own(name: str) -> None:
    page = Read(name)
    assert len(page.all("h1")) == 1
    assert re.search(r"<title>\S.* · Claude Code API</title>", page.text)
    assert len(page.all("main")) == 1
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@every_page
def test_ids_are_unique_and_whatever_refers_to_one_finds_it(name: str) -> None:
    page = Read(name)
    ids = Counter(marks["id"] for _, marks in page.elements if "id" in marks)
    assert [identifier for identifier, number in ids.items() if number > 1] == []
    for _, marks in page.elements:
        for mark in ("for", "aria-labelledby", "aria-describedby", "list", "data-copy", "data-reveal", "data-stream"):
            assert set((marks.get(mark) or "").split()) <= set(ids), marks
        address = marks.get("href") or ""
        assert not address.startswith("#") or address[1:] in ids, marks


@every_page
def test_every_field_has_a_label(name: str) -> None:
    page = Read(name)
    labelled = {marks["for"] for marks in page.all("label")}
    for marks in page.all("input", "select", "textarea"):
        if marks.get("type") != "hidden" and "hidden" not in marks:
            assert marks["id"] in labelled, marks


@every_page
def test_every_form_that_changes_something_bears_the_token(name: str) -> None:
    page = Read(name)
    if "name" not in PAGES[name][1].__struct_fields__ or not PAGES[name][1].name:
        return
    forms = re.findall(r"<form method=\"post\".*?</form>", page.text, re.DOTALL)
    assert [form for form in forms if 'name="csrf_token" value="token"' not in form] == []
    assert {marks.get("method", "get") for marks in page.all("form")} <= {"get", "post"}


def test_errors_stand_at_their_field_and_on_top_with_a_link() -> None:
    page = Read("key-new-wrong")
    field = next(marks for marks in page.all("input") if marks.get("name") == "rate_limit")
    assert field["aria-invalid"] == "true"
    assert "new-rate_limit-error" in (field["aria-describedby"] or "").split()
    assert field["value"] == "lots"
    assert "#new-rate_limit" in [marks.get("href") for marks in page.all("a")]


def test_a_password_is_never_written_back() -> None:
    for name in PAGES:
        assert [
            marks for marks in Read(name).all("input") if marks.get("type") == "password" and marks.get("value")
        ] == []


def test_names_cannot_bring_markup() -> None:
    template, frame, values = PAGES["key"]
    from msgspec.structs import replace

    evil = replace(values["key"], name="<script>alert(1)</script>", created_by='"><img src=x>')
    text = render(template, frame, **{**values, "key": evil}).decode()
    assert "<script>alert" not in text
    assert "<img" not in text


def test_the_files_beside_the_pages_are_all_served() -> None:
    assert {path.name for path in (HERE / "static").iterdir()} == set(CONTENT_TYPES)
