"""Sends alerts to the one address that the operator gave (policy L4, L5): signed, tried again, beside all requests.

The body is a JSON object: `id`, `kind`, `message`, `about`, `at`. The header `Alert-Signature` is `t=TIME,v1=CODE`:
the time in seconds since the epoch, and the HMAC-SHA-256 of `TIME.BODY` under `alert_webhook_secret`, in hexadecimal.
Whoever receives it compares the code, and refuses a time of more than five minutes ago. An alert that came twice has
the same `id`.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from secrets import token_hex
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from claude_code_api import __version__
from claude_code_api.errors import WrongSetting
from claude_code_api.operations.alerts import Alert, Alerts
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings

log = structlog.get_logger(__name__)

SIGNATURE = "Alert-Signature"
WAITING = 100
"""Alerts that wait to be sent; above it, the oldest are given up."""
PAUSES = (1.0, 4.0, 15.0, 60.0, 240.0)
"""Seconds between the tries of one alert."""
TIMEOUT = 10.0
LAST_CHANCE = 3.0
"""Seconds that those still waiting get when the gateway stops."""


def signature(secret: Secret, at: int, body: bytes) -> str:
    code = hmac.digest(secret.reveal().encode(), b"%d." % at + body, "sha256").hex()
    return f"t={at},v1={code}"


@asynccontextmanager
async def webhook(settings: Settings, alerts: Alerts) -> AsyncIterator[None]:
    """Sends what is raised while the block runs, if there is an address. WrongSetting for one without a secret."""
    if settings.alert_webhook is None:
        yield
        return
    if settings.alert_webhook_secret is None:
        raise WrongSetting("The setting alert_webhook needs alert_webhook_secret, under which its messages are signed.")
    # No cookies, no proxy, and no other place than the one that was given.
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as http:
        sender = _Sender(http, settings.alert_webhook, settings.alert_webhook_secret)
        alerts.listen(sender.take)
        sending = asyncio.create_task(sender.run())
        try:
            yield
        finally:
            await sender.end(sending)


class _Sender:
    def __init__(self, http: aiohttp.ClientSession, url: str, secret: Secret) -> None:
        self._http = http
        self._url = url
        self._secret = secret
        self._waiting: deque[bytes] = deque()
        self._some, self._ending = asyncio.Event(), asyncio.Event()

    def take(self, alert: Alert) -> None:
        self._waiting.append(msgspec.json.encode({"id": token_hex(16), **msgspec.structs.asdict(alert)}))
        if len(self._waiting) > WAITING:
            self._waiting.popleft()
            log.warning("an alert was not sent: too many wait")
        self._some.set()

    async def run(self) -> None:
        while self._waiting or not self._ending.is_set():
            while self._waiting:
                await self._send(self._waiting.popleft())
            self._some.clear()
            if not self._ending.is_set():
                await self._some.wait()

    async def end(self, sending: asyncio.Task[None]) -> None:
        """Those that wait get one try each, without pauses, and a few seconds altogether."""
        self._ending.set()
        self._some.set()
        await asyncio.wait([sending], timeout=LAST_CHANCE)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending

    async def _send(self, body: bytes) -> None:
        reason = ""
        for pause in (*PAUSES, 0.0):
            reason = await self._try(body)
            if not reason:
                return
            if self._ending.is_set():
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()
        log.warning("an alert was not taken by the webhook", host=urlsplit(self._url).hostname, reason=reason)

    async def _try(self, body: bytes) -> str:
        """Why it was not taken; empty where it was."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"claude-code-api/{__version__}",
            SIGNATURE: signature(self._secret, int(time.time()), body),
        }
        try:
            async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                return "" if answer.ok and answer.status < 300 else f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return type(error).__name__
