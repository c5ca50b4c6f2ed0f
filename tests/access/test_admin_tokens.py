"""Tokens for scripts of administrators: hashed, of one role, with an end, revoked at once (policy K1, K3, T1)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from claude_code_api.access import Access, Administrator, AdminToken, Role, key_text
from claude_code_api.access.admin_tokens import GOOD_FOR, LONGEST
from claude_code_api.errors import InvalidRequest, NotFound, PermissionDenied, StorageFailure, Unauthenticated
from claude_code_api.operations.redaction import redact
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.tables import admin_tokens

pytestmark = [pytest.mark.policy("K3"), pytest.mark.usefixtures("every_database")]


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data").model_copy(update={"bcrypt_rounds": 4})


@pytest.fixture
def clock(access: Access) -> Clock:
    clock = Clock()
    access.admin_tokens._now = clock
    return clock


@pytest.fixture
async def anna(access: Access) -> Administrator:
    return await access.administrators.set_password("anna", Secret(secrets.token_urlsafe()))


async def added(access: Access, name: str, role: Role) -> Administrator:
    _, token = await access.invitations.invite(name, role, by="administrator anna")
    return await access.invitations.accept(token, Secret(secrets.token_urlsafe()))


async def refused(access: Access, text: Secret) -> None:
    with pytest.raises(Unauthenticated) as failure:
        await access.admin_tokens.check(text, address="192.0.2.9")
    assert (failure.value.code, failure.value.message) == (
        "invalid_admin_token", "The admin token is not valid: it is unknown, revoked or expired.",
    )  # fmt: skip


async def stored(access: Access) -> list[AdminToken]:
    return await access.admin_tokens.list()


@pytest.mark.policy("K1")
async def test_a_token_has_a_form_of_its_own_and_is_found_by_it(access: Access, clock: Clock) -> None:
    token, text = await access.admin_tokens.create(" deploy ", "admin")
    assert re.fullmatch(r"adm-[A-Za-z0-9]{48}", text.reveal())
    assert key_text.is_well_formed(text, key_text.ADMIN_PREFIX)
    assert not key_text.is_well_formed(text)
    assert not key_text.is_well_formed(key_text.generate(), key_text.ADMIN_PREFIX)
    assert redact(f"token {text.reveal()}") == "token [redacted]"
    assert (token.name, token.role, token.hint, token.created_by) == (
        "deploy", "admin", text.reveal()[-4:], "command line",
    )  # fmt: skip
    assert token.expires_at == clock.now + GOOD_FOR
    found = await access.admin_tokens.check(text)
    assert found.id == token.id
    assert found.actor == f"admin token {token.id} deploy"


@pytest.mark.parametrize("text", ["", "adm-", "adm-" + "0" * 48, "sk-" + "0" * 48, "\ud800", "x" * 100_000, "' --"])
async def test_any_other_text_is_refused_alike(access: Access, text: str) -> None:
    await access.admin_tokens.create("deploy", "admin")
    await refused(access, Secret(text))


async def test_neither_a_key_nor_a_session_is_a_token_nor_the_other_way(
    access: Access, anna: Administrator, token: Secret
) -> None:
    await access.credentials.add("main", token)
    _, key = await access.keys.create("laptop", "main")
    _, session = await access.sessions.begin(anna, address="::1", device="")
    _, text = await access.admin_tokens.create("deploy", "owner")
    for other in (
        key,
        session,
        Secret(text.reveal().replace("adm-", "sk-")),
        Secret(key.reveal().replace("sk", "adm")),
    ):
        await refused(access, other)
    for check in (access.keys.verify, access.sessions.check):
        with pytest.raises(Unauthenticated):
            await check(text)


# --- ends -----------------------------------------------------------------------------------------------


async def test_a_token_ends(access: Access, clock: Clock) -> None:
    _, text = await access.admin_tokens.create("deploy", "admin", expires_at=clock.now + timedelta(hours=1))
    clock.now += timedelta(minutes=59)
    await access.admin_tokens.check(text)
    clock.now += timedelta(minutes=1)
    await refused(access, text)


async def test_every_token_has_an_end_within_a_year(access: Access, clock: Clock) -> None:
    for ends in (clock.now, clock.now + LONGEST + timedelta(seconds=1), datetime(2030, 1, 1)):  # noqa: DTZ001 - wrong
        with pytest.raises(InvalidRequest) as failure:
            await access.admin_tokens.create("deploy", "admin", expires_at=ends)
        assert failure.value.param == "expires_at"
    await access.admin_tokens.create("deploy", "admin", expires_at=clock.now + LONGEST)
    for name in ("", "a\nb", "sk-" + "A1" * 24):
        with pytest.raises(InvalidRequest):
            await access.admin_tokens.create(name, "admin")
    assert len(await stored(access)) == 1


async def test_a_revoked_one_is_refused_everywhere_at_once(
    access: Access, in_another_process: Callable[[str], str]
) -> None:
    (first, text), (_, other) = [await access.admin_tokens.create("deploy", "admin") for _ in range(2)]
    await access.admin_tokens.check(text)
    in_another_process(f'await access.admin_tokens.revoke("{first.id}")')
    await refused(access, text)
    await access.admin_tokens.check(other)
    again = await access.admin_tokens.revoke(first.id, by="administrator anna")
    assert again == (await stored(access))[0]
    assert not again.is_live
    with pytest.raises(NotFound):
        await access.admin_tokens.revoke("token_0")
    assert [(entry.actor, entry.action) for entry in await access.audit.entries(action="admin_token")] == [
        ("command line", "admin_token.created"), ("command line", "admin_token.created"),
        ("command line", "admin_token.revoked"),
    ]  # fmt: skip


# --- roles ----------------------------------------------------------------------------------------------


async def test_no_token_can_do_more_than_its_maker(access: Access, anna: Administrator) -> None:
    bert = await added(access, "bert", "admin")
    with pytest.raises(PermissionDenied):
        await access.admin_tokens.create("deploy", "owner", maker=bert)
    for maker, role in ((bert, "admin"), (bert, "viewer"), (anna, "owner")):
        token, _ = await access.admin_tokens.create("deploy", role, maker=maker)
        assert (token.role, token.administrator_id, token.created_by) == (role, maker.id, maker.actor)
    await access.administrators.set_role("bert", "viewer", by=anna.actor)
    with pytest.raises(PermissionDenied):  # what he may now counts, not what his session said
        await access.admin_tokens.create("deploy", "admin", maker=bert)
    await access.administrators.remove("bert", by=anna.actor)
    with pytest.raises(PermissionDenied):
        await access.admin_tokens.create("deploy", "viewer", maker=bert)


async def test_tokens_follow_their_maker_down_and_out(access: Access, anna: Administrator) -> None:
    bert = await added(access, "bert", "admin")
    _, mine = await access.admin_tokens.create("mine", "owner", maker=anna)
    _, admin = await access.admin_tokens.create("admin", "admin", maker=bert)
    _, viewer = await access.admin_tokens.create("viewer", "viewer", maker=bert)
    await access.administrators.set_role("bert", "viewer", by=anna.actor)
    await refused(access, admin)
    await access.admin_tokens.check(viewer)
    await access.administrators.remove("bert", by=anna.actor)
    await refused(access, viewer)
    await access.admin_tokens.check(mine)
    revoked = await access.audit.entries(action="admin_token.revoked")
    assert [(entry.actor, entry.said["name"]) for entry in revoked] == [
        ("administrator anna", "admin"), ("administrator anna", "viewer"),
    ]  # fmt: skip
    assert len(await stored(access)) == 3, "what has ended stays for the record"


# --- use ------------------------------------------------------------------------------------------------


@pytest.mark.policy("K4")
async def test_the_last_use_is_written_once_a_minute(
    access: Access, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = []
    write = access.database.write

    def counted(**fields: bool) -> object:
        writes.append(fields)
        return write(**fields)

    _, text = await access.admin_tokens.create("deploy", "admin")
    assert (await stored(access))[0].last_used_at is None
    monkeypatch.setattr(access.database, "write", counted)
    for _ in range(120):
        await access.admin_tokens.check(text)
        clock.now += timedelta(seconds=1)
    assert len(writes) == 2
    assert (await stored(access))[0].last_used_at == clock.now - timedelta(minutes=1)


async def test_who_may_read_does_where_nothing_can_be_written(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: bool) -> None:
        raise StorageFailure("The disk is full.")

    _, text = await access.admin_tokens.create("deploy", "admin")
    monkeypatch.setattr(access.database, "write", full)
    await access.admin_tokens.check(text)


@pytest.mark.policy("L1")
async def test_refused_ones_are_counted_by_address(access: Access) -> None:
    for _ in range(3):
        await refused(access, key_text.generate(key_text.ADMIN_PREFIX))
    assert await access.audit.entries(action="admin_token.refused") == []
    await access.admin_tokens.close()
    (entry,) = await access.audit.entries(action="admin_token.refused")
    assert (entry.target, entry.said) == ("192.0.2.0/24", {"times": 3})


@pytest.mark.policy("T1")
@pytest.mark.sqlite
async def test_the_database_holds_a_hash_alone(
    access: Access, own_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token, text = await access.admin_tokens.create("deploy", "admin")
    await access.admin_tokens.check(text)
    async with access.database.read() as connection:
        hashed = await connection.scalar(select(admin_tokens.c.hash))
    await refused(access, Secret("adm-" + hashed.hex()[:48]))
    on_disk = b"".join(file.read_bytes() for file in own_settings.data_dir.rglob("*") if file.is_file())
    assert b"deploy" in on_disk
    shown = caplog.text + repr(token) + repr(vars(access.admin_tokens)) + str(await access.audit.entries())
    for secret in (text.reveal(), text.reveal().removeprefix("adm-")):
        assert secret not in shown
        assert secret.encode() not in on_disk
