"""The administrators' side: the web interface and the admin API, over `access`, `usage` and `audit`, by HTTPS alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import msgspec

from claude_code_api.access import Access
from claude_code_api.admin import cookies, metrics
from claude_code_api.admin.action import Parts
from claude_code_api.admin.actions import ACTIONS
from claude_code_api.admin.api import PREFIX, Routes, perform, taken
from claude_code_api.admin.caller import Caller
from claude_code_api.admin.described import described
from claude_code_api.admin.forgery import READING, require_own_origin, require_token
from claude_code_api.admin.pages.serving import Pages
from claude_code_api.admin.sign_in import Me, SignInForm
from claude_code_api.dialects.json_body import decode_json
from claude_code_api.errors import MethodNotAllowed, NotFound, Unauthenticated
from claude_code_api.settings import Settings
from claude_code_api.surface.asgi import Fields
from claude_code_api.surface.body import read_body, require_json
from claude_code_api.surface.body_budget import BodyBudget
from claude_code_api.surface.chat import Chat
from claude_code_api.surface.description import Described
from claude_code_api.surface.exchange import Exchange
from claude_code_api.surface.gateway import Gateway
from claude_code_api.surface.key_gate import KeyGate
from claude_code_api.surface.presented_key import presented_key

MAX_BODY = 256 * 1024
MAX_BODIES = 8 * 1024 * 1024
SESSION_PATH = PREFIX + "/session"
ENTRANCES = ("/", "/auth", "/auth/")


class Admin:
    """One for each server. It is asked over HTTPS alone: the surface sends everybody else there."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        gateway: Gateway,
        keys: KeyGate,
        certificate_ends_at: Callable[[], datetime | None],
        expose: metrics.Expose,
    ) -> None:
        self.parts = Parts(settings, access, gateway, keys, certificate_ends_at)
        self._expose = expose
        self._routes = Routes(ACTIONS)
        self._pages = Pages(self)
        self._bodies = BodyBudget(MAX_BODIES, MAX_BODY)
        self.chat = Chat(settings, gateway, self._bodies)

    async def __call__(self, exchange: Exchange, origin: str) -> None:
        """Answers, or raises the RequestFailure that is to be answered with. `origin` is where our pages are."""
        path = exchange.path
        if path in ENTRANCES:
            await exchange.answer(303, b"", [(b"location", b"/admin")])
        elif path == SESSION_PATH:
            await self._session(exchange, origin)
        elif path.startswith(PREFIX + "/"):
            action, in_path = self._routes.find(exchange.method, path[len(PREFIX) :])
            caller = await self.caller(exchange)
            self.require_no_forgery(exchange, caller, origin)
            body = b"" if action.method in ("GET", "DELETE") else await self._json(exchange)
            await perform(exchange, action, in_path, body, self.parts, caller)
        elif path == metrics.PATH:
            if exchange.method not in READING:
                raise MethodNotAllowed.answers("GET", "HEAD")
            await metrics.answer(exchange, await self.caller(exchange), self._expose)
        else:
            await self._pages(exchange, origin)

    def described(self) -> Described:
        return described()

    async def bucket(self, exchange: Exchange) -> str | None:
        """What requests of a session, and of a device from which somebody signed in before, are counted by in place of
        their address: others there must not shut them out.
        """
        if secret := cookies.given(exchange, cookies.SESSION):
            with suppress(Unauthenticated):
                return "session:" + (await self.parts.access.sessions.check(secret)).id
        device = self.parts.access.sign_in.device(cookies.given(exchange, cookies.DEVICE))
        return device and "device:" + device

    async def caller(self, exchange: Exchange) -> Caller:
        """A script by its token, else an administrator by the cookie. Unauthenticated where there is neither."""
        access = self.parts.access
        if token := presented_key(exchange.fields):
            caller = Caller.of_script(await access.admin_tokens.check(token, address=exchange.client.address))
        elif secret := cookies.given(exchange, cookies.SESSION):
            caller = Caller.of(await access.sessions.check(secret))
        else:
            raise Unauthenticated("Nobody is signed in: sign in at /admin/login.", code="not_signed_in")
        exchange.notes["administrator"] = caller.actor
        return caller

    def require_no_forgery(self, exchange: Exchange, caller: Caller, origin: str, token: str | None = None) -> None:
        """PermissionDenied for a change that does not come from our own pages. `token` is a form's."""
        if caller.session is not None and exchange.method not in READING:
            require_own_origin(exchange, origin, told=True)
            given = exchange.headers.get(b"x-csrf-token")
            require_token(caller.session, token if given is None else given.decode("latin-1"))

    # --- the session ----------------------------------------------------------------------------------------

    async def _session(self, exchange: Exchange, origin: str) -> None:
        if exchange.method == "POST":
            require_own_origin(exchange, origin, told=False)
            given = decode_json(await self._json(exchange), msgspec.json.Decoder(dict), 2)
            caller, headers = await self.sign_in(exchange, taken(given, SignInForm, strict=True))
            await exchange.answer(201, msgspec.json.encode(Me.of(caller)), headers)
        elif exchange.method in READING:
            await exchange.answer(200, msgspec.json.encode(Me.of(await self.caller(exchange))))
        elif exchange.method == "DELETE":
            caller = await self.caller(exchange)
            self.require_no_forgery(exchange, caller, origin)
            await exchange.answer(204, b"", await self.sign_out(caller))
        else:
            raise MethodNotAllowed.answers("GET", "HEAD", "POST", "DELETE")

    async def sign_in(self, exchange: Exchange, given: SignInForm) -> tuple[Caller, Fields]:
        """A new session, and its cookies. What was signed in before on this device is signed out."""
        before = cookies.given(exchange, cookies.SESSION)
        signed_in = await self.parts.access.sign_in.attempt(
            given.username,
            given.password,
            given.code,
            address=exchange.client.address,
            device=exchange.headers.get(b"user-agent", b"").decode("latin-1")[:200],
            known=cookies.given(exchange, cookies.DEVICE),
        )
        caller = Caller.of(signed_in.session)
        if before is not None:
            with suppress(Unauthenticated, NotFound):
                replaced = await self.parts.access.sessions.check(before)
                await self.parts.access.sessions.end(replaced.id, by=caller.actor)
        ends_at = signed_in.session.ends_at
        return caller, [cookies.session(signed_in.secret, ends_at), cookies.device(signed_in.known)]

    async def sign_out(self, caller: Caller) -> Fields:
        await self.parts.access.sessions.end(caller.own_session().id, by=caller.actor)
        return [cookies.no_session()]

    async def _json(self, exchange: Exchange) -> bytes:
        require_json(exchange)
        return await self.body(exchange)

    async def body(self, exchange: Exchange) -> bytes:
        with self._bodies.share(exchange.client.bucket) as share:
            return await read_body(exchange, MAX_BODY, share)
