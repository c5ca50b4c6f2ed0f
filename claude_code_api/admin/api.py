"""The actions as JSON under `/admin/api/v1`: for scripts with an admin token, and for pages with a session."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from claude_code_api.admin.action import Action, Download, Parts
from claude_code_api.admin.caller import Caller
from claude_code_api.dialects.json_body import decode_json, not_of_the_type
from claude_code_api.errors import InvalidRequest, MethodNotAllowed, NotFound
from claude_code_api.secret import Secret
from claude_code_api.surface.exchange import Exchange

PREFIX = "/admin/api/v1"
MAX_DEPTH = 8
MAX_FIELDS = 100
IF_VERSION = "if_version"
"""The field of an input that `If-Match` fills: the change is made only to what was seen."""

FIRST_MOMENT, LAST_MOMENT = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
"""Beyond them a moment can be in no other time zone, and no day can follow."""

_OBJECT = msgspec.json.Decoder(dict[str, Any])


class Routed(Protocol):
    """What is asked for by a method and a path, in which `{name}` stands for anything."""

    method: str
    path: str


R = TypeVar("R", bound=Routed)


class Routes(Generic[R]):
    """Which action, or page, a request asks for."""

    def __init__(self, targets: Iterable[R]) -> None:
        self._routes = [(re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", each.path)), each) for each in targets]

    def find(self, method: str, path: str) -> tuple[R, dict[str, str]]:
        """The action and the fields in its path. NotFound; MethodNotAllowed names those that there are."""
        allowed: list[str] = []
        for pattern, target in self._routes:
            if found := pattern.fullmatch(path):
                if target.method == method or (method, target.method) == ("HEAD", "GET"):
                    return target, {name: unquote(value) for name, value in found.groupdict().items()}
                allowed += ["GET", "HEAD"] if target.method == "GET" else [target.method]
        if allowed:
            raise MethodNotAllowed.answers(*sorted(allowed))
        raise NotFound("There is no such endpoint.")


async def perform(
    exchange: Exchange, action: Action[Any, Any], in_path: dict[str, str], body: bytes, parts: Parts, caller: Caller
) -> None:
    """Does what was asked for, and answers with what came of it."""
    caller.require(action.role)  # before anything is said of the request
    reads = action.method in ("GET", "DELETE")
    given = query(exchange) if reads else decode_json(body, _OBJECT, MAX_DEPTH) if body else {}
    if match := exchange.headers.get(b"if-match"):
        given[IF_VERSION] = match.decode("latin-1").strip().removeprefix("W/").strip('"')
    for name, value in in_path.items():
        if name in given:
            raise InvalidRequest(f"`{name}` stands in the path.", param=name)
        given[name] = value
    made = await action(parts, caller, taken(given, action.takes, strict=not reads))
    if isinstance(made, Download):
        await download(exchange, made)
        return
    headers = []
    if version := getattr(made, "version", None):
        headers.append((b"etag", b'"%s"' % version.encode()))
    await exchange.answer(action.status, b"" if made is None else msgspec.json.encode(made), headers)


async def download(exchange: Exchange, made: Download) -> None:
    """Answers with a file, which the browser keeps rather than shows."""
    disposition = f'attachment; filename="{made.name}"'.encode()
    await exchange.begin(200, [(b"content-type", made.content_type), (b"content-disposition", disposition)])
    async with aclosing(made.chunks) as chunks:
        async for chunk in chunks:
            await exchange.write(chunk, more=True)
    await exchange.write(b"", more=False)


def query(exchange: Exchange) -> dict[str, Any]:
    """The fields of the query. InvalidRequest where one comes twice."""
    return fields(exchange.query)


def fields(encoded: bytes) -> dict[str, Any]:
    """What a query or a form holds; empty ones count as not given."""
    try:
        pairs = parse_qsl(encoded.decode(), keep_blank_values=False, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise InvalidRequest("The fields are not encoded as a form is.", code="invalid_form") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if sum(other == name for other, _ in pairs) > 1)
        raise InvalidRequest(f"`{twice[:100]}` comes twice.", param=twice[:100])
    return found


def taken(given: dict[str, Any], kind: type[Any], *, strict: bool) -> Any:
    """The input of an action. InvalidRequest names the field at fault."""
    try:
        made = msgspec.convert(given, kind, strict=strict, dec_hook=_secret)
    except msgspec.ValidationError as fault:
        raise not_of_the_type(fault) from None
    for name, value in msgspec.structs.asdict(made).items():
        if isinstance(value, datetime):
            _check_moment(name, value)
    return made


def _check_moment(name: str, moment: datetime) -> None:
    if moment.tzinfo is None:
        raise InvalidRequest(f"`{name}` needs a time zone, such as 2026-03-04T00:00:00Z.", param=name)
    if not FIRST_MOMENT <= moment <= LAST_MOMENT:
        raise InvalidRequest(f"`{name}` lies in no year from 1 to 9999 (UTC).", param=name)


def _secret(kind: type[Any], value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise msgspec.ValidationError("Expected `str`")
