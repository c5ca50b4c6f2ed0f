"""Numbers, money, times and states in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from page_samples import CREDENTIALS, KEYS, credential

from claude_code_api.admin.pages import wording
from claude_code_api.conversation import RateLimitStatus

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("billionths", "told"),
    [
        (0, "$0.00"),
        (12_340_000_000, "$12.34"),
        (4_200_000, "$0.0042"),
        (1, "< $0.0001"),
        (1_234_567_890_000, "$1,234.57"),
    ],
)
def test_small_costs_are_not_nothing(billionths: int, told: str) -> None:
    assert wording.usd(billionths) == told


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0"), (0.5, "0.5"), (999, "999"), (1234, "1.23k"), (14_200_000, "14.2M"), (3e9, "3G")]
)
def test_an_axis_is_told_in_three_figures(number: float, told: str) -> None:
    assert wording.short_count(number) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "just now"), (59, "just now"), (60, "1 minute ago"), (7300, "2 hours ago"), (86_400 * 40, "1 month ago"),
     (-30, "in a moment"), (-86_400 * 3, "in 3 days"), (86_400 * 800, "2 years ago")],
)  # fmt: skip
def test_how_long_ago(seconds: int, told: str) -> None:
    assert wording.ago(NOON - timedelta(seconds=seconds), NOON) == told


def test_a_moment_is_told_in_utc_and_for_machines() -> None:
    east = NOON.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    assert (wording.moment(east), wording.iso(east)) == ("4 Mar 2026, 12:00 UTC", "2026-03-04T12:00:00Z")


def test_durations() -> None:
    assert [wording.duration(each) for each in (None, 640, 9_999, 12_345)] == ["–", "640 ms", "9,999 ms", "12.3 s"]


def test_the_state_of_a_key() -> None:
    states = {key.name: wording.key_state(key) for key in KEYS[:6]}
    assert states == {
        "Anna’s editor": ("Active", "good"), "Nightly reports": ("Active", "good"), "Open WebUI": ("Ends soon", "warn"),
        "Old importer": ("Unused", "warn"), "Support desk": ("Rotated", "warn"), "Contractor": ("Revoked", "bad"),
    }  # fmt: skip


def test_the_limits_of_a_key() -> None:
    assert [wording.limits(key) for key in KEYS[:3]] == ["60/minute, 4 at once", "claude-sonnet-5-5", "none"]


@pytest.mark.policy("T6")
def test_the_state_of_a_credential_is_what_anthropic_last_said() -> None:
    spent = RateLimitStatus(
        status="rejected", resets_at=int(datetime.now(UTC).timestamp()) + 60, limit_type="seven_day"
    )
    over = RateLimitStatus(status="rejected", resets_at=1_000_000_000)
    told = [*CREDENTIALS, credential("Spent", limit=spent), credential("Again", limit=over)]
    assert [wording.credential_state(each)[0] for each in told] == [
        "Near its limit", "Refused", "Not used yet", "Limit spent", "Working",
    ]  # fmt: skip
    assert wording.limit_told(told[3]) == "seven day"


@pytest.mark.parametrize(
    ("agent", "told"),
    [("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140 Safari/537.36", "Chrome on Linux"),
     ("Mozilla/5.0 (iPhone; CPU iPhone OS 18 like Mac OS X) Safari/604.1", "Safari on iPhone"),
     ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Edg/140", "Edge on Windows"),
     ("curl/8.14", "curl/8.14"), ("", "unknown")],
)  # fmt: skip
def test_a_device_in_two_words(agent: str, told: str) -> None:
    assert wording.device(agent) == told


def test_entries_lead_to_what_they_are_of() -> None:
    assert wording.address_of("key_4f2a") == "/admin/keys/key_4f2a"
    assert wording.address_of("cred_77") == "/admin/credentials/cred_77"
    assert wording.address_of("admin_1") is None
    assert wording.address_of("key_../../x") is None
