"""Administrators: who is one, how the first becomes one, and the way back (policy A3, A5)."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from claude_code_api.access import Access, Administrator
from claude_code_api.access.administrators import LINK_GOOD_FOR
from claude_code_api.errors import Failure, InvalidRequest, NotFound, Overloaded, StorageFailure, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.tables import administrators, setup_links

pytestmark = [pytest.mark.policy("A5"), pytest.mark.usefixtures("every_database")]


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return quick(tmp_path)


def quick(path: Path, rounds: int = 4) -> Settings:
    """With a work factor that the setting itself would not take."""
    return Settings(data_dir=path / "data").model_copy(update={"bcrypt_rounds": rounds})


@pytest.fixture
async def other(access: Access, own_settings: Settings) -> AsyncIterator[Access]:
    """Another process, as far as the data directory is concerned."""
    async with Access.open(own_settings) as other:
        yield other


def password() -> Secret:
    return Secret(secrets.token_urlsafe())


async def kept(access: Access, name: str) -> Any:
    async with access.database.read() as connection:
        return await connection.scalar(select(administrators.c.password_hash).where(administrators.c.name == name))


async def told(access: Access) -> list[str]:
    return [f"{entry.actor}: {entry.action}" for entry in await access.audit.entries()]


async def token_of(access: Access) -> Secret:
    token = await access.administrators.new_setup_token(by="gateway")
    assert token is not None
    return token


# --- passwords ------------------------------------------------------------------------------------------


async def test_there_is_no_default_administrator_and_no_default_password(access: Access) -> None:
    assert await access.administrators.list() == []
    assert not await access.administrators.has_owner()
    for name, guess in (("admin", "admin"), ("admin", ""), ("", ""), ("root", "password")):
        with pytest.raises(Unauthenticated):
            await access.administrators.check(name, Secret(guess))


async def test_the_first_one_is_the_owner_and_others_are_not_made_by_a_misspelt_name(access: Access) -> None:
    first, second = password(), password()
    made = await access.administrators.set_password("Anna", first)
    assert (made.name, made.role, made.created_by) == ("anna", "owner", "command line")
    with pytest.raises(NotFound, match="no administrator 'ana'"):
        await access.administrators.set_password("ana", second)
    changed = await access.administrators.set_password(" ANNA ", second, by="administrator bert")
    assert await access.administrators.list() == [changed]
    assert await access.administrators.check("aNNa", second) == changed
    with pytest.raises(Unauthenticated):
        await access.administrators.check("anna", first)
    assert await told(access) == [
        "command line: administrator.created",
        "administrator bert: administrator.password_set",
    ]


async def test_a_changed_password_ends_sessions_those_too_that_are_being_begun(access: Access, other: Access) -> None:
    old, new = password(), password()
    await access.administrators.set_password("anna", old)
    session = await access.administrators.check("anna", old)
    assert (await access.administrators.list())[0].sessions_valid_from == session.sessions_valid_from
    generation = access.database.generation.current
    await other.administrators.set_password("anna", new)
    (now,) = await access.administrators.list()
    assert now.sessions_valid_from > session.sessions_valid_from
    assert access.database.generation.current != generation, "every process notices"


async def test_a_weak_password_changes_nothing(access: Access) -> None:
    good = password()
    with pytest.raises(InvalidRequest):
        await access.administrators.set_password("anna", Secret("changeme"))
    assert await access.administrators.list() == []
    await access.administrators.set_password("anna", good)
    with pytest.raises(InvalidRequest):
        await access.administrators.set_password("anna", Secret("Anna-11111111"))
    await access.administrators.check("anna", good)
    for name in ("an\nna", "x" * 101, "ß" * 100, "sk-" + "A1" * 24):
        with pytest.raises(InvalidRequest):
            await access.administrators.set_password(name, password())


@pytest.mark.parametrize(("name", "other"), [("Jürgen", "JU\u0308RGEN"), ("ǰohn", "J\u030cOHN"), ("Strauß", "strauss")])
async def test_a_name_is_the_same_however_it_is_typed(access: Access, name: str, other: str) -> None:
    right = password()
    made = await access.administrators.set_password(name, right)
    assert await access.administrators.check(other, right) == made


@pytest.mark.policy("A3")
async def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(access: Access) -> None:
    await access.administrators.set_password("anna", password())
    said = []
    for name in (
        "anna",
        "ANNA",
        "nobody",
        "",
        "an\0na",
        "x" * 10_000_000,
        "anna" + " " * 1000,
        "\ud800",
        "' OR 1=1 --",
    ):
        with pytest.raises(Unauthenticated) as refused:
            await access.administrators.check(name, password())
        said.append((refused.value.message, refused.value.code, refused.value.status))
    assert set(said) == {("The name or the password is wrong.", "invalid_login", 401)}


@pytest.mark.policy("A3")
async def test_the_hash_follows_at_the_next_login_when_the_setting_rises(tmp_path: Path) -> None:
    right = password()
    async with Access.open(quick(tmp_path)) as access:
        before = await access.administrators.set_password("anna", right)
        await access.administrators.check("anna", right)
        assert (await kept(access, "anna")).startswith("$2b$04$")
    async with Access.open(quick(tmp_path, 5)) as access:
        with pytest.raises(Unauthenticated):
            await access.administrators.check("anna", password())
        assert (await kept(access, "anna")).startswith("$2b$04$")
        assert await access.administrators.check("anna", right) == before, "no session ends by it"
        assert (await kept(access, "anna")).startswith("$2b$05$")
        await access.administrators.check("anna", right)
    async with Access.open(quick(tmp_path)) as access:
        await access.administrators.check("anna", right)
        assert (await kept(access, "anna")).startswith("$2b$05$"), "never weaker"


@pytest.mark.policy("A3")
async def test_who_is_right_is_let_in_even_if_the_hash_cannot_be_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = password()
    async with Access.open(quick(tmp_path)) as access:
        made = await access.administrators.set_password("anna", right)
    async with Access.open(quick(tmp_path, 5)) as access:
        for failure in (Overloaded("full"), StorageFailure("full")):

            async def fail(_: Secret, failure: Failure = failure) -> str:
                raise failure

            monkeypatch.setattr(access.administrators._hasher, "hash", fail)
            assert await access.administrators.check("anna", right) == made


@pytest.mark.policy("A3")
async def test_a_hash_made_anew_never_takes_the_place_of_a_changed_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = password(), password()
    async with Access.open(quick(tmp_path)) as access:
        await access.administrators.set_password("anna", old)
    async with Access.open(quick(tmp_path, 5)) as access, Access.open(quick(tmp_path)) as other:
        hash_ = access.administrators._hasher.hash

        async def overtaken(given: Secret) -> str:
            await other.administrators.set_password("anna", new)
            return await hash_(given)

        monkeypatch.setattr(access.administrators._hasher, "hash", overtaken)
        stale = await access.administrators.check("anna", old)
        (now,) = await access.administrators.list()
        assert stale.sessions_valid_from != now.sessions_valid_from, "so no session can come of it"
        await access.administrators.check("anna", new)
        with pytest.raises(Unauthenticated):
            await access.administrators.check("anna", old)


@pytest.mark.policy("A3")
async def test_passwords_and_links_outlive_a_rotation_of_the_master_key(access: Access, other: Access) -> None:
    token, right = await token_of(access), password()
    await other.rotate_master_key()
    made = await access.administrators.use_setup_token(token, "anna", right)
    await other.rotate_master_key()
    assert await access.administrators.check("anna", right) == await other.administrators.check("anna", right) == made


@pytest.mark.policy("A3")
def test_twelve_rounds_are_the_least() -> None:
    assert Settings().bcrypt_rounds == 12


async def test_the_age_of_a_password_is_known(access: Access) -> None:
    made = await access.administrators.set_password("anna", password())
    assert (made.password_age.days, made.is_reminded) == (0, False)
    ages = {days: datetime.now(UTC) - timedelta(days=days, minutes=1) for days in (89, 90)}
    for days, moment in ages.items():
        async with access.database.write() as connection:
            await connection.execute(administrators.update().values(password_set_at=moment))
        (administrator,) = await access.administrators.list()
        assert (administrator.password_age.days, administrator.is_reminded) == (days, days == 90)


# --- the password in the settings -----------------------------------------------------------------------


async def test_the_given_password_makes_the_owner_once_and_never_changes_one(access: Access) -> None:
    first, second = password(), password()
    made = await access.administrators.make_first(first, by="gateway")
    assert made is not None
    assert (made.name, made.role, made.created_by) == ("admin", "owner", "gateway")
    assert await access.administrators.make_first(second, by="gateway") is None
    assert await access.administrators.check("admin", first) == made
    with pytest.raises(InvalidRequest):
        await access.administrators.make_first(Secret("changeme-now"), by="gateway")


async def test_it_makes_no_second_owner_beside_one_of_another_name(access: Access, other: Access) -> None:
    await access.administrators.set_password("anna", password())
    assert await access.administrators.make_first(password(), by="gateway") is None
    assert [each.name for each in await access.administrators.list()] == ["anna"]


async def test_many_first_starts_at_once_make_one_owner(access: Access, other: Access) -> None:
    given = [each.administrators.make_first(password(), by="gateway") for each in (access, other, access, other)]
    made = [each for each in await asyncio.gather(*given) if each]
    assert made == await access.administrators.list()
    assert len(made) == 1


# --- the one-time link ----------------------------------------------------------------------------------


async def test_a_link_makes_the_owner_once(access: Access) -> None:
    token, right = await token_of(access), password()
    assert len(token.reveal()) == 43  # 256 bits
    made = await access.administrators.use_setup_token(token, "Anna", right)
    assert (made.name, made.role, made.created_by) == ("anna", "owner", "set-up link")
    assert await access.administrators.check("anna", right) == made
    await refused(access, token)
    assert await told(access) == ["gateway: administrator.setup_link_made", "set-up link: administrator.created"]


async def refused(access: Access, token: Secret) -> None:
    before = await access.administrators.list()
    with pytest.raises(Unauthenticated, match="This link is not good") as failure:
        await access.administrators.use_setup_token(token, "bert", password())
    assert failure.value.code == "invalid_setup_link"
    assert await access.administrators.list() == before


async def test_no_other_text_is_a_link(access: Access) -> None:
    token = (await token_of(access)).reveal()
    for text in ("", token[:-1], token + "A", token.swapcase(), secrets.token_urlsafe(), "\ud800", "%", "' OR 1=1 --"):
        await refused(access, Secret(text))
    async with access.database.read() as connection:
        (row,) = (await connection.execute(select(setup_links))).all()
    await refused(access, Secret(row.hash.hex()))  # who reads the database cannot use it
    await access.administrators.use_setup_token(Secret(token), "anna", password())


async def test_a_link_is_good_for_an_hour(access: Access) -> None:
    token = await token_of(access)
    async with access.database.write() as connection:
        ends = await connection.scalar(select(setup_links.c.expires_at))
        assert timedelta(minutes=59) < ends - datetime.now(UTC) <= LINK_GOOD_FOR == timedelta(hours=1)
        await connection.execute(setup_links.update().values(expires_at=datetime.now(UTC)))
    await refused(access, token)


async def test_a_new_link_ends_the_one_before(access: Access) -> None:
    old, new = await token_of(access), await token_of(access)
    await refused(access, old)
    await access.administrators.use_setup_token(new, "anna", password())


async def test_no_link_is_good_once_there_is_an_owner_however_it_came(access: Access, own_settings: Settings) -> None:
    token = await token_of(access)
    async with access.database.read() as connection:
        row = (await connection.execute(select(setup_links))).mappings().one()
    await access.administrators.set_password("admin", password())
    await refused(access, token)
    async with access.database.write() as connection:  # even if one had stayed
        await connection.execute(setup_links.insert().values(**row))
    await refused(access, token)
    assert await access.administrators.new_setup_token(by="gateway") is None


async def test_a_weak_password_or_a_wrong_name_leaves_the_link_good(access: Access) -> None:
    token = await token_of(access)
    for name, given in (("anna", Secret("changeme")), ("", password()), ("x" * 101, password())):
        with pytest.raises(InvalidRequest):
            await access.administrators.use_setup_token(token, name, given)
    await access.administrators.use_setup_token(token, "anna", password())


async def test_of_many_uses_at_once_one_wins(access: Access, other: Access, own_settings: Settings) -> None:
    token = await token_of(access)
    async with AsyncExitStack() as stack:
        more = [await stack.enter_async_context(Access.open(own_settings)) for _ in range(2)]
        uses = [
            each.administrators.use_setup_token(token, f"person-{n}", password())
            for n, each in enumerate((access, other, *more, access, other))
        ]
        came = await asyncio.gather(*uses, return_exceptions=True)
    won = [each for each in came if isinstance(each, Administrator)]
    assert len(won) == 1
    assert all(isinstance(each, Unauthenticated | Administrator) for each in came)
    assert await access.administrators.list() == won


async def test_an_owner_made_while_the_link_is_used_is_the_only_one(
    access: Access, other: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await token_of(access)
    hash_ = access.administrators._hasher.hash

    async def overtaken(given: Secret) -> str:
        await other.administrators.set_password("admin", password())
        return await hash_(given)

    monkeypatch.setattr(access.administrators._hasher, "hash", overtaken)
    with pytest.raises(Unauthenticated):
        await access.administrators.use_setup_token(token, "anna", password())
    assert [each.name for each in await access.administrators.list()] == ["admin"]


async def test_whoever_has_no_link_cannot_make_the_gateway_hash(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hashed(_: Secret) -> str:
        raise AssertionError("hashed for nobody")

    monkeypatch.setattr(access.administrators._hasher, "hash", hashed)
    await refused(access, Secret("guess"))


# --- what shows -----------------------------------------------------------------------------------------


@pytest.mark.sqlite
async def test_neither_a_password_nor_a_link_shows_anywhere(
    access: Access, own_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token, right, wrong = await token_of(access), password(), password()
    made = await access.administrators.use_setup_token(token, "anna", right)
    with pytest.raises(Failure):
        await access.administrators.check("anna", wrong)
    await access.administrators.check("anna", right)
    await access.administrators.set_password("anna", wrong)
    shown = repr(made) + repr(vars(access.administrators)) + str(await access.audit.entries())
    on_disk = b"".join(file.read_bytes() for file in own_settings.data_dir.rglob("*") if file.is_file())
    assert b"anna" in on_disk
    for secret in (token, right, wrong):
        assert secret.reveal() not in caplog.text + shown
        assert secret.reveal().encode() not in on_disk
    assert await kept(access, "anna") not in shown
