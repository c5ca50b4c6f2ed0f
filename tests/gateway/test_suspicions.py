"""What many requests show together, and how little of them is remembered for it."""

from __future__ import annotations

import secrets

import pytest
from structlog.testing import capture_logs

from claude_code_api.access import Access
from claude_code_api.errors import Unauthenticated
from claude_code_api.gateway import suspicions as suspicions_module
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.gateway.suspicions import MANY_REFUSALS, WITHIN, Suspicions
from claude_code_api.operations.alerts import Alert, Alerts
from claude_code_api.secret import Secret

pytestmark = pytest.mark.policy("L4")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alerts() -> Alerts:
    return Alerts()


@pytest.fixture
def suspicions(alerts: Alerts, clock: Clock) -> Suspicions:
    return Suspicions(alerts, 3, clock)


def raised(alerts: Alerts) -> list[tuple[str, str | None]]:
    return [(alert.kind, alert.about) for alert in alerts.latest()]


def test_a_key_of_a_few_addresses_is_nobodys_concern(suspicions: Suspicions, alerts: Alerts) -> None:
    for n in range(100):
        suspicions.used("key_1", f"a{n % 3}")
    assert raised(alerts) == []


def test_a_key_that_comes_from_everywhere_is(suspicions: Suspicions, alerts: Alerts) -> None:
    for n in range(100):
        suspicions.used("key_1", f"a{n}")
        suspicions.used("key_2", "a0")
    assert raised(alerts) == [("key_from_many_addresses", "key_1")]


def test_addresses_of_more_than_an_hour_ago_do_not_count(suspicions: Suspicions, alerts: Alerts, clock: Clock) -> None:
    for n in range(30):
        clock.now += WITHIN / 2.5  # three within any hour
        suspicions.used("key_1", f"a{n}")
    assert raised(alerts) == []


def test_what_is_remembered_is_bounded(suspicions: Suspicions, monkeypatch: pytest.MonkeyPatch, alerts: Alerts) -> None:
    monkeypatch.setattr(suspicions_module, "MOST_KEYS", 5)
    for n in range(2):
        suspicions.used("key_1", f"a{n}")
    for n in range(100):
        suspicions.tried(Secret(f"text {n}"), "a0")
        suspicions.limited(f"key_{n}")
        suspicions.used(f"key_{n % 9}", f"a{n}")
    for watched in (suspicions._used, suspicions._tried):
        assert len(watched) <= 5
        assert all(len(addresses) <= 3 for addresses in watched.values())
    assert len(suspicions._limited) == 5


def test_a_key_that_only_runs_into_its_limit_is_told_of(suspicions: Suspicions, alerts: Alerts, clock: Clock) -> None:
    for _ in range(MANY_REFUSALS - 1):
        suspicions.limited("key_1")
    clock.now = WITHIN + 1
    for _ in range(MANY_REFUSALS - 1):
        suspicions.limited("key_1")
    assert raised(alerts) == []
    suspicions.limited("key_1")
    suspicions.limited("key_1")
    assert raised(alerts) == [("limit_spent", "key_1")]


async def test_a_gateway_watches_keys_that_live_and_those_that_do_not(gateway: Gateway, access: Access) -> None:
    key, text = await access.keys.create("laptop", "main")
    _, other = await access.keys.create("phone", "main")
    made_up = Secret("sk-" + secrets.token_hex(24))
    await access.keys.revoke("phone")
    with capture_logs() as logs:
        for n in range(25):
            await gateway.authenticate(text, f"192.0.{n}.0/24")
            for wrong in (other, made_up):
                with pytest.raises(Unauthenticated):
                    await gateway.authenticate(wrong, f"192.0.{n}.0/24")
    found: list[Alert] = access.alerts.latest()
    assert {(alert.kind, alert.about) for alert in found} == {
        ("key_from_many_addresses", about) for about in (key.id, f"…{other.hint}", f"…{made_up.hint}")
    }
    for secret in (text, other, made_up):
        assert secret.reveal() not in str(found) + str(logs)
