"""From a request to its page: who may see it, what it shows, and how failures look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from claude_code_api.admin.api import Routes, fields
from claude_code_api.admin.caller import Caller
from claude_code_api.admin.forgery import READING, require_own_origin
from claude_code_api.admin.pages import VIEWS
from claude_code_api.admin.pages.rendering import POLICY, STATIC, Frame, assets, prepare, render
from claude_code_api.admin.pages.visit import Answer, Elsewhere, Shown, View, Visit, is_own_page
from claude_code_api.errors import NotFound, RequestFailure, Unauthenticated, UnsupportedMediaType
from claude_code_api.surface.exchange import ClientDisconnected, Exchange

if TYPE_CHECKING:
    from claude_code_api.admin import Admin

LOGIN: Final = "/admin/login"
HTML: Final = b"text/html; charset=utf-8"
_FOR_GOOD: Final = b"public, max-age=31536000, immutable"
_TITLES: Final = {
    400: "That could not be understood",
    401: "You are signed out",
    403: "You may not do that",
    404: "There is no such page",
    409: "That cannot be done now",
    412: "Somebody else was faster",
    413: "That is too much",
    429: "Too many attempts",
    500: "The gateway failed",
    503: "There is no room just now",
}


class Pages:
    """One for each server."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._routes = Routes(VIEWS)

    async def __call__(self, exchange: Exchange, origin: str) -> None:
        """Answers always with a page, unless an answer has begun or nobody waits for one."""
        exchange.content_policy = POLICY
        frame = Frame()
        try:
            if exchange.path.startswith(STATIC):
                await self._asset(exchange)
                return
            found, in_path = self._routes.find(exchange.method, exchange.path.rstrip("/"))
            caller = None if found.role is None else await self._admin.caller(exchange)
            form = await self._form(exchange)
            self._require_no_forgery(exchange, origin, caller, form)
            asked = fields(exchange.query)
            visit = Visit(exchange, self._admin, origin, caller, path=in_path, query=asked, form=form)
            frame = visit.frame("")
            await self._answer(visit, found)
        except Exception as fault:
            failure = None if exchange.status else exchange.failure_of(fault)
            if failure is None or isinstance(fault, ClientDisconnected):
                raise
            await self._fail(exchange, failure, frame)

    async def _answer(self, visit: Visit, found: View) -> None:
        if found.role is not None:
            visit.caller.require(found.role)
        answer: Answer = await found.run(visit)
        exchange = visit.exchange
        if isinstance(answer, Shown):
            frame = visit.frame(answer.section)
            await exchange.answer(answer.status, render(answer.template, frame, **answer.values), content_type=HTML)
            prepare()  # for whoever looks at one page looks at more, and nobody else needs them
        elif isinstance(answer, Elsewhere):
            await exchange.answer(303, b"", [*answer.headers, (b"location", answer.address.encode())])

    # --- before a page --------------------------------------------------------------------------------------

    async def _form(self, exchange: Exchange) -> dict[str, str]:
        if exchange.method in READING:
            return {}
        kind = exchange.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/x-www-form-urlencoded":
            raise UnsupportedMediaType("A page's form comes as application/x-www-form-urlencoded.")
        return fields(await self._admin.body(exchange))

    def _require_no_forgery(self, exchange: Exchange, origin: str, caller: Caller | None, form: dict[str, str]) -> None:
        """Whoever is not signed in has no token yet; browsers tell the origin of every form."""
        token = form.pop("csrf_token", None)
        if caller is not None:
            self._admin.require_no_forgery(exchange, caller, origin, token)
        elif exchange.method not in READING:
            require_own_origin(exchange, origin, told=True)

    async def _asset(self, exchange: Exchange) -> None:
        asset = assets().get(exchange.path.removeprefix(STATIC))
        if asset is None or exchange.method not in READING:
            raise NotFound("There is no such file.")
        exchange.cache_control = _FOR_GOOD
        await exchange.answer(200, asset.body, content_type=asset.content_type)

    # --- failing --------------------------------------------------------------------------------------------

    async def _fail(self, exchange: Exchange, failure: RequestFailure, frame: Frame) -> None:
        exchange.notes["error"] = failure.code
        if isinstance(failure, Unauthenticated) and exchange.method in READING:
            await self._to_login(exchange)
            return
        headers = [(b"retry-after", b"%d" % failure.retry_after)] if failure.retry_after is not None else []
        way = ("/admin", "Go to the overview") if frame.name else (LOGIN, "Sign in")
        page = render(
            "error.html",
            frame,
            title=_TITLES.get(failure.status, "That did not work"),
            message=failure.message,
            wait=f"{failure.retry_after} seconds" if failure.retry_after else "",
            ways=[way],
            request_id=exchange.id,
        )
        await exchange.answer(failure.status, page, headers, HTML)

    async def _to_login(self, exchange: Exchange) -> None:
        """To sign in, and then back. A link on another site brings no cookie along; so the page is asked for again."""
        if exchange.headers.get(b"sec-fetch-site") == b"cross-site":
            await exchange.answer(200, render("again.html", Frame()), content_type=HTML)
            return
        address = exchange.path + (f"?{exchange.query.decode('latin-1')}" if exchange.query else "")
        back = "" if address == "/admin" or not is_own_page(address) else f"?next={quote(address)}"
        await exchange.answer(303, b"", [(b"location", (LOGIN + back).encode())])
