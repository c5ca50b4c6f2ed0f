"""Roles of administrators: set, removed, and always an owner left (policy A5)."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import select

from claude_code_api.access import Access, Administrator, Role
from claude_code_api.access.administrator import grants
from claude_code_api.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.tables import admin_sessions

pytestmark = pytest.mark.policy("A5")


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data").model_copy(update={"bcrypt_rounds": 4})


@pytest.fixture
async def anna(access: Access) -> Administrator:
    """The owner."""
    return await access.administrators.set_password("anna", password())


def password() -> Secret:
    return Secret(secrets.token_urlsafe())


async def added(access: Access, name: str, role: Role) -> Administrator:
    _, token = await access.invitations.invite(name, role, by="administrator anna")
    return await access.invitations.accept(token, password())


def test_each_role_may_what_those_below_may() -> None:
    assert [[grants(role, wanted) for wanted in get_args(Role)] for role in get_args(Role)] == [
        [True, True, True], [False, True, True], [False, False, True],
    ]  # fmt: skip


async def test_a_role_holds_at_once_for_sessions_too(access: Access, anna: Administrator) -> None:
    bert = await added(access, "bert", "viewer")
    _, secret = await access.sessions.begin(bert, address="::1", device="")
    changed = await access.administrators.set_role("BERT", "admin", by=anna.actor)
    assert changed.role == "admin"
    assert (await access.sessions.check(secret)).administrator == changed
    await access.administrators.set_role("bert", "admin", by=anna.actor)
    (entry,) = await access.audit.entries(action="administrator.role_set")
    assert (entry.actor, entry.target, entry.said) == (
        "administrator anna", bert.id, {"name": "bert", "role": "admin", "before": "viewer"},
    )  # fmt: skip


async def test_who_is_removed_is_out_at_once(access: Access, anna: Administrator) -> None:
    bert = await added(access, "bert", "admin")
    _, secret = await access.sessions.begin(bert, address="::1", device="")
    assert await access.administrators.remove(" Bert", by=anna.actor) == bert
    with pytest.raises(Unauthenticated):
        await access.sessions.check(secret)
    async with access.database.read() as connection:
        assert (await connection.execute(select(admin_sessions))).all() == []
    assert [each.name for each in await access.administrators.list()] == ["anna"]
    assert [entry.action for entry in await access.audit.entries()][-2:] == ["session.ended", "administrator.removed"]
    again = await added(access, "bert", "viewer")
    assert again.id != bert.id, "who comes back is somebody else"


async def test_the_last_owner_stays_one(access: Access, anna: Administrator) -> None:
    await added(access, "bert", "admin")
    for attempt in (
        access.administrators.remove("anna", by=anna.actor),
        access.administrators.set_role("anna", "admin", by=anna.actor),
    ):
        with pytest.raises(Conflict) as failure:
            await attempt
        assert failure.value.code == "last_owner"
    await access.administrators.set_role("anna", "owner", by=anna.actor)
    await access.administrators.set_role("bert", "owner", by=anna.actor)
    await access.administrators.remove("anna", by=anna.actor)
    assert [(each.name, each.role) for each in await access.administrators.list()] == [("bert", "owner")]


async def test_of_two_owners_that_leave_at_once_one_stays(
    access: Access, own_settings: Settings, anna: Administrator
) -> None:
    await added(access, "bert", "owner")
    async with Access.open(own_settings) as other:
        came = await asyncio.gather(
            access.administrators.remove("anna", by="bert"),
            other.administrators.set_role("bert", "viewer", by="anna"),
            return_exceptions=True,
        )
    assert sorted(type(each) for each in came if isinstance(each, Exception)) == [Conflict]
    assert [each.role for each in await access.administrators.list()].count("owner") == 1


@pytest.mark.parametrize("name", ["nobody", "", "x" * 100_000, "an\0na", "\ud800"])
async def test_an_unknown_name_is_told(access: Access, anna: Administrator, name: str) -> None:
    for attempt in (
        access.administrators.remove(name, by=anna.actor),
        access.administrators.set_role(name, "viewer", by=anna.actor),
        access.administrators.get(name),
        access.second_factors.reset(name),
    ):
        with pytest.raises(NotFound):
            await attempt


@pytest.mark.parametrize("identifier", ["", "\0", "\ud800", "x" * 100_000, "' OR 1=1"])
async def test_what_is_no_id_is_told(access: Access, anna: Administrator, identifier: str) -> None:
    for attempt in (
        access.sessions.end(identifier, by=anna.actor),
        access.invitations.withdraw(identifier, by=anna.actor),
        access.admin_tokens.revoke(identifier, by=anna.actor),
    ):
        with pytest.raises((NotFound, InvalidRequest)):
            await attempt
