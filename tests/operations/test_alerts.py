"""Alerts: told once, kept in bounds, and sent to one address, whatever that does."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from claude_code_api.errors import WrongSetting
from claude_code_api.operations import alerts as alerts_module
from claude_code_api.operations import webhook as webhook_module
from claude_code_api.operations.alerts import AGAIN_AFTER, Alerts
from claude_code_api.operations.webhook import SIGNATURE, webhook
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only

pytestmark = pytest.mark.policy("L4")

SECRET = Secret("a secret that both sides know")


# --- raising them ---------------------------------------------------------------------------------------


def test_an_alert_is_in_the_log_and_kept_for_the_overview() -> None:
    alerts = Alerts()
    with capture_logs() as logs:
        assert alerts.tell("credential_refused", "Anthropic refuses it", "cred_1", level="error", further=7)
    assert logs == [
        {"event": "Anthropic refuses it", "log_level": "error", "alert": "credential_refused", "about": "cred_1",
         "further": 7}
    ]  # fmt: skip
    (alert,) = alerts.latest()
    assert (alert.kind, alert.message, alert.about) == ("credential_refused", "Anthropic refuses it", "cred_1")


def test_the_same_about_the_same_comes_again_after_ten_minutes_only() -> None:
    now = 0.0
    alerts = Alerts(clock=lambda: now)
    with capture_logs() as logs:
        assert alerts.tell("limit_spent", "spent", "key_1")
        now = AGAIN_AFTER - 1
        assert not alerts.tell("limit_spent", "spent", "key_1")
        assert alerts.tell("limit_spent", "spent", "key_2")
        assert alerts.tell("login_storm", "storm", "key_1")
        now = AGAIN_AFTER
        assert alerts.tell("limit_spent", "spent", "key_1")
    assert len(logs) == len(alerts.latest()) == 4


def test_what_is_kept_and_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts_module, "REMEMBERED", 50)
    alerts = Alerts()
    with capture_logs():
        for n in range(500):
            alerts.tell("login_storm", "storm", str(n))
    assert [alert.about for alert in alerts.latest()] == [str(n) for n in range(499, 399, -1)]
    assert len(alerts._raised) == 50


# --- the webhook ----------------------------------------------------------------------------------------


class Receiver:
    """An HTTP server on this machine that answers with the given statuses, then with 204; each may be held up."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.elsewhere = 0
        self._some = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        self._some.set()
        await self.open.wait()
        status = self.statuses.pop(0) if self.statuses else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 307 else {})

    async def stray(self, request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()

    async def received(self, number: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(self.got) < number:
                self._some.clear()
                await self._some.wait()
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.answer)
    app.router.add_route("*", "/elsewhere", receiver.stray)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    receiver.open.set()
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "PAUSES", (0.01, 0.01))


Sending = Callable[..., Any]


@pytest.fixture
def sending(receiver: Receiver, tmp_path: Path) -> Sending:
    """Alerts that go to the receiver while the block runs."""

    @asynccontextmanager
    async def sending(**fields: Any) -> AsyncIterator[Alerts]:
        given = {"alert_webhook": receiver.url, "alert_webhook_secret": SECRET, **fields}
        alerts = Alerts()
        with capture_logs() as logs:
            async with webhook(given_only(data_dir=tmp_path, **given), alerts):
                yield alerts
            alerts.logs = [line for line in logs if "alert" not in line]  # type: ignore[attr-defined]

    return sending


async def test_it_is_sent_as_json_under_a_signature_that_the_receiver_can_check(
    receiver: Receiver, sending: Sending
) -> None:
    async with sending() as alerts:
        alerts.tell("login_storm", "passwords are being guessed", "192.0.2.0/24", internal="for the log alone")
        (body,) = await receiver.received(1)
    headers, raw = receiver.got[0]
    alert = alerts.latest()[0]
    assert {name: body[name] for name in ("kind", "message", "about")} == {
        "kind": "login_storm", "message": "passwords are being guessed", "about": "192.0.2.0/24",
    }  # fmt: skip
    assert body["at"].startswith(f"{alert.at:%Y-%m-%dT%H:%M:%S}")
    assert set(body) == {"id", "kind", "message", "about", "at"}
    assert headers["Content-Type"] == "application/json"
    at, code = (part.partition("=")[2] for part in headers[SIGNATURE].split(","))
    assert abs(int(at) - time.time()) < 60
    assert code == hmac.new(SECRET.reveal().encode(), f"{at}.".encode() + raw, "sha256").hexdigest()


async def test_one_that_is_not_taken_is_sent_again_under_the_same_id(receiver: Receiver, sending: Sending) -> None:
    receiver.statuses = [500, 429]
    async with sending() as alerts:
        alerts.tell("login_storm", "storm")
        first, second, third = await receiver.received(3)
        alerts.tell("audit_broken", "broken")
        assert (await receiver.received(4))[3]["kind"] == "audit_broken"
    assert first == second == third
    assert alerts.logs == []


async def test_one_that_nobody_takes_is_given_up_and_the_next_one_sent(receiver: Receiver, sending: Sending) -> None:
    receiver.statuses = [500, 500, 500]
    async with sending() as alerts:
        alerts.tell("login_storm", "storm")
        alerts.tell("audit_broken", "broken")
        assert [each["kind"] for each in await receiver.received(4)] == ["login_storm"] * 3 + ["audit_broken"]
    (line,) = alerts.logs
    assert (line["event"], line["reason"]) == ("an alert was not taken by the webhook", "status 500")
    assert receiver.url not in str(line)


@pytest.mark.policy("L5")
async def test_nobody_is_led_to_another_address(receiver: Receiver, sending: Sending) -> None:
    receiver.statuses = [307, 307, 307]
    async with sending() as alerts:
        alerts.tell("login_storm", "storm")
        await receiver.received(3)
    assert receiver.elsewhere == 0


async def test_a_receiver_that_hangs_keeps_nobody_waiting_and_gets_a_bounded_number(
    receiver: Receiver, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "WAITING", 3)
    receiver.open.clear()
    async with sending() as alerts:
        alerts.tell("login_storm", "storm", "0")
        await receiver.received(1)
        began = time.perf_counter()
        for n in range(1, 50):
            assert alerts.tell("login_storm", "storm", str(n))
        assert time.perf_counter() - began < 1
        receiver.open.set()
        found = await receiver.received(4)
    assert [each["about"] for each in found] == ["0", "47", "48", "49"]
    assert len(alerts.logs) == 46


async def test_the_stop_waits_for_those_that_can_be_sent_and_not_for_others(
    receiver: Receiver, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "PAUSES", (1000.0,))
    receiver.statuses = [500]
    async with asyncio.timeout(20):
        async with sending() as alerts:
            alerts.tell("login_storm", "storm")
            await receiver.received(1)  # and then there is a long pause
            alerts.tell("audit_broken", "broken")
        assert [each["kind"] for each in await receiver.received(2)] == ["login_storm", "audit_broken"]
        monkeypatch.setattr(webhook_module, "LAST_CHANCE", 0.05)
        receiver.open.clear()
        async with sending() as alerts:
            alerts.tell("login_storm", "storm")
            await receiver.received(3)


async def test_where_nobody_listens_it_is_tried_and_told(sending: Sending) -> None:
    async with sending(alert_webhook="http://127.0.0.1:1/hook") as alerts:
        alerts.tell("login_storm", "storm")
    (line,) = alerts.logs
    assert line["reason"] == "ClientConnectorError"


async def test_without_an_address_nothing_is_sent_and_without_a_secret_nothing_starts(
    receiver: Receiver, tmp_path: Path
) -> None:
    alerts = Alerts()
    with capture_logs():
        async with webhook(given_only(data_dir=tmp_path), alerts):
            alerts.tell("login_storm", "storm")
    assert receiver.got == []
    with pytest.raises(WrongSetting, match="alert_webhook_secret"):
        async with webhook(given_only(data_dir=tmp_path, alert_webhook=receiver.url), alerts):
            pass
