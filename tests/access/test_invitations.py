"""Invitations: a link that is good once, for one name and one role (policy A5)."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from claude_code_api.access import Access, Administrator
from claude_code_api.access.invitations import GOOD_FOR
from claude_code_api.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.tables import invitations

pytestmark = [pytest.mark.policy("A5"), pytest.mark.usefixtures("every_database")]


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data").model_copy(update={"bcrypt_rounds": 4})


@pytest.fixture
async def anna(access: Access) -> Administrator:
    return await access.administrators.set_password("anna", password())


def password() -> Secret:
    return Secret(secrets.token_urlsafe())


async def refused(access: Access, token: Secret) -> None:
    assert await access.invitations.find(token) is None
    with pytest.raises(Unauthenticated) as failure:
        await access.invitations.accept(token, password())
    assert failure.value.code == "invalid_invitation"


async def test_who_is_invited_sets_a_password_and_has_the_role(access: Access, anna: Administrator) -> None:
    invitation, token = await access.invitations.invite(" BERT", "viewer", by=anna.actor)
    assert (invitation.name, invitation.role, invitation.created_by) == ("bert", "viewer", "administrator anna")
    assert await access.invitations.find(token) == invitation
    assert await access.invitations.list() == [invitation]
    right = password()
    made = await access.invitations.accept(token, right)
    assert (made.name, made.role, made.created_by) == ("bert", "viewer", "administrator anna")
    assert await access.administrators.check("bert", right) == made
    assert await access.invitations.list() == []
    await refused(access, token)
    assert [(entry.actor, entry.action) for entry in await access.audit.entries(action="administrator")][1:] == [
        ("administrator anna", "administrator.invited"), ("invitation", "administrator.created"),
    ]  # fmt: skip


async def test_an_invitation_is_good_for_a_day(access: Access, anna: Administrator) -> None:
    invitation, token = await access.invitations.invite("bert", "admin", by=anna.actor)
    assert invitation.expires_at - invitation.created_at == GOOD_FOR
    async with access.database.write() as connection:
        await connection.execute(invitations.update().values(expires_at=datetime.now(UTC)))
    await refused(access, token)
    assert await access.invitations.list() == []
    await access.invitations.invite("bert", "admin", by=anna.actor)


async def test_a_new_one_for_the_same_name_ends_the_one_before(access: Access, anna: Administrator) -> None:
    _, old = await access.invitations.invite("bert", "admin", by=anna.actor)
    _, other = await access.invitations.invite("carl", "viewer", by=anna.actor)
    _, new = await access.invitations.invite("Bert", "viewer", by=anna.actor)
    await refused(access, old)
    assert (await access.invitations.accept(new, password())).role == "viewer"
    await access.invitations.accept(other, password())


async def test_it_can_be_withdrawn(access: Access, anna: Administrator) -> None:
    invitation, token = await access.invitations.invite("bert", "admin", by=anna.actor)
    await access.invitations.withdraw(invitation.id, by=anna.actor)
    await refused(access, token)
    with pytest.raises(NotFound):
        await access.invitations.withdraw(invitation.id, by=anna.actor)


async def test_nobody_is_invited_twice_over_or_before_there_is_an_owner(access: Access) -> None:
    with pytest.raises(Conflict, match="no owner yet"):
        await access.invitations.invite("bert", "owner", by="command line")
    await access.administrators.set_password("anna", password())
    with pytest.raises(Conflict, match="already"):
        await access.invitations.invite("ANNA", "viewer", by="command line")
    for name in ("", "a\nb", "x" * 101, "sk-" + "A1" * 24):
        with pytest.raises(InvalidRequest):
            await access.invitations.invite(name, "viewer", by="command line")


async def test_a_weak_password_leaves_it_good(access: Access, anna: Administrator) -> None:
    _, token = await access.invitations.invite("bert", "admin", by=anna.actor)
    for weak in ("changeme", "Bert-1111111111", ""):
        with pytest.raises(InvalidRequest):
            await access.invitations.accept(token, Secret(weak))
    await access.invitations.accept(token, password())


async def test_of_many_uses_at_once_one_wins(access: Access, own_settings: Settings, anna: Administrator) -> None:
    _, token = await access.invitations.invite("bert", "admin", by=anna.actor)
    async with Access.open(own_settings) as other:
        uses = [(access, other)[number % 2].invitations.accept(token, password()) for number in range(6)]
        came = await asyncio.gather(*uses, return_exceptions=True)
    assert sum(isinstance(each, Administrator) for each in came) == 1
    assert all(isinstance(each, Administrator | Unauthenticated) for each in came)


@pytest.mark.parametrize("text", ["", "guess", "\ud800", "x" * 100_000])
async def test_what_is_made_up_is_refused_before_anything_is_hashed(
    access: Access, anna: Administrator, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    async def hashed(_: Secret) -> str:
        raise AssertionError("hashed for nobody")

    monkeypatch.setattr(access.invitations._hasher, "hash", hashed)
    await refused(access, Secret(text))


@pytest.mark.policy("T1")
@pytest.mark.sqlite
async def test_the_database_holds_a_hash_alone(access: Access, own_settings: Settings, anna: Administrator) -> None:
    invitation, token = await access.invitations.invite("bert", "admin", by=anna.actor)
    async with access.database.read() as connection:
        (row,) = (await connection.execute(select(invitations))).all()
    for taken in (row.hash.hex(), row.id):
        await refused(access, Secret(taken))
    on_disk = b"".join(file.read_bytes() for file in own_settings.data_dir.rglob("*") if file.is_file())
    assert b"bert" in on_disk
    assert token.reveal().encode() not in on_disk
    assert token.reveal() not in repr(invitation) + repr(vars(access.invitations)) + str(await access.audit.entries())
