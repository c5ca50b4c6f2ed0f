"""API keys: made once, known at once, refused at once."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from claude_code_api.access import Access, ApiKey, ApiKeys, key_text
from claude_code_api.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.storage.tables import api_keys

pytestmark = pytest.mark.usefixtures("every_database")

REFUSAL = "The API key is not valid: it is unknown, revoked or expired."


class Statements:
    """Counts what reaches the database."""

    def __init__(self, access: Access) -> None:
        self.count = 0
        event.listen(access.keys._database._engine.sync_engine, "before_cursor_execute", self._counted)

    def _counted(self, *_: Any) -> None:
        self.count += 1


@pytest.fixture
async def access(access: Access, token: Secret) -> Access:
    await access.credentials.add("mine", token)
    return access


async def refused(access: Access, text: Secret) -> bool:
    with pytest.raises(Unauthenticated) as failure:
        await access.keys.verify(text)
    assert failure.value.message == REFUSAL
    assert (failure.value.code, failure.value.status, failure.value.param) == ("invalid_api_key", 401, None)
    return True


@pytest.mark.policy("K1")
async def test_a_new_key_has_the_promised_form_and_is_known(access: Access) -> None:
    key, text = await access.keys.create("laptop", "mine")
    assert text.reveal().startswith("sk-")
    assert len(text.reveal()) == 51
    assert key.hint == text.reveal()[-4:]
    assert await access.keys.verify(text) == key


async def test_name_maker_time_and_limits_are_kept(access: Access) -> None:
    before = datetime.now(UTC)
    end = datetime.now(timezone(timedelta(hours=2))) + timedelta(days=1)
    key, _ = await access.keys.create(
        "  laptop ",
        "mine",
        models=["sonnet", "opus"],
        rate_limit="10/second;1000/hour",
        max_concurrent=3,
        expires_at=end,
        by="admin",
    )
    assert key == await access.keys.get(key.id) == await access.keys.get("laptop") == (await access.keys.list())[0]
    assert key == ApiKey(
        id=key.id,
        name="laptop",
        credential_id=(await access.credentials.get("mine")).id,
        hint=key.hint,
        models=("sonnet", "opus"),
        rate_limit="10/second;1000/hour",
        max_concurrent=3,
        created_at=key.created_at,
        created_by="admin",
        expires_at=end,
        revoked_at=None,
        last_used_at=None,
    )
    assert before <= key.created_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"models": ["\0"]}, "models"),
        ({"rate_limit": "often"}, "rate_limit"),
        ({"rate_limit": ""}, "rate_limit"),
        ({"rate_limit": ";".join(["1/day"] * 34)}, "rate_limit"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"max_concurrent": 2**31}, "max_concurrent"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"expires_at": datetime(2999, 1, 1, tzinfo=UTC).replace(tzinfo=None)}, "expires_at"),
        ({"by": ""}, "created_by"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_made(access: Access, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as failure:
        await access.keys.create(**{"name": "laptop", "credential": "mine", **wrong})
    assert failure.value.param == param
    assert await access.keys.list() == []


async def test_a_key_stands_on_a_credential_that_exists(access: Access) -> None:
    with pytest.raises(NotFound, match="no credential 'other'"):
        await access.keys.create("laptop", "other")


async def test_a_revoked_key_is_refused_when_the_call_returns(access: Access) -> None:
    key, text = await access.keys.create("laptop", "mine")
    await access.keys.verify(text)
    revoked = await access.keys.revoke("laptop")
    assert await refused(access, text)
    assert revoked.revoked_at is not None
    assert revoked == await access.keys.get(key.id)


@pytest.mark.parametrize("statement", ["await access.keys.revoke('laptop')",
                                       "await access.credentials.remove('mine', force=True)"])  # fmt: skip
async def test_a_revocation_by_another_process_holds_when_it_has_ended(
    access: Access, in_another_process: Callable[[str], str], statement: str
) -> None:
    _, text = await access.keys.create("laptop", "mine")
    await access.keys.verify(text)
    statements = Statements(access)
    await access.keys.verify(text)
    assert statements.count == 0  # it was known from memory until here
    await asyncio.to_thread(in_another_process, statement)
    assert await refused(access, text)


async def test_no_verify_that_begins_after_a_revocation_succeeds(access: Access) -> None:
    """Whatever is in flight: a look-up overtaken by the revocation must not be remembered."""
    for _ in range(10):
        key, text = await access.keys.create("laptop", "mine")
        looking = [asyncio.create_task(access.keys.verify(text)) for _ in range(8)]
        await asyncio.sleep(0)
        await access.keys.revoke(key.id)
        assert await refused(access, text)
        await asyncio.gather(*looking, return_exceptions=True)
        assert await refused(access, text)


async def test_revoking_again_keeps_the_first_time(access: Access) -> None:
    key, _ = await access.keys.create("laptop", "mine")
    assert await access.keys.revoke(key.id) == await access.keys.revoke(key.id)


async def test_an_unknown_misspelt_revoked_or_expired_key_gets_the_same_answer(access: Access) -> None:
    _, text = await access.keys.create("laptop", "mine")
    swapped = text.reveal()[:-1] + ("a" if text.reveal()[-1] != "a" else "b")
    for presented in (swapped, "", "sk-", text.reveal()[3:], text.reveal() + " ", text.reveal().swapcase(), "\ud800"):
        assert await refused(access, Secret(presented))
    assert await refused(access, key_text.generate())


@given(st.text())
@settings(max_examples=200)
def test_text_of_any_kind_is_hashed_without_a_fault(text: str) -> None:
    keys = ApiKeys.__new__(ApiKeys)
    keys._mac = hmac.new(b"pepper", digestmod="sha256")
    assert len(keys._hash(Secret(text))) == 32


@pytest.mark.sqlite
async def test_a_key_ends_at_its_time_even_while_it_is_remembered(access: Access) -> None:
    end = datetime.now(UTC) + timedelta(seconds=1)
    _, text = await access.keys.create("short", "mine", expires_at=end)
    await access.keys.verify(text)
    statements = Statements(access)
    while datetime.now(UTC) < end:
        await asyncio.sleep(0.01)
    assert await refused(access, text)
    assert statements.count == 0


async def test_an_unknown_key_is_never_remembered_as_known(access: Access) -> None:
    statements = Statements(access)
    for _ in range(3):
        stranger = key_text.generate()
        before = statements.count
        assert await refused(access, stranger)
        assert await refused(access, stranger)
        assert statements.count >= before + 2
    assert not access.keys._known._values


async def test_garbage_is_refused_without_a_look_into_the_database(access: Access) -> None:
    assert await refused(access, Secret("sk-garbage"))  # learns that every key is of our form
    statements = Statements(access)
    for number in range(100):
        assert await refused(access, Secret(f"sk-{number:048}"))
    assert statements.count == 0


async def test_a_stored_key_of_another_form_is_known_all_the_same(access: Access) -> None:
    """Imported keys may have any form; the checksum only saves look-ups while there are none."""
    foreign = Secret("my-old-key")
    assert await refused(access, foreign)
    key, _ = await access.keys.create("imported", "mine")
    async with access.keys._database.write(announced=True) as connection:
        change = api_keys.update().where(api_keys.c.id == key.id)
        await connection.execute(change.values(hash=access.keys._hash(foreign), checksummed=False))
    assert (await access.keys.verify(foreign)).name == "imported"
    assert await refused(access, Secret("my-old-kez"))


async def test_memory_is_bounded_and_the_forgotten_are_still_known(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access.keys._known, "_size", 3)
    texts = [(await access.keys.create(str(number), "mine"))[1] for number in range(6)]
    for _ in range(2):
        assert [(await access.keys.verify(text)).name for text in texts] == list("012345")
        assert len(access.keys._known._values) == 3


async def test_a_known_key_takes_no_statement(access: Access) -> None:
    _, text = await access.keys.create("laptop", "mine")
    await access.keys.verify(text)
    statements = Statements(access)
    await access.keys.verify(text)
    assert statements.count == 0


async def test_many_verifies_at_once_agree(access: Access) -> None:
    made = [await access.keys.create(str(number), "mine") for number in range(5)]
    found = await asyncio.gather(*(access.keys.verify(text) for _, text in made * 20))
    assert found == [key for key, _ in made * 20]


async def test_only_a_keyed_hash_is_stored(access: Access) -> None:
    _, text = await access.keys.create("laptop", "mine")
    async with access.keys._database.read() as connection:
        stored = await connection.scalar(select(api_keys.c.hash))
    assert stored == access.keys._hash(text)
    assert stored != hmac.new(b"", text.reveal().encode(), "sha256").digest()


async def test_a_name_may_come_twice_and_then_an_id_is_asked_for(access: Access) -> None:
    one, _ = await access.keys.create("laptop", "mine")
    other, _ = await access.keys.create("laptop", "mine")
    with pytest.raises(Conflict, match=one.id) as failure:
        await access.keys.revoke("laptop")
    assert other.id in failure.value.message
    await access.keys.revoke(one.id)
    assert await access.keys.get("laptop") == other
    await access.keys.revoke("laptop")
    assert (await access.keys.get("laptop")).id == other.id  # the latest, once none is live


async def test_an_id_counts_before_a_name(access: Access) -> None:
    one, _ = await access.keys.create("laptop", "mine")
    await access.keys.create(one.id, "mine")
    assert await access.keys.get(one.id) == one


async def test_a_key_that_is_not_there_is_not_found(access: Access) -> None:
    with pytest.raises(NotFound, match="no API key 'laptop'"):
        await access.keys.get("laptop")
    with pytest.raises(NotFound):
        await access.keys.revoke("laptop")


async def test_keys_are_listed_in_the_order_they_were_made(access: Access) -> None:
    made = [(await access.keys.create(name, "mine"))[0] for name in ("c", "a", "b")]
    revoked = await access.keys.revoke("a")
    assert await access.keys.list() == [made[0], revoked, made[2]]


def test_the_record_of_a_key_encodes_without_its_text() -> None:
    assert {field.name for field in msgspec.structs.fields(ApiKey)} == {
        "id", "name", "credential_id", "hint", "models", "rate_limit", "max_concurrent", "created_at", "created_by",
        "expires_at", "revoked_at", "last_used_at", "replaced_by",
    }  # fmt: skip
