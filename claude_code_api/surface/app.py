"""The ASGI application: every request passes the same few gates, and is answered in the same shape."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from claude_code_api.dialects.openai_chat import model_card, model_list
from claude_code_api.errors import MethodNotAllowed, NotFound, Overloaded
from claude_code_api.settings import Settings
from claude_code_api.surface.asgi import Receive, Scope, Send
from claude_code_api.surface.body_budget import BodyBudget
from claude_code_api.surface.chat import Chat
from claude_code_api.surface.client import Proxies
from claude_code_api.surface.cors import Cors
from claude_code_api.surface.description import Described
from claude_code_api.surface.documentation import documentation
from claude_code_api.surface.encryption_rule import HttpsAddress, encryption_required, is_admin_path, may_go_unencrypted
from claude_code_api.surface.exchange import Exchange
from claude_code_api.surface.gateway import Gateway
from claude_code_api.surface.key_gate import KeyGate
from claude_code_api.surface.presented_key import presented_key
from claude_code_api.surface.rate_limits import RateLimits
from claude_code_api.surface.shared_counters import SharedCounters

if TYPE_CHECKING:  # the surface needs no database
    from claude_code_api.access import ApiKey
    from claude_code_api.surface.metrics import RequestMetrics

Handler = Callable[[Exchange], Awaitable[None]]
KeyHandler = Callable[[Exchange, "ApiKey"], Awaitable[None]]

HTTPS_ADDRESS = "https_address"
"""Key of the scope's state: where the server answers HTTPS."""

_MODEL = "/v1/models/"
_HEALTH = frozenset(
    prefix + path for prefix in ("", "/v1") for path in ("/health", "/health/live", "/health/ready")
)  # fmt: skip


class AdminSide(Protocol):
    """What the surface asks of the administrators' side."""

    async def __call__(self, exchange: Exchange, origin: str) -> None:
        """Answers, or raises the RequestFailure that is to be answered with."""
        ...

    def described(self) -> Described:
        """Its part of the interface's description."""
        ...

    async def bucket(self, exchange: Exchange) -> str | None:
        """What its requests are counted by, where that is not the address."""
        ...


class App:
    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        admin: AdminSide | None = None,
        *,
        metrics: RequestMetrics | None = None,
        shared: SharedCounters | None = None,
        keys: KeyGate | None = None,
    ) -> None:
        """`keys` is the gate that others share with it."""
        self._settings = settings
        self._gateway = gateway
        self._admin = admin
        self._metrics = metrics
        self._proxies = Proxies(settings.trusted_proxies)
        self._cors = Cors(settings.cors_origins)
        # Apart, so that whoever has many addresses cannot push out what is counted of keys.
        self._by_address, self._keys = RateLimits(shared), keys or KeyGate(settings, gateway, shared)
        self._https = HttpsAddress(settings.https_port, (settings.host,), settings.public_url)
        bodies = BodyBudget(settings.max_bodies_bytes, settings.max_body_bytes)
        documents = documentation(_HEALTH, admin.described() if admin else None)
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", self._with_key(Chat(settings, gateway, bodies))),
            "/v1/models": ("GET", self._with_key(self._models)),
            **{path: ("GET", self._ready if path.endswith("/ready") else self._alive) for path in _HEALTH},
            **{path: ("GET", handler) for path, handler in documents.items()},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        exchange = Exchange(scope, receive, send, headers, self._proxies.client(scope, headers))
        try:
            await self._answer(exchange, scope)
        except (Exception, asyncio.CancelledError) as fault:  # noqa: BLE001 - told and logged, here alone
            with suppress(asyncio.CancelledError):  # the client left while it was told
                await exchange.fail(fault)
        finally:
            exchange.log()
            if self._metrics:
                code = str(exchange.notes.get("error", ""))
                route = self._route_name(exchange.path)
                self._metrics.count(route, exchange.method, exchange.status, code, exchange.elapsed)

    async def _answer(self, exchange: Exchange, scope: Scope) -> None:
        health = exchange.path in _HEALTH
        admin = self._admin if exchange.client.secure and is_admin_path(exchange.path) else None
        own_bucket = await admin.bucket(exchange) if admin else None
        await self._limit_address(exchange, own_bucket, charge=not health)
        exchange.raise_if_ended()
        if admin:
            await admin(exchange, self._https_origin(scope, exchange))
            return
        exchange.extra_headers += self._cors.headers(exchange.headers)
        if not health and not exchange.client.secure:
            if is_admin_path(exchange.path):
                await _to_https(exchange, scope, self._https_origin(scope, exchange))
                return
            if not may_go_unencrypted(exchange.client, self._settings.plain_http):
                raise encryption_required(self._settings.plain_http, self._https_origin(scope, exchange))
        if preflight := self._cors.preflight(exchange.method, exchange.headers):
            await exchange.answer(204, b"", preflight)
        else:
            await self._route(exchange)(exchange)

    def _route(self, exchange: Exchange) -> Handler:
        path = exchange.path
        method, handler = self._routes.get(path, ("", self._alive))
        if not method and path.startswith(_MODEL) and len(path) > len(_MODEL):
            method, handler = "GET", self._with_key(partial(self._model, model_id=path[len(_MODEL) :]))
        if not method:
            raise NotFound("There is no such endpoint.")
        if exchange.method != method and (exchange.method, method) != ("HEAD", "GET"):
            raise MethodNotAllowed.answers(*(("GET", "HEAD") if method == "GET" else (method,)))
        return handler

    def _route_name(self, path: str) -> str:
        """What the metrics call the route of a path: one of a fixed set, whatever a client asks for."""
        if path in _HEALTH:
            return "/health"
        if path in self._routes or path == "/metrics":
            return path
        if path.startswith(_MODEL):
            return "/v1/models/{id}"
        if path.startswith("/admin/api/"):
            return "/admin/api"
        return "/admin" if is_admin_path(path) else "other"

    # --- gates ----------------------------------------------------------------------------------------------

    async def _limit_address(self, exchange: Exchange, own_bucket: str | None, *, charge: bool) -> None:
        rates, who = self._settings.rate_limit_per_ip, own_bucket or "ip:" + exchange.client.bucket
        count = self._by_address.charge if charge else self._by_address.peek
        if allowance := await count(rates, who):
            exchange.allowance = allowance
            if allowance.spent:
                raise allowance.refusal

    def _with_key(self, handler: KeyHandler) -> Handler:
        """Authenticates, and passes the key's gate, before the handler reads anything."""

        async def authenticated(exchange: Exchange) -> None:
            key = await self._gateway.authenticate(presented_key(exchange.fields), exchange.client.shortened)
            exchange.notes["key_id"] = key.id
            async with self._keys.passing(exchange, key):
                await handler(exchange, key)

        return authenticated

    def _https_origin(self, scope: Scope, exchange: Exchange) -> str:
        address = cast("HttpsAddress", scope["state"].get(HTTPS_ADDRESS, self._https))
        return address.origin(exchange.headers.get(b"host", b"").decode("latin-1"))

    # --- small routes ---------------------------------------------------------------------------------------

    async def _models(self, exchange: Exchange, key: ApiKey) -> None:
        await exchange.answer(200, model_list(await self._gateway.models(key)))

    async def _model(self, exchange: Exchange, key: ApiKey, *, model_id: str) -> None:
        await exchange.answer(200, model_card(await self._gateway.model(key, model_id)))

    async def _alive(self, exchange: Exchange) -> None:
        await exchange.answer(200, b'{"status":"ok"}')

    async def _ready(self, exchange: Exchange) -> None:
        if not self._gateway.ready():
            raise Overloaded("The gateway is not ready.", code="not_ready", retry_after=1)
        await self._alive(exchange)


async def _to_https(exchange: Exchange, scope: Scope, origin: str) -> None:
    """A redirect for what only reads, PermissionDenied for everything else: it may have told a secret already."""
    if exchange.method not in ("GET", "HEAD"):
        raise encryption_required("off", origin)
    target = origin.encode() + scope.get("raw_path", exchange.path.encode())
    if query := scope.get("query_string"):
        target += b"?" + query
    await exchange.answer(308, b"", [(b"location", target)])
