"""The second factor: codes of an authenticator and for recovery, each taken once (policy A2, T2)."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from sqlalchemy import select

from claude_code_api.access import Access, Administrator, SignedIn
from claude_code_api.access.one_time_codes import STEP, address, code_at, new_recovery_code, steps_of, typed
from claude_code_api.access.throttle import FREE
from claude_code_api.errors import (
    Conflict,
    Failure,
    InvalidRequest,
    NotFound,
    RateLimited,
    Unauthenticated,
    VaultFailure,
)
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.tables import recovery_codes, second_factors

pytestmark = [pytest.mark.policy("A2"), pytest.mark.policy("T2"), pytest.mark.usefixtures("every_database")]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

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
async def access(own_settings: Settings, clock: Clock) -> AsyncIterator[Access]:
    async with Access.open(own_settings) as access:
        access.second_factors._clock = clock
        yield access


@pytest.fixture
async def anna(access: Access, right: Secret) -> Administrator:
    return await access.administrators.set_password("anna", right)


class Authenticator:
    """What the administrator has on a phone, and the recovery codes on paper."""

    def __init__(self, clock: Clock, secret: bytes, paper: list[Secret]) -> None:
        self.secret = secret
        self.paper = [code.reveal() for code in paper]
        self._clock = clock

    def code(self, later: int = 0) -> str:
        return code_at(self.secret, int(self._clock.now) // STEP + later).reveal()


async def turned_on(access: Access, anna: Administrator, right: Secret, clock: Clock) -> Authenticator:
    """It shows a code that was not taken yet."""
    enrolment = await access.second_factors.begin(anna, right)
    secret = bytes_of(enrolment.secret)
    paper = await access.second_factors.confirm(anna, code_at(secret, int(clock.now) // STEP).reveal())
    clock.now += 5 * STEP
    return Authenticator(clock, secret, paper)


def bytes_of(secret: Secret) -> bytes:
    import base64

    return base64.b32decode(secret.reveal())


async def signs_in(access: Access, password: Secret, code: str | None = None, address: str = "192.0.2.1") -> SignedIn:
    return await access.sign_in.attempt("anna", password, code, address=address)


async def refused(access: Access, password: Secret, code: str | None) -> str:
    with pytest.raises(Unauthenticated) as failure:
        await signs_in(access, password, code, f"10.0.0.{secrets.randbelow(200)}")
    return failure.value.code


# --- codes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"),
     (20000000000, "353130")],
)  # fmt: skip
def test_codes_are_those_of_the_specification(moment: int, code: str) -> None:
    """RFC 6238, appendix B, its last six digits."""
    secret = b"12345678901234567890"
    assert code_at(secret, moment // STEP) == Secret(code)
    for off in (-30, 0, 30):
        assert list(steps_of(secret, Secret(code), moment + off)) == [moment // STEP]
    for off in (-61, 61):
        assert list(steps_of(secret, Secret(code), moment + off)) == []


def test_an_authenticator_reads_the_address() -> None:
    found = urlsplit(address(b"k" * 20, "jürgen/ä?", "Claude Code API").reveal())
    assert (found.scheme, found.netloc, found.path) == (
        "otpauth", "totp", "/Claude%20Code%20API:j%C3%BCrgen%2F%C3%A4%3F",
    )  # fmt: skip
    assert parse_qs(found.query) == {"secret": ["NNVWW23LNNVWW23LNNVWW23LNNVWW23L"], "issuer": ["Claude Code API"]}


def test_recovery_codes_are_random_and_easily_typed() -> None:
    codes = {new_recovery_code().reveal() for _ in range(1000)}
    assert len(codes) == 1000
    assert all(re.fullmatch(r"[a-hjkmnp-z2-9]{5}-[a-hjkmnp-z2-9]{5}", code) for code in codes)
    assert typed(" ABCDE fghjk ") == typed("abcde-fghjk") == Secret("abcdefghjk")


# --- turning it on --------------------------------------------------------------------------------------


async def test_nothing_is_asked_before_it_is_confirmed(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    enrolment = await access.second_factors.begin(anna, right)
    await signs_in(access, right)
    assert await access.second_factors.get(anna.id) is None
    assert await access.second_factors.administrators() == set()
    with pytest.raises(InvalidRequest) as wrong:
        await access.second_factors.confirm(anna, "000000" if code_at(bytes_of(enrolment.secret), 0) else "")
    assert (wrong.value.code, wrong.value.param) == ("invalid_code", "code")
    clock.now += 3600
    with pytest.raises(NotFound):
        await access.second_factors.confirm(anna, code_at(bytes_of(enrolment.secret), int(clock.now) // STEP).reveal())
    with pytest.raises(NotFound):
        await access.second_factors.turn_off(anna, right)
    with pytest.raises(NotFound):
        await access.second_factors.new_recovery_codes(anna, right)


async def test_it_is_on_once_a_code_was_shown_which_then_is_taken(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    enrolment = await access.second_factors.begin(anna, right)
    code = code_at(bytes_of(enrolment.secret), int(clock.now) // STEP).reveal()
    assert len(await access.second_factors.confirm(anna, f"{code[:3]} {code[3:]}")) == 10
    factor = await access.second_factors.get(anna.id)
    assert factor is not None
    assert (factor.since.timestamp(), factor.recovery_codes) == (clock.now, 10)
    assert await access.second_factors.administrators() == {anna.id}
    assert await refused(access, right, code) == "invalid_code"
    for attempt in (access.second_factors.begin(anna, right), access.second_factors.confirm(anna, code)):
        with pytest.raises((Conflict, NotFound)):
            await attempt
    assert [entry.action for entry in await access.audit.entries(action="second_factor")] == [
        "second_factor.begun", "second_factor.on",
    ]  # fmt: skip


async def test_who_was_removed_while_the_password_was_proved_sets_up_nothing(
    access: Access, anna: Administrator, right: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = access.own_password.prove

    async def removed(administrator: Administrator, password: Secret) -> None:
        await prove(administrator, password)
        _, token = await access.invitations.invite("bert", "owner")
        await access.invitations.accept(token, Secret(secrets.token_urlsafe()))
        await access.administrators.remove("anna")

    monkeypatch.setattr(access.own_password, "prove", removed)
    with pytest.raises(Unauthenticated):
        await access.second_factors.begin(anna, right)


async def test_the_qr_code_is_a_picture_without_script_or_style(
    access: Access, anna: Administrator, right: Secret
) -> None:
    enrolment = await access.second_factors.begin(anna, right)
    picture = ElementTree.fromstring(enrolment.qr_code.reveal())
    assert picture.tag == "svg"
    assert {each.tag for each in picture.iter()} == {"svg", "g", "path"}
    assert not [each for each in picture.iter() if set(each.attrib) & {"style", "onload", "href"}]
    assert enrolment.secret.reveal() not in repr(enrolment)


async def test_another_password_than_ones_own_changes_nothing_and_is_slowed(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    """A session that somebody took is not enough."""
    await turned_on(access, anna, right, clock)
    came = []
    for _ in range(20):
        for method in (access.second_factors.turn_off, access.second_factors.new_recovery_codes):
            with pytest.raises((InvalidRequest, RateLimited)) as failure:
                await method(anna, Secret(secrets.token_urlsafe()))
            came.append(failure.value.code)
    assert came == ["wrong_password"] * (FREE + 1) + ["too_many_attempts"] * (40 - FREE - 1)
    assert await access.second_factors.get(anna.id) is not None
    assert len(await access.audit.entries(action="administrator.not_proved")) == FREE + 1


# --- signing in -----------------------------------------------------------------------------------------


async def test_the_code_is_asked_for_only_after_the_right_password(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    phone = await turned_on(access, anna, right, clock)
    wrong = Secret(secrets.token_urlsafe())
    assert await refused(access, right, None) == await refused(access, right, " ") == "code_required"
    assert await refused(access, wrong, None) == await refused(access, wrong, phone.code()) == "invalid_login"
    assert (await signs_in(access, right, phone.code())).session.administrator == anna


async def test_being_asked_for_the_code_is_no_failed_attempt(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    phone = await turned_on(access, anna, right, clock)
    for _ in range(10 * FREE):
        with pytest.raises(Unauthenticated, match="needed too"):
            await signs_in(access, right)
    await signs_in(access, right, phone.code())
    await access.sign_in.close()
    assert await access.audit.entries(action="login.refused") == []


async def test_wrong_codes_are_slowed_and_counted_as_wrong_passwords_are(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    await turned_on(access, anna, right, clock)
    came = []
    for number in range(50):
        with pytest.raises((Unauthenticated, RateLimited)) as failure:
            await signs_in(access, right, f"{number:010}")
        came.append(failure.value.code)
    assert came == ["invalid_code"] * (FREE + 1) + ["too_many_attempts"] * (50 - FREE - 1)
    await access.sign_in.close()
    (entry,) = await access.audit.entries(action="login.refused")
    assert entry.said == {"times": FREE + 1}


async def test_a_code_is_taken_once_and_none_from_before_it(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    phone = await turned_on(access, anna, right, clock)
    before, now = phone.code(-1), phone.code()
    await signs_in(access, right, now)
    assert await refused(access, right, now) == "invalid_code"
    assert await refused(access, right, before) == "invalid_code"
    clock.now += STEP
    await signs_in(access, right, phone.code())
    await signs_in(access, right, phone.code(1))  # a clock that is early
    assert await refused(access, right, phone.code(2)) == "invalid_code"


async def test_a_recovery_code_is_taken_once(access: Access, anna: Administrator, right: Secret, clock: Clock) -> None:
    phone = await turned_on(access, anna, right, clock)
    await signs_in(access, right, f" {phone.paper[3].upper()} ")
    assert await refused(access, right, phone.paper[3]) == "invalid_code"
    await signs_in(access, right, phone.paper[4].replace("-", ""))
    factor = await access.second_factors.get(anna.id)
    assert factor is not None
    assert factor.recovery_codes == 8
    used = await access.audit.entries(action="second_factor.recovery_code_used")
    assert [entry.said["left"] for entry in used] == [9, 8]


@pytest.mark.parametrize("kind", ["authenticator", "recovery"])
async def test_of_many_attempts_at_once_with_one_code_one_wins(
    access: Access, own_settings: Settings, anna: Administrator, right: Secret, clock: Clock, kind: str
) -> None:
    phone = await turned_on(access, anna, right, clock)
    code = phone.code() if kind == "authenticator" else phone.paper[0]
    async with Access.open(own_settings) as other:  # another process, as far as the database is concerned
        other.second_factors._clock = clock
        each = [(access, other)[number % 2].second_factors.check(anna, code) for number in range(12)]
        came = await asyncio.gather(*each, return_exceptions=True)
    assert sum(result is None for result in came) == 1
    assert {getattr(result, "code", None) for result in came} == {None, "invalid_code"}


@pytest.mark.parametrize("code", ["0", "0000000", "٠٠٠٠٠٠", "abc", "\ud800", "x" * 1_000_000, "'--", "12345é"])
async def test_what_is_no_code_is_refused_like_a_wrong_one(
    access: Access, anna: Administrator, right: Secret, clock: Clock, code: str
) -> None:
    await turned_on(access, anna, right, clock)
    assert await refused(access, right, code) == "invalid_code"


async def test_nobodys_code_is_good_for_another(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    phone = await turned_on(access, anna, right, clock)
    async with access.database.write() as connection:
        row = (await connection.execute(select(recovery_codes))).mappings().first()
        assert row is not None
    bert = Administrator(**{name: getattr(anna, name) for name in Administrator.__struct_fields__} | {"id": "admin_0"})
    await access.second_factors.check(bert, phone.paper[0])  # who has none needs none
    other = {"administrator_id": anna.id, "hash": access.second_factors._hash.of(typed(phone.paper[1]), "admin_0")}
    async with access.database.write() as connection:
        await connection.execute(recovery_codes.delete())
        await connection.execute(recovery_codes.insert().values(other))
    assert await refused(access, right, phone.paper[1]) == "invalid_code"


# --- turning it off -------------------------------------------------------------------------------------


async def test_it_can_be_turned_off_and_codes_made_anew(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    phone = await turned_on(access, anna, right, clock)
    fresh = await access.second_factors.new_recovery_codes(anna, right)
    assert await refused(access, right, phone.paper[0]) == "invalid_code"
    await signs_in(access, right, fresh[0].reveal())
    await access.second_factors.turn_off(anna, right)
    await signs_in(access, right)
    async with access.database.read() as connection:
        for table in (recovery_codes, second_factors):
            assert (await connection.execute(select(table))).all() == []
    assert (await access.audit.entries(action="second_factor"))[-1].action == "second_factor.off"


async def test_somebody_else_can_reset_it(access: Access, anna: Administrator, right: Secret, clock: Clock) -> None:
    await turned_on(access, anna, right, clock)
    assert (await access.administrators.get(" ANNA")).id == anna.id
    assert await access.second_factors.reset(" ANNA", by="command line") is True
    assert await access.second_factors.reset(" ANNA", by="command line") is False
    await signs_in(access, right)
    with pytest.raises(NotFound):
        await access.administrators.get("nobody")


@pytest.mark.policy("A5")
async def test_a_password_that_is_set_is_the_way_back_after_a_lost_second_factor(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    await turned_on(access, anna, right, clock)
    new = Secret(secrets.token_urlsafe())
    await access.administrators.set_password("anna", new)
    await signs_in(access, new)


# --- what is kept ---------------------------------------------------------------------------------------


async def test_the_secret_outlives_a_rotation_and_opens_in_its_place_alone(
    access: Access, anna: Administrator, right: Secret, clock: Clock
) -> None:
    phone = await turned_on(access, anna, right, clock)
    await access.rotate_master_key()
    await signs_in(access, right, phone.code())
    async with access.database.write() as connection:
        sealed = await connection.scalar(select(second_factors.c.secret))
        await connection.execute(second_factors.update().values(secret=sealed[:-1] + bytes([sealed[-1] ^ 1])))
    clock.now += STEP
    with pytest.raises(VaultFailure):  # it fails closed
        await signs_in(access, right, phone.code())


@pytest.mark.policy("T1")
@pytest.mark.sqlite
async def test_no_code_or_secret_shows_anywhere(
    access: Access, own_settings: Settings, anna: Administrator, right: Secret, clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("DEBUG")
    enrolment = await access.second_factors.begin(anna, right)
    secret = bytes_of(enrolment.secret)
    paper = await access.second_factors.confirm(anna, code_at(secret, int(clock.now) // STEP).reveal())
    said: list[Any] = [enrolment, paper, vars(access.second_factors), await access.second_factors.get(anna.id)]
    for code in (paper[0].reveal(), paper[1].reveal() + "x"):
        try:
            said.append(await signs_in(access, right, code))
        except Failure as failure:
            said.append(failure.message)
    shown = caplog.text + repr(said) + str(await access.audit.entries())
    on_disk = b"".join(file.read_bytes() for file in own_settings.data_dir.rglob("*") if file.is_file())
    assert b"second_factor.on" in on_disk
    for hidden in (enrolment.secret, *paper, *(typed(code.reveal()) for code in paper)):
        assert hidden.reveal() not in shown
        assert hidden.reveal().encode() not in on_disk
    assert secret not in on_disk
