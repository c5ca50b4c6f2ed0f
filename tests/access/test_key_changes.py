"""Changing a key or a credential: what is given and nothing else, and nobody's change is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from claude_code_api.access import Access, ApiKey, KeyChanges
from claude_code_api.errors import Conflict, InvalidRequest, NotFound, PreconditionFailed
from claude_code_api.secret import Secret
from claude_code_api.stand_in import oauth_token

SOON = datetime.now(UTC) + timedelta(days=7)
ANNA = "administrator anna"


@pytest.fixture
async def access(access: Access, token: Secret) -> Access:
    await access.credentials.add("mine", token)
    return access


@pytest.fixture
async def key(access: Access) -> ApiKey:
    key, _ = await access.keys.create("laptop", "mine", models=["opus"], rate_limit="1/minute", max_concurrent=2)
    return key


async def test_what_is_left_out_stays(access: Access, key: ApiKey) -> None:
    changed = await access.keys.update(key.id, KeyChanges(name=" desk ", expires_at=SOON), by=ANNA)
    assert changed == msgspec.structs.replace(key, name="desk", expires_at=SOON) == await access.keys.get(key.id)
    entry = (await access.audit.entries(action="key.changed"))[0]
    assert (entry.actor, entry.target, entry.said["name"]) == (ANNA, key.id, "laptop")
    assert entry.said["changed"]["name"] == {"from": "laptop", "to": "desk"}
    assert set(entry.said["changed"]) == {"name", "expires_at"}


async def test_none_takes_a_limit_away(access: Access, key: ApiKey) -> None:
    free = KeyChanges(models=(), rate_limit=None, max_concurrent=None)
    changed = await access.keys.update(key.id, free)
    assert (changed.models, changed.rate_limit, changed.max_concurrent) == ((), None, None)


async def test_no_change_leaves_no_entry(access: Access, key: ApiKey) -> None:
    assert await access.keys.update(key.id, KeyChanges()) == key
    assert await access.keys.update(key.id, KeyChanges(name="laptop", models=("opus",), max_concurrent=2)) == key
    assert await access.audit.entries(action="key.changed") == []


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "sk-" + "a" * 48}, "name"),
        ({"models": ("\0",)}, "models"),
        ({"rate_limit": "often"}, "rate_limit"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"expires_at": SOON.replace(tzinfo=None)}, "expires_at"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_changed(
    access: Access, key: ApiKey, wrong: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as failure:
        await access.keys.update(key.id, KeyChanges(**{"name": "desk", **wrong}))
    assert failure.value.param == param
    assert await access.keys.get(key.id) == key


def test_nothing_else_can_be_changed() -> None:
    assert msgspec.json.decode(b'{"rate_limit": null}', type=KeyChanges) == KeyChanges(rate_limit=None)
    for field in ("id", "credential_id", "hint", "created_by", "revoked_at", "replaced_by", "hash"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode({field: "x"}), type=KeyChanges)


async def test_a_revoked_or_unknown_key_is_not_changed(access: Access, key: ApiKey) -> None:
    await access.keys.revoke(key.id)
    with pytest.raises(Conflict, match="is revoked"):
        await access.keys.update(key.id, KeyChanges(name="desk"))
    with pytest.raises(NotFound):
        await access.keys.update("key_0", KeyChanges(name="desk"))


async def test_of_two_changes_that_saw_the_same_one_holds(access: Access, key: ApiKey) -> None:
    seen = key.version
    results = await asyncio.gather(
        *(access.keys.update(key.id, KeyChanges(name=name), if_version=seen) for name in ("desk", "bed")),
        return_exceptions=True,
    )
    (failure,) = (each for each in results if isinstance(each, PreconditionFailed))
    assert (failure.status, failure.code) == (412, "precondition_failed")
    (held,) = (each for each in results if isinstance(each, ApiKey))
    assert await access.keys.get(key.id) == held
    assert held.version != seen
    assert await access.keys.update(key.id, KeyChanges(name="sofa"), if_version=held.version)


async def test_a_version_tells_every_change_and_no_use(access: Access, key: ApiKey) -> None:
    assert (await access.keys.get(key.id)).version == key.version
    used = msgspec.structs.replace(key, last_used_at=SOON)
    assert used.version == key.version
    others: list[dict[str, Any]] = [
        {"name": "desk"}, {"models": ()}, {"rate_limit": None}, {"max_concurrent": 3}, {"expires_at": SOON},
        {"revoked_at": SOON}, {"replaced_by": "key_0"},
    ]  # fmt: skip
    versions = {msgspec.structs.replace(key, **other).version for other in others}
    assert len(versions | {key.version}) == len(others) + 1


@pytest.mark.policy("K3")
async def test_a_change_holds_in_every_process_when_it_returns(
    access: Access, in_another_process: Callable[[str], str]
) -> None:
    key, text = await access.keys.create("laptop", "mine")
    assert (await access.keys.verify(text)).max_concurrent is None
    in_another_process(
        "from claude_code_api.access import KeyChanges; "
        f"await access.keys.update({key.id!r}, KeyChanges(max_concurrent=7))"
    )
    assert (await access.keys.verify(text)).max_concurrent == 7


async def test_a_credential_is_renamed_for_everybody_or_not_at_all(access: Access) -> None:
    await access.credentials.add("other", Secret(oauth_token("other")))
    old = await access.credentials.get("mine")
    with pytest.raises(Conflict, match="'other' already"):
        await access.credentials.rename("mine", "other")
    new = await access.credentials.rename("mine", " ours ", if_version=old.version, by=ANNA)
    assert new == msgspec.structs.replace(old, name="ours") == await access.credentials.get("ours")
    with pytest.raises(PreconditionFailed):
        await access.credentials.rename(old.id, "theirs", if_version=old.version)
    assert await access.credentials.rename(old.id, "ours") == new
    (entry,) = await access.audit.entries(action="credential.renamed")
    assert (entry.actor, entry.target, entry.said) == (ANNA, old.id, {"name": "ours", "before": "mine"})
    with pytest.raises(NotFound):
        await access.credentials.unlock("mine")


async def test_a_token_takes_the_place_of_the_one_that_was_seen(access: Access) -> None:
    seen = await access.credentials.get("mine")
    await access.credentials.note_refused(seen.id)
    assert (await access.credentials.get("mine")).version == seen.version
    new = await access.credentials.replace("mine", Secret(oauth_token("new")), if_version=seen.version)
    assert new.version != seen.version
    with pytest.raises(PreconditionFailed):
        await access.credentials.replace("mine", Secret(oauth_token("newer")), if_version=seen.version)
    assert (await access.credentials.unlock("mine")).token == Secret(oauth_token("new"))
