"""Signing in: slowed where it is guessed, never locked, and told of (policy A2, A3, L1)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from claude_code_api.access import Access, SignedIn
from claude_code_api.access.known_devices import GOOD_FOR, KnownDevices
from claude_code_api.access.sign_in import STRANGERS_AT_ONCE
from claude_code_api.access.throttle import FREE, LONGEST_WAIT
from claude_code_api.errors import Overloaded, RateLimited, RequestFailure, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings

pytestmark = [pytest.mark.policy("A3"), pytest.mark.policy("L1")]
HERE, THERE = "192.0.2.1", "198.51.100.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data").model_copy(update={"bcrypt_rounds": 4})


@pytest.fixture
def right() -> Secret:
    return Secret(secrets.token_urlsafe())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def access(own_settings: Settings, right: Secret, clock: Clock) -> AsyncIterator[Access]:
    """With the administrator anna, whose password is `right`."""
    async with Access.open(own_settings) as access:
        await access.administrators.set_password("anna", right)
        access.sign_in.throttle._clock = clock
        yield access


async def signs_in(
    access: Access, password: Secret, name: str = "anna", *, address: str = HERE, known: Secret | None = None
) -> SignedIn:
    return await access.sign_in.attempt(name, password, address=address, device="a browser", known=known)


def guess() -> Secret:
    return Secret(secrets.token_urlsafe())


async def outcome(attempt: Awaitable[SignedIn]) -> RequestFailure | SignedIn:
    try:
        return await attempt
    except RequestFailure as failure:
        return failure


async def storm(access: Access, number: int, name: str = "anna", *, address: str = HERE) -> list[Any]:
    return [await outcome(signs_in(access, guess(), name, address=address)) for _ in range(number)]


# --- one sign-in ----------------------------------------------------------------------------------------


@pytest.mark.policy("A2")
async def test_the_right_password_begins_a_new_session_each_time(access: Access, right: Secret) -> None:
    first = await signs_in(access, right)
    second = await signs_in(access, right, " ANNA ", known=first.known)
    assert first.secret != second.secret
    assert first.session.id != second.session.id
    for each in (first, second):
        assert await access.sessions.check(each.secret) == each.session
        assert (each.session.administrator.name, each.session.address) == ("anna", HERE)


async def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(access: Access) -> None:
    said = set()
    for name in ("anna", "nobody", "", "an\0na", "x" * 100_000, "\ud800"):
        with pytest.raises(Unauthenticated) as refused:
            await signs_in(access, guess(), name, address=f"192.0.2.{len(name) % 250}")
        said.add((refused.value.message, refused.value.code, refused.value.retry_after))
    assert said == {("The name or the password is wrong.", "invalid_login", None)}


async def test_unknown_names_are_slowed_as_known_ones_are(access: Access, clock: Clock) -> None:
    ways = []
    for name, address in (("anna", HERE), ("nobody", THERE)):
        came = []
        for _ in range(FREE + 10):
            failure = await outcome(signs_in(access, guess(), name, address=address))
            assert isinstance(failure, RequestFailure)
            came.append((type(failure), failure.message, failure.code, failure.retry_after))
            clock.now += 3
        ways.append(came)
    assert ways[0] == ways[1]


async def test_capitals_and_composition_make_no_other_account(access: Access) -> None:
    names = ["anna", "ANNA", " anna", "aNNa ", "Anna"]
    came = [
        await outcome(signs_in(access, guess(), names[number % 5], address=f"192.0.{number}.1")) for number in range(50)
    ]
    assert sum(isinstance(each, Unauthenticated) for each in came) == FREE + 1


async def test_one_network_of_six_is_one_address(access: Access) -> None:
    came = [
        await outcome(signs_in(access, guess(), f"name {number}", address=f"2001:db8::{number:x}"))
        for number in range(50)
    ]
    assert sum(isinstance(each, Unauthenticated) for each in came) == FREE + 1


# --- storms ---------------------------------------------------------------------------------------------


async def test_a_thousand_guesses_are_slowed_told_of_once_and_hash_hardly_anything(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    matches = access.administrators._hasher.matches

    async def counted(*given: Any) -> bool:
        hashed.append(1)
        return await matches(*given)

    monkeypatch.setattr(access.administrators._hasher, "matches", counted)
    with capture_logs() as logs:
        came = await storm(access, 1000)
    slowed = [each for each in came if isinstance(each, RateLimited)]
    assert len(slowed) == 1000 - FREE - 1
    assert {each.retry_after for each in slowed} <= set(range(1, int(LONGEST_WAIT) + 1))
    assert len(hashed) == FREE + 1
    alerts = [line for line in logs if line.get("alert") == "login_storm"]
    assert [(line["log_level"], line["about"]) for line in alerts] == [("warning", "192.0.2.0/24")]


async def test_the_owner_on_a_known_device_is_in_at_once_in_the_middle_of_a_storm(
    access: Access, right: Secret
) -> None:
    known = (await signs_in(access, right)).known
    for _ in range(20):
        await storm(access, 50)
        known = (await signs_in(access, right, known=known)).known
    assert len(await access.sessions.list()) == 20


@pytest.mark.parametrize("address", [HERE, THERE])
async def test_the_owner_on_another_device_is_in_within_a_minute_of_a_storm(
    access: Access, right: Secret, clock: Clock, address: str
) -> None:
    async def storms_for(seconds: int) -> None:
        for _ in range(seconds * 10):
            await storm(access, 1)
            clock.now += 0.1

    await storms_for(40)
    began = clock.now
    while not isinstance(came := await outcome(signs_in(access, right, address=address)), SignedIn):
        assert isinstance(came, RateLimited)
        assert came.retry_after is not None
        await storms_for(came.retry_after)
    assert clock.now - began < 60


async def test_a_known_device_finds_room_while_passwords_from_everywhere_are_checked(
    access: Access, right: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = (await signs_in(access, right)).known
    gate = asyncio.Event()
    matches = access.administrators._hasher.matches

    async def waiting(password: Secret, *given: Any) -> bool:
        if password != right:
            await gate.wait()
        return await matches(password, *given)

    monkeypatch.setattr(access.administrators._hasher, "matches", waiting)
    attempts = [
        asyncio.ensure_future(outcome(signs_in(access, guess(), f"name {n}", address=f"10.{n}.0.1"))) for n in range(50)
    ]
    while sum(each.done() for each in attempts) < 50 - STRANGERS_AT_ONCE:
        await asyncio.sleep(0)
    assert {type(each.result()) for each in attempts if each.done()} == {Overloaded}
    await signs_in(access, right, known=known)
    gate.set()
    came = await asyncio.gather(*attempts)
    assert sum(isinstance(each, Unauthenticated) for each in came) == STRANGERS_AT_ONCE
    await signs_in(access, right, address=THERE)


async def test_an_attempt_that_was_not_made_does_not_count(
    access: Access, right: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> bool:
        raise Overloaded("full", retry_after=2)

    with monkeypatch.context() as patch:
        patch.setattr(access.administrators._hasher, "matches", full)
        assert {type(each) for each in await storm(access, 20)} == {Overloaded}
    assert {type(each) for each in await storm(access, FREE)} == {Unauthenticated}


async def test_signing_in_rightly_is_never_slowed(access: Access, right: Secret) -> None:
    for _ in range(5 * FREE):
        await signs_in(access, right)


# --- devices --------------------------------------------------------------------------------------------


async def test_a_wrong_password_from_a_known_device_counts_for_it_alone(access: Access, right: Secret) -> None:
    known, other = (await signs_in(access, right)).known, (await signs_in(access, right)).known
    came = [await outcome(signs_in(access, guess(), known=known)) for _ in range(20)]
    assert sum(isinstance(each, RateLimited) for each in came) == 20 - FREE - 1
    await signs_in(access, right, known=other)
    await signs_in(access, right)


async def test_a_devices_token_is_good_for_its_account_alone_and_opens_nothing(access: Access, right: Secret) -> None:
    known = (await signs_in(access, right)).known
    await storm(access, 20)
    await storm(access, 20, "bert")
    with pytest.raises(RateLimited):
        await signs_in(access, guess(), "bert", known=known)
    with pytest.raises(Unauthenticated):
        await access.sessions.check(known)
    with pytest.raises(Unauthenticated):
        await signs_in(access, Secret(""), known=known)


async def test_a_device_stays_known_and_the_same_from_sign_in_to_sign_in(access: Access, right: Secret) -> None:
    first = (await signs_in(access, right)).known
    again = (await signs_in(access, right, known=first)).known
    assert first.reveal().split(".")[0] == again.reveal().split(".")[0]
    changed = guess()
    await access.administrators.set_password("anna", changed)
    await storm(access, 20)
    await signs_in(access, changed, known=again)


def test_a_made_up_or_old_token_is_nobodys() -> None:
    now = 1_800_000_000.0
    devices = KnownDevices(b"p" * 32, lambda: now)
    token = devices.token("anna", None)
    device, issued, proof, any_proof = token.reveal().split(".")
    assert devices.recognized(token, "anna") == devices.seen(token) == device
    for wrong in (
        "", ".", "...", "\ud800", f"{device}.{issued}", f"{device}.{issued}.{proof}",
        f"{'0' * 32}.{issued}.{proof}.{any_proof}", f"{device}.{int(issued) + 1}.{proof}.{any_proof}",
        f"{device}.{issued}.{'0' * 64}.{'0' * 64}", f"{device}.{issued}.{any_proof}.{proof}",
        f"{device}.{'9' * 12}.{proof}.{any_proof}", f"{device}.٣.{proof}.{any_proof}",
    ):  # fmt: skip
        assert devices.recognized(Secret(wrong), "anna") is None
        assert devices.seen(Secret(wrong)) is None
    assert devices.recognized(Secret(f"{device}.{issued}.{'0' * 64}.{any_proof}"), "anna") is None
    assert devices.recognized(token, "bert") is None
    assert devices.recognized(None, "anna") is None
    assert KnownDevices(b"q" * 32, lambda: now).recognized(token, "anna") is None
    now += GOOD_FOR
    assert devices.recognized(token, "anna") is None
    assert devices.seen(token) is None


# --- what is told ---------------------------------------------------------------------------------------


async def test_sign_ins_are_entries_and_failed_ones_are_counted_by_address(
    access: Access, own_settings: Settings, right: Secret
) -> None:
    await storm(access, FREE)
    await storm(access, 2, "bert", address="2001:db8:1:2::3")
    await signs_in(access, right)
    assert [entry.action for entry in await access.audit.entries(action="login")] == []
    await access.sign_in.close()
    counted = await access.audit.entries(action="login.refused")
    assert {entry.target: entry.said for entry in counted} == {
        "192.0.2.0/24": {"times": FREE}, "2001:db8:1::/48": {"times": 2},
    }  # fmt: skip
    (begun,) = await access.audit.entries(action="session.begun")
    assert (begun.actor, begun.said["address"]) == ("administrator anna", "192.0.2.0/24")
    assert (await access.audit.verify())[1] == []


async def test_refusals_that_are_not_told_yet_are_when_it_ends(own_settings: Settings) -> None:
    async with Access.open(own_settings) as access:
        await storm(access, 2)
    async with Access.open(own_settings) as access:
        assert [entry.said for entry in await access.audit.entries(action="login.refused")] == [{"times": 2}]


@pytest.mark.policy("T1")
async def test_no_secret_shows_anywhere(
    access: Access, own_settings: Settings, right: Secret, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    wrong = guess()
    signed_in = await signs_in(access, right)
    for _ in range(40):
        await outcome(signs_in(access, wrong))
    await access.sign_in.close()
    on_disk = b"".join(file.read_bytes() for file in own_settings.data_dir.rglob("*") if file.is_file())
    shown = caplog.text + repr(signed_in) + repr(vars(access.sign_in)) + str(await access.audit.entries())
    assert b"a browser" in on_disk
    for secret in (right, wrong, signed_in.secret, signed_in.known, signed_in.session.csrf_token):
        assert secret.reveal() not in shown
        assert secret.reveal().encode() not in on_disk


@pytest.mark.policy("L4")
async def test_attempts_are_counted_by_how_they_went(access: Access, right: Secret) -> None:
    await signs_in(access, right)
    for _ in range(FREE + 3):
        await outcome(signs_in(access, guess(), address=THERE))
    assert access.sign_in.outcomes == {"signed_in": 1, "refused": FREE + 1, "slowed": 2}
