"""Credentials: sealed, replaced, removed, and what Anthropic said of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec import structs
from sqlalchemy import select

from claude_code_api.access import Access
from claude_code_api.access import credentials as credentials_module
from claude_code_api.conversation import RateLimitStatus
from claude_code_api.credential import CredentialKind
from claude_code_api.errors import Conflict, InvalidRequest, NotFound, Unauthenticated, VaultFailure
from claude_code_api.secret import Secret
from claude_code_api.storage.tables import credentials

ALLOWED = RateLimitStatus(status="allowed", resets_at=1_900_000_000, limit_type="five_hour")
WARNED = RateLimitStatus(status="allowed_warning", resets_at=1_900_000_000, limit_type="five_hour")


@pytest.fixture
def make_token() -> Callable[[str], Secret]:
    return lambda kind: Secret("sk-ant-" + kind + "-" + "".join(map(str, range(60))))


@pytest.mark.policy("T5")
async def test_each_form_of_token_becomes_its_kind(access: Access, make_token: Callable[[str], Secret]) -> None:
    oauth = await access.credentials.add("subscription", make_token("oat01"))
    key = await access.credentials.add("paid", make_token("api03"))
    assert (oauth.kind, key.kind) == (CredentialKind.OAUTH, CredentialKind.API_KEY)
    assert oauth.hint == make_token("oat01").reveal()[-4:]
    assert await access.credentials.list() == [key, oauth]  # by name


@pytest.mark.policy("T5")
@pytest.mark.parametrize("wrong", ["", "token", "sk-ant-oat01-", "sk-ant-oat02-", "sk-ant-sid01-", "sk-"])
async def test_a_token_of_no_known_form_is_not_stored_and_not_repeated(access: Access, wrong: str) -> None:
    token = Secret(wrong + "canary" * 2 if wrong else "")
    with pytest.raises(InvalidRequest) as failure:
        await access.credentials.add("mine", token)
    assert failure.value.code == "invalid_credential_format"
    assert "canary" not in str(failure.value)
    assert await access.credentials.list() == []


async def test_an_unlocked_credential_has_its_token(access: Access, token: Secret) -> None:
    record = await access.credentials.add("mine", token)
    for name in ("mine", record.id):
        unlocked = await access.credentials.unlock(name)
        assert (unlocked.id, unlocked.name, unlocked.kind) == (record.id, "mine", CredentialKind.OAUTH)
        assert unlocked.token == token


async def test_a_name_is_taken_once(access: Access, token: Secret) -> None:
    await access.credentials.add("mine", token)
    with pytest.raises(Conflict, match="'mine' already"):
        await access.credentials.add(" mine ", token)


@pytest.mark.parametrize("name", ["", "  ", "a\tb", "a\x7f", "\u202eabc", "x" * 101])
async def test_a_wrong_name_is_refused(access: Access, token: Secret, name: str) -> None:
    with pytest.raises(InvalidRequest) as failure:
        await access.credentials.add(name, token)
    assert failure.value.param == "name"


@pytest.mark.parametrize(
    "name", ["x", "x" * 100, "Für Änne 🦉", "O'Brien; DROP TABLE credentials", "desk-lamp" + "-x" * 30]
)
async def test_other_names_are_kept_as_they_are(access: Access, token: Secret, name: str) -> None:
    assert (await access.credentials.add(f" {name} ", token)).name == name
    assert (await access.credentials.get(name)).name == name


@pytest.mark.policy("T1")
async def test_a_token_given_as_a_name_is_neither_stored_nor_repeated(access: Access, token: Secret) -> None:
    for attempt in (
        access.credentials.add(token.reveal(), token),
        access.credentials.get(token.reveal()),
        access.keys.get(f"my {token.reveal()}"),
    ):
        with pytest.raises(InvalidRequest, match="looks like a secret") as failure:
            await attempt
        assert token.reveal() not in str(failure.value)


async def test_a_replaced_token_is_used_at_once_under_the_same_id(
    access: Access, token: Secret, make_token: Callable[[str], Secret]
) -> None:
    record = await access.credentials.add("mine", token)
    await access.credentials.note_limit(record.id, ALLOWED)
    await access.credentials.note_refused(record.id)
    await access.credentials.unlock("mine")
    replaced = await access.credentials.replace("mine", make_token("api03"))
    assert (replaced.id, replaced.kind, replaced.created_at) == (record.id, CredentialKind.API_KEY, record.created_at)
    assert replaced.replaced_at is not None
    assert (replaced.limit, replaced.limit_seen_at, replaced.refused_at) == (None, None, None)
    assert (await access.credentials.unlock("mine")).token == make_token("api03")
    assert await access.credentials.get("mine") == replaced


async def test_a_token_replaced_by_another_process_is_used_when_it_has_ended(
    access: Access, token: Secret, in_another_process: Callable[[str], str]
) -> None:
    await access.credentials.add("mine", token)
    await access.credentials.unlock("mine")
    await asyncio.to_thread(
        in_another_process,
        "from claude_code_api.secret import Secret; "
        "await access.credentials.replace('mine', Secret('sk-ant-' + 'oat01-' + 'n' * 60))",
    )
    assert (await access.credentials.unlock("mine")).token.reveal().endswith("nnnn")


async def test_a_wrong_new_token_leaves_the_old_one(access: Access, token: Secret) -> None:
    await access.credentials.add("mine", token)
    with pytest.raises(InvalidRequest):
        await access.credentials.replace("mine", Secret("wrong"))
    assert (await access.credentials.unlock("mine")).token == token


async def test_removal_waits_for_the_keys_and_force_revokes_them(access: Access, token: Secret) -> None:
    record = await access.credentials.add("mine", token)
    await access.credentials.add("other", token)
    _, standing = await access.keys.create("standing", "mine")
    await access.keys.create("another", "mine")
    _, elsewhere = await access.keys.create("elsewhere", "other")
    with pytest.raises(Conflict, match="2 API keys stand"):
        await access.credentials.remove("mine")
    await access.keys.revoke("another")
    with pytest.raises(Conflict, match="1 API key stands"):
        await access.credentials.remove("mine")
    assert (await access.keys.verify(standing)).name == "standing"
    assert await access.credentials.remove("mine", force=True) == record
    with pytest.raises(Unauthenticated):
        await access.keys.verify(standing)
    assert (await access.keys.get("standing")).revoked_at is not None
    assert (await access.keys.verify(elsewhere)).name == "elsewhere"


async def test_a_removed_credential_is_gone_its_token_erased_and_its_name_free(access: Access, token: Secret) -> None:
    record = await access.credentials.add("mine", token)
    await access.credentials.unlock("mine")
    await access.credentials.remove("mine")
    for attempt in (access.credentials.unlock, access.credentials.get, access.credentials.remove):
        for name in ("mine", record.id):
            with pytest.raises(NotFound):
                await attempt(name)
    assert await access.credentials.list() == []
    async with access.credentials._database.read() as connection:
        assert (await connection.execute(select(credentials.c.token))).scalars().all() == [None]
    assert (await access.credentials.add("mine", token)).id != record.id


@pytest.mark.policy("T2")
async def test_a_token_moved_to_another_credential_does_not_open(access: Access, token: Secret) -> None:
    one = await access.credentials.add("one", token)
    other = await access.credentials.add("other", token)
    async with access.credentials._database.write(announced=True) as connection:
        stolen = select(credentials.c.token).where(credentials.c.id == one.id).scalar_subquery()
        await connection.execute(credentials.update().where(credentials.c.id == other.id).values(token=stolen))
    with pytest.raises(VaultFailure, match=other.id):
        await access.credentials.unlock("other")
    assert (await access.credentials.unlock("one")).token == token


async def test_the_last_limit_is_kept_and_written_only_when_it_differs(access: Access, token: Secret) -> None:
    record = await access.credentials.add("mine", token)
    assert record.limit is None
    generation = access.credentials._database.generation.current
    await access.credentials.note_limit(record.id, ALLOWED)
    first = await access.credentials.get("mine")
    assert first.limit == ALLOWED
    await access.credentials.note_limit(record.id, ALLOWED)
    assert await access.credentials.get("mine") == first  # not even the time was written
    await access.credentials.note_limit(record.id, WARNED)
    second = await access.credentials.get("mine")
    assert second.limit == WARNED
    assert first.limit_seen_at is not None
    assert second.limit_seen_at is not None
    assert second.limit_seen_at > first.limit_seen_at
    assert access.credentials._database.generation.current == generation


async def test_an_unchanged_limit_is_seen_again_after_a_minute(
    access: Access, token: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await access.credentials.add("mine", token)
    await access.credentials.note_limit(record.id, ALLOWED)
    first = await access.credentials.get("mine")
    monkeypatch.setattr(credentials_module, "LIMIT_REFRESH", 0.0)
    await access.credentials.note_limit(record.id, ALLOWED)
    second = await access.credentials.get("mine")
    assert first.limit_seen_at is not None
    assert second.limit_seen_at is not None
    assert second.limit_seen_at > first.limit_seen_at


async def test_a_refusal_is_kept_from_its_first_time_until_the_token_works(access: Access, token: Secret) -> None:
    record = await access.credentials.add("mine", token)
    generation = access.credentials._database.generation
    quiet = generation.current
    for _ in range(3):
        await access.credentials.note_working(record.id)
    assert generation.current == quiet
    await access.credentials.note_refused(record.id)
    refused = await access.credentials.get("mine")
    assert refused.refused_at is not None
    await access.credentials.note_refused(record.id)
    await access.credentials.note_refused(record.id)
    assert await access.credentials.get("mine") == refused
    await access.credentials.note_working(record.id)
    assert await access.credentials.get("mine") == record
    assert generation.current == quiet + 2  # it turned twice


async def test_a_refusal_that_another_process_noted_is_taken_back_here(
    access: Access, token: Secret, in_another_process: Callable[[str], str]
) -> None:
    record = await access.credentials.add("mine", token)
    await access.credentials.note_working(record.id)
    await access.credentials.note_working(record.id)
    await asyncio.to_thread(in_another_process, f"await access.credentials.note_refused({record.id!r})")
    assert (await access.credentials.get("mine")).refused_at is not None
    await access.credentials.note_working(record.id)
    assert (await access.credentials.get("mine")).refused_at is None


async def test_a_note_on_a_removed_credential_does_nothing(access: Access, token: Secret) -> None:
    record = await access.credentials.add("mine", token)
    await access.credentials.remove("mine")
    await access.credentials.note_limit(record.id, ALLOWED)
    await access.credentials.note_refused("cred_unknown")
    assert await access.credentials.list() == []


@pytest.mark.policy("L4")
async def test_a_refusal_and_a_spent_limit_are_alerts_when_they_begin(access: Access, token: Secret) -> None:
    credential = await access.credentials.add("mine", token)
    for status in ("allowed", "allowed_warning", "rejected", "rejected"):
        await access.credentials.note_limit(credential.id, RateLimitStatus(status=status))
    for _ in range(2):
        await access.credentials.note_refused(credential.id)
    await access.credentials.note_working(credential.id)
    assert [(alert.kind, alert.about) for alert in access.alerts.latest()] == [
        ("credential_refused", credential.id),
        ("limit_spent", credential.id),
    ]


async def test_credentials_are_counted_by_what_anthropic_last_said(access: Access) -> None:
    assert await access.credentials.count() == {"ok": 0, "refused": 0, "limited": 0}
    spent = RateLimitStatus(status="rejected", resets_at=None, limit_type="five_hour")
    said = {
        "new": None, "warned": WARNED, "refused": None, "limited": structs.replace(spent, resets_at=4_000_000_000),
        "limited for good": spent, "limited once": structs.replace(spent, resets_at=1_000_000_000), "removed": spent,
    }  # fmt: skip
    for number, (name, limit) in enumerate(said.items()):
        record = await access.credentials.add(name, Secret(f"sk-ant-oat01-{number:060}"))
        if limit:
            await access.credentials.note_limit(record.id, limit)
        if name == "refused":
            await access.credentials.note_refused(record.id)
    await access.credentials.remove("removed")
    assert await access.credentials.count() == {"ok": 3, "refused": 1, "limited": 2}
