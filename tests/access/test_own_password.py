"""An administrator changes his own password: others of his sessions end, and a stolen one is not enough (policy A2)."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from claude_code_api.access import Access, Administrator, Session
from claude_code_api.access.throttle import FREE
from claude_code_api.errors import InvalidRequest, Overloaded, RateLimited, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings

pytestmark = [pytest.mark.policy("A2"), pytest.mark.policy("A3")]


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data").model_copy(update={"bcrypt_rounds": 4})


@pytest.fixture
def right() -> Secret:
    return Secret(secrets.token_urlsafe())


@pytest.fixture
def new() -> Secret:
    return Secret(secrets.token_urlsafe())


@pytest.fixture
async def anna(access: Access, right: Secret) -> Administrator:
    return await access.administrators.set_password("anna", right)


async def begun(access: Access, anna: Administrator) -> tuple[Session, Secret]:
    return await access.sessions.begin(anna, address="192.0.2.1", device="")


async def is_live(access: Access, secret: Secret) -> bool:
    try:
        await access.sessions.check(secret)
    except Unauthenticated:
        return False
    return True


async def test_a_changed_password_ends_all_other_sessions(
    access: Access, anna: Administrator, right: Secret, new: Secret
) -> None:
    (mine, secret), (_, other), (_, third) = [await begun(access, anna) for _ in range(3)]
    changed = await access.own_password.change(anna, right, new, session_id=mine.id)
    assert [await is_live(access, each) for each in (secret, other, third)] == [True, False, False]
    assert (await access.sessions.check(secret)).administrator == changed
    assert changed.password_set_at > anna.password_set_at
    assert await access.administrators.check("anna", new) == changed
    with pytest.raises(Unauthenticated):
        await access.administrators.check("anna", right)
    with pytest.raises(Unauthenticated):  # a sign-in that was under way with the old one
        await begun(access, anna)
    assert [(entry.actor, entry.action) for entry in await access.audit.entries(action="administrator")][1:] == [
        ("administrator anna", "administrator.password_changed")
    ]


async def test_without_a_session_to_keep_all_end(
    access: Access, anna: Administrator, right: Secret, new: Secret
) -> None:
    _, secret = await begun(access, anna)
    await access.own_password.change(anna, right, new)
    assert not await is_live(access, secret)


async def test_the_session_of_another_is_not_touched(
    access: Access, anna: Administrator, right: Secret, new: Secret
) -> None:
    invitation, token = await access.invitations.invite("bert", "admin", by=anna.actor)
    bert = await access.invitations.accept(token, Secret(secrets.token_urlsafe()))
    theirs, secret = await begun(access, bert)
    await access.own_password.change(anna, right, new, session_id=theirs.id)
    assert (await access.sessions.check(secret)).administrator == bert
    assert invitation.name == "bert"


async def test_a_wrong_or_a_weak_password_changes_nothing(
    access: Access, anna: Administrator, right: Secret, new: Secret
) -> None:
    _, secret = await begun(access, anna)
    for current, wanted, code in ((new, new, "wrong_password"), (right, Secret("changeme"), "weak_password")):
        with pytest.raises(InvalidRequest) as failure:
            await access.own_password.change(anna, current, wanted)
        assert failure.value.code == code
    assert await is_live(access, secret)
    await access.administrators.check("anna", right)


async def test_guessing_it_is_slowed_wherever_and_does_not_keep_the_owner_out(
    access: Access, anna: Administrator, right: Secret, new: Secret
) -> None:
    came = []
    for _ in range(50):
        with pytest.raises((InvalidRequest, RateLimited)) as failure:
            await access.own_password.change(anna, Secret(secrets.token_urlsafe()), new)
        came.append(failure.value.code)
    assert came == ["wrong_password"] * (FREE + 1) + ["too_many_attempts"] * (50 - FREE - 1)
    await access.sign_in.attempt("anna", right, address="192.0.2.1")
    assert len(await access.audit.entries(action="administrator.not_proved")) == FREE + 1


async def test_an_attempt_that_was_not_made_does_not_count(
    access: Access, anna: Administrator, right: Secret, new: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> bool:
        raise Overloaded("full", retry_after=2)

    with monkeypatch.context() as patch:
        patch.setattr(access.administrators._hasher, "matches", full)
        for _ in range(20):
            with pytest.raises(Overloaded):
                await access.own_password.prove(anna, right)
    for _ in range(20):
        await access.own_password.prove(anna, right)


async def test_a_password_that_somebody_else_set_meanwhile_stays(
    access: Access, anna: Administrator, right: Secret, new: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Secret(secrets.token_urlsafe())
    hash_ = access.own_password._hasher.hash

    async def overtaken(given: Secret) -> str:
        monkeypatch.setattr(access.own_password._hasher, "hash", hash_)
        await access.administrators.set_password("anna", theirs)
        return await hash_(given)

    monkeypatch.setattr(access.own_password._hasher, "hash", overtaken)
    with pytest.raises(Unauthenticated) as ended:
        await access.own_password.change(anna, right, new)
    assert ended.value.code == "invalid_session"
    await access.administrators.check("anna", theirs)
