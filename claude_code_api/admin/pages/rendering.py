"""Templates and what they may use: every page is made here, with everything escaped (`autoescape`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from claude_code_api.access.administrator import Role
from claude_code_api.admin.pages import charts, wording

HERE: Final = Path(__file__).parent
STATIC = "/admin/static/"
CONTENT_TYPES: Final = {
    "admin.css": b"text/css; charset=utf-8",
    "admin.js": b"text/javascript; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""What a page may load and run: nothing but our own files, nothing that stands in the page (policy N3)."""

_RANK: Final = ("viewer", "admin", "owner")


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What the frame of a page needs. `section` is the entry of the menu, `done` what has just been done.

    Nobody is signed in where `name` is empty.
    """

    section: str = ""
    name: str = ""
    role: Role = "viewer"
    csrf_token: str = ""
    done: str = ""

    def may(self, role: Role) -> bool:
        return bool(self.name) and _RANK.index(self.role) >= _RANK.index(role)


class Form(msgspec.Struct, frozen=True):
    """A form as it is shown: `id` begins the ids of its fields; `errors` by field, `message` of the whole."""

    id: str
    values: Mapping[str, str] = {}
    errors: Mapping[str, str] = {}
    message: str = ""


class Asset(msgspec.Struct, frozen=True):
    body: bytes
    content_type: bytes
    address: str
    """With a digest of the content, so that it may be kept for good."""


@cache
def assets() -> dict[str, Asset]:
    """The files beside the pages, by name."""
    found = {}
    for name, content_type in CONTENT_TYPES.items():
        body = (HERE / "static" / name).read_bytes()
        digest = hashlib.sha256(body).hexdigest()[:12]
        found[name] = Asset(body, content_type, f"{STATIC}{name}?{digest}")
    return found


def render(template: str, page: Frame, **values: Any) -> bytes:
    return _environment().get_template(template).render(page=page, **values).encode()


@cache
def prepare() -> None:
    """Compiles all templates, in a thread: each would hold up the first page that needs it, by 20 to 100 ms."""

    def compile_all() -> None:
        environment = _environment()
        for name in environment.list_templates():
            environment.get_template(name)

    Thread(target=compile_all, name="templates", daemon=True).start()


def plain_text(template: str, **values: Any) -> str:
    """A template that is no HTML, so that nothing in it is escaped before a page shows it."""
    return _environment().overlay(autoescape=False).get_template(template).render(**values).rstrip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for write in (
        wording.ago, wording.address_of, wording.count, wording.credential_state, wording.details, wording.device,
        wording.duration, wording.iso, wording.key_state, wording.kind, wording.limit_told, wording.limits,
        wording.moment, wording.resets_at, wording.tokens, wording.usd, charts.share,
    ):  # fmt: skip
        environment.filters[write.__name__] = write
    environment.globals["asset"] = lambda name: assets()[name].address
    return environment
