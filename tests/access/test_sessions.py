"""Administrators' sessions (policy A2, A4): on the server, hashed, new at each sign-in, and they end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from claude_code_api.access import Access, Administrator, Session, Sessions
from claude_code_api.access.sessions import MOST
from claude_code_api.errors import NotFound, StorageFailure, Unauthenticated, WrongSetting
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, load
from claude_code_api.storage.tables import admin_sessions, administrators

pytestmark = [pytest.mark.policy("A2"), pytest.mark.policy("A4"), pytest.mark.usefixtures("every_database")]


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data").model_copy(update={"bcrypt_rounds": 4})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def anna(access: Access) -> Administrator:
    return await access.administrators.set_password("anna", Secret(secrets.token_urlsafe()))


@pytest.fixture
def sessions(access: Access, own_settings: Settings, clock: Clock) -> Sessions:
    return Sessions(access.database, b"p" * 32, access.audit, own_settings, clock)


async def begun(sessions: Sessions, who: Administrator, device: str = "a browser") -> tuple[Session, Secret]:
    return await sessions.begin(who, address="192.0.2.77", device=device)


async def refused(sessions: Sessions, secret: Secret) -> None:
    with pytest.raises(Unauthenticated) as failure:
        await sessions.check(secret)
    said = failure.value
    assert (said.code, said.message) == ("invalid_session", "This session has ended, or never was; sign in.")


async def rows(access: Access) -> list[Any]:
    async with access.database.read() as connection:
        return list((await connection.execute(select(admin_sessions))).all())


async def told(access: Access) -> list[tuple[str, str]]:
    return [(entry.actor, entry.action) for entry in await access.audit.entries(action="session")]


async def test_a_session_tells_who_where_and_until_when(sessions: Sessions, anna: Administrator, clock: Clock) -> None:
    session, secret = await begun(sessions, anna)
    assert await sessions.check(secret) == session
    assert (session.administrator, session.address, session.device) == (anna, "192.0.2.77", "a browser")
    assert (session.created_at, session.ends_at) == (clock.now, clock.now + timedelta(hours=24))


async def test_each_sign_in_has_an_identifier_of_its_own(sessions: Sessions, anna: Administrator) -> None:
    begun_ = [await begun(sessions, anna) for _ in range(10)]
    assert len({secret for _, secret in begun_}) == len({session.id for session, _ in begun_}) == 10
    assert all(len(secret.reveal()) == 43 for _, secret in begun_), "256 bits"
    assert len({session.csrf_token for session, _ in begun_}) == 10


@pytest.mark.parametrize("text", ["", "x", "session_0123456789abcdef", "\ud800", "ä" * 10_000, "' OR 1=1 --", "\0"])
async def test_what_a_browser_made_up_is_no_session(sessions: Sessions, anna: Administrator, text: str) -> None:
    await begun(sessions, anna)
    await refused(sessions, Secret(text))


@pytest.mark.sqlite
async def test_the_database_holds_a_hash_alone(access: Access, sessions: Sessions, anna: Administrator) -> None:
    session, secret = await begun(sessions, anna)
    (row,) = await rows(access)
    for taken in (row.id, row.hash.hex(), row.hash.decode("latin-1"), session.csrf_token.reveal()):
        await refused(sessions, Secret(taken))
    on_disk = b"".join(file.read_bytes() for file in access._directory.path.rglob("*") if file.is_file())
    assert b"a browser" in on_disk
    shown = repr(session) + repr(vars(sessions)) + str(await access.audit.entries())
    for hidden in (secret, session.csrf_token):
        assert hidden.reveal().encode() not in on_disk
        assert hidden.reveal() not in shown


async def test_the_hash_is_under_the_pepper(access: Access, sessions: Sessions, anna: Administrator) -> None:
    _, secret = await begun(sessions, anna)
    await refused(access.sessions, secret)  # whose pepper is another


# --- ends -----------------------------------------------------------------------------------------------


async def test_a_session_ends_after_two_hours_without_use(
    sessions: Sessions, anna: Administrator, clock: Clock
) -> None:
    session, secret = await begun(sessions, anna)
    for _ in range(5):
        clock.now += timedelta(minutes=119)
        assert (await sessions.check(secret)).last_used_at == clock.now
    clock.now += timedelta(minutes=120)
    await refused(sessions, secret)
    assert await sessions.list() == []
    assert session.ends_at > clock.now


async def test_a_session_ends_after_a_day_however_busy(sessions: Sessions, anna: Administrator, clock: Clock) -> None:
    _, secret = await begun(sessions, anna)
    for _ in range(24 * 60 // 90):
        clock.now += timedelta(minutes=89, seconds=59)
        await sessions.check(secret)
    clock.now += timedelta(minutes=1)
    await refused(sessions, secret)
    assert await sessions.list() == []


async def test_both_ends_are_settings_and_count_for_older_sessions_too(
    access: Access, own_settings: Settings, anna: Administrator, clock: Clock, sessions: Sessions
) -> None:
    def lowered(**fields: int) -> Sessions:
        return Sessions(access.database, b"p" * 32, access.audit, own_settings.model_copy(update=fields), clock)

    _, secret = await begun(sessions, anna)
    clock.now += timedelta(minutes=30)
    await sessions.check(secret)
    clock.now += timedelta(minutes=30)
    await refused(lowered(session_hours=1), secret)
    await refused(lowered(session_idle_minutes=30), secret)
    assert await lowered(session_hours=1).list() == []
    assert (await lowered(session_hours=2).list())[0].ends_at == clock.now + timedelta(hours=1)
    await sessions.check(secret)


def test_no_setting_makes_a_session_longer_than_a_day() -> None:
    assert (Settings().session_hours, Settings().session_idle_minutes) == (24, 120)
    for wrong in ({"session_hours": 25}, {"session_hours": 0}, {"session_idle_minutes": 1441}):
        with pytest.raises(WrongSetting, match=next(iter(wrong))):
            load(**wrong)


async def test_a_session_that_was_ended_does_not_come_back(
    access: Access, sessions: Sessions, anna: Administrator
) -> None:
    (mine, secret), (_, other) = await begun(sessions, anna), await begun(sessions, anna)
    await sessions.end(mine.id, by=anna.actor)
    await refused(sessions, secret)
    await sessions.check(other)
    with pytest.raises(NotFound):
        await sessions.end(mine.id, by=anna.actor)
    assert len(await rows(access)) == 1, "nothing of it is left"
    assert await told(access) == [("administrator anna", "session.begun")] * 2 + [
        ("administrator anna", "session.ended")
    ]


async def test_all_others_are_ended_at_once(sessions: Sessions, anna: Administrator) -> None:
    begun_ = [await begun(sessions, anna) for _ in range(3)]
    assert await sessions.end_all(anna.id, begun_[0][0].id, by=anna.actor) == 2
    await sessions.check(begun_[0][1])
    for _, secret in begun_[1:]:
        await refused(sessions, secret)
    assert await sessions.end_all(anna.id, by="command line") == 1
    await refused(sessions, begun_[0][1])


async def test_nobody_ends_the_session_of_another_as_ones_own(
    access: Access, sessions: Sessions, anna: Administrator
) -> None:
    session, secret = await begun(sessions, anna)
    with pytest.raises(NotFound):
        await sessions.end(session.id, by="administrator bert", administrator_id="admin_bert")
    await sessions.check(secret)
    await sessions.end(session.id, by=anna.actor, administrator_id=anna.id)


async def test_a_changed_password_ends_all_those_too_that_are_being_begun(
    access: Access, sessions: Sessions, anna: Administrator
) -> None:
    _, secret = await begun(sessions, anna)
    await access.administrators.set_password("anna", Secret(secrets.token_urlsafe()))
    await refused(sessions, secret)
    assert await sessions.list() == []
    with pytest.raises(Unauthenticated):  # the password was checked before it changed
        await begun(sessions, anna)


async def test_who_is_no_administrator_any_more_begins_none(access: Access, sessions: Sessions) -> None:
    now = datetime.now(UTC)
    gone = Administrator(
        id="admin_0", name="gone", role="admin", password_set_at=now, sessions_valid_from=now, created_at=now,
        created_by="anna",
    )  # fmt: skip
    with pytest.raises(Unauthenticated):
        await begun(sessions, gone)


async def test_a_session_has_the_role_that_its_administrator_has_now(
    access: Access, sessions: Sessions, anna: Administrator
) -> None:
    _, secret = await begun(sessions, anna)
    async with access.database.write() as connection:
        await connection.execute(administrators.update().values(role="viewer"))
    assert (await sessions.check(secret)).administrator.role == "viewer"


# --- how many -------------------------------------------------------------------------------------------


async def test_one_more_than_twenty_ends_the_one_unused_for_longest(
    access: Access, sessions: Sessions, anna: Administrator, clock: Clock
) -> None:
    begun_ = []
    for _ in range(MOST):
        begun_.append(await begun(sessions, anna))
        clock.now += timedelta(minutes=2)
    await sessions.check(begun_[0][1])
    clock.now += timedelta(minutes=2)
    await begun(sessions, anna)
    await sessions.check(begun_[0][1])
    await refused(sessions, begun_[1][1])
    await sessions.check(begun_[2][1])
    assert len(await sessions.list()) == len(await rows(access)) == MOST
    assert (await told(access))[-2:] == [
        ("administrator anna", "session.ended"),
        ("administrator anna", "session.begun"),
    ]


async def test_many_sign_ins_at_once_keep_to_twenty(access: Access, sessions: Sessions, anna: Administrator) -> None:
    await asyncio.gather(*(begun(sessions, anna) for _ in range(30)))
    assert len(await rows(access)) == MOST


async def test_what_has_ended_by_itself_is_removed_at_the_next_sign_in(
    access: Access, sessions: Sessions, anna: Administrator, clock: Clock
) -> None:
    for _ in range(3):
        await begun(sessions, anna)
    clock.now += timedelta(hours=2)
    await begun(sessions, anna)
    assert len(await rows(access)) == 1


async def test_the_list_is_of_one_or_of_all_the_last_used_first(
    access: Access, sessions: Sessions, anna: Administrator, clock: Clock
) -> None:
    first, secret = await begun(sessions, anna, "first")
    clock.now += timedelta(minutes=1)
    second, _ = await begun(sessions, anna, "second")
    assert [each.id for each in await sessions.list(anna.id)] == [second.id, first.id]
    clock.now += timedelta(minutes=1)
    await sessions.check(secret)
    assert [each.device for each in await sessions.list()] == ["first", "second"]
    assert await sessions.list("admin_0") == []
    assert not hasattr((await sessions.list())[0], "csrf_token")


# --- use ------------------------------------------------------------------------------------------------


async def test_the_last_use_is_written_once_a_minute(
    access: Access, sessions: Sessions, anna: Administrator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = []
    write = access.database.write

    def counted(**fields: bool) -> object:
        writes.append(fields)
        return write(**fields)

    _, secret = await begun(sessions, anna)
    monkeypatch.setattr(access.database, "write", counted)
    for _ in range(120):
        clock.now += timedelta(seconds=1)
        await sessions.check(secret)
    assert len(writes) == 2


async def test_who_may_read_does_where_nothing_can_be_written(
    access: Access, sessions: Sessions, anna: Administrator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: bool) -> None:
        raise StorageFailure("The disk is full.")

    _, secret = await begun(sessions, anna)
    clock.now += timedelta(minutes=5)
    monkeypatch.setattr(access.database, "write", full)
    assert (await sessions.check(secret)).administrator == anna


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux)", "Mozilla/5.0 (X11; Linux)"),
        ("two\r\nlines\x1b[31m\ud800", "two lines [31m"),
        ("", ""),
        ("x" * 100_000, "x" * 200),
        ("sk-" + "A1" * 24, "[redacted]"),
    ],
)
async def test_what_a_browser_calls_itself_is_one_short_line(
    sessions: Sessions, anna: Administrator, said: str, shown: str
) -> None:
    assert (await begun(sessions, anna, said))[0].device == shown


async def test_another_process_knows_the_session_and_that_it_ended(
    access: Access, anna: Administrator, in_another_process: Callable[[str], str]
) -> None:
    session, secret = await access.sessions.begin(anna, address="::1", device="")
    in_another_process(f'await access.sessions.end("{session.id}", by="command line")')
    await refused(access.sessions, secret)


@pytest.mark.sqlite
async def test_a_session_is_found_by_an_index(access: Access) -> None:
    async with access.database.read() as connection:
        plan = await connection.execute(text("EXPLAIN QUERY PLAN SELECT * FROM admin_sessions WHERE hash = x'00'"))
        assert "USING INDEX" in str(plan.all())
