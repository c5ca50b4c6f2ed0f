"""Pages of API keys: each key once, in the order asked for, whatever is searched, filtered or added meanwhile."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from claude_code_api.access import Access, ApiKey
from claude_code_api.access.key_listing import Sort
from claude_code_api.errors import InvalidRequest
from claude_code_api.secret import Secret
from claude_code_api.stand_in import oauth_token
from claude_code_api.storage.tables import api_keys, usage_last_uses

pytestmark = pytest.mark.usefixtures("every_database")

NOW = datetime.now(UTC)
AGE = timedelta(days=100)
Make = Callable[..., Awaitable[str]]


@pytest.fixture
async def access(access: Access) -> Access:
    await access.credentials.add("main", Secret(oauth_token("main")))
    await access.credentials.add("other", Secret(oauth_token("other")))
    return access


@pytest.fixture
def make(access: Access) -> Make:
    """Makes a key; `used_at` and the table's columns put it into any state. Its id."""

    async def make(name: str, credential: str = "main", used_at: datetime | None = None, **columns: Any) -> str:
        key, _ = await access.keys.create(name, credential)
        async with access.database.write() as connection:
            if columns:
                await connection.execute(api_keys.update().where(api_keys.c.id == key.id).values(columns))
            if used_at:
                use = {"key_id": key.id, "credential_id": key.credential_id, "used_at": used_at}
                await connection.execute(usage_last_uses.insert().values(use))
        return key.id

    return make


async def names(access: Access, **asked: Any) -> list[str]:
    return [key.name for key in (await access.keys.page(**asked)).items]


async def all_of(access: Access, **asked: Any) -> list[ApiKey]:
    found: list[ApiKey] = []
    page = await access.keys.page(**asked)
    while True:
        found += page.items
        if page.next is None:
            return found
        page = await access.keys.page(**asked, after=page.next)


@pytest.mark.policy("K5")
async def test_a_page_shows_keys_as_they_are_found_one_by_one(access: Access, make: Make) -> None:
    first, second = await make("one"), await make("two", used_at=NOW)
    page = await access.keys.page()
    assert page.items == (await access.keys.get(second), await access.keys.get(first))
    assert (page.total, page.next) == (2, None)
    assert page.items[0].last_used_at == NOW


async def test_of_no_keys_there_is_an_empty_page(access: Access) -> None:
    page = await access.keys.page(search="x", state="unused")
    assert (page.items, page.total, page.next) == ((), 0, None)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", get_args(Sort))
async def test_every_order_gives_each_key_once_ties_and_gaps_too(
    access: Access, make: Make, sort: Sort, descending: bool
) -> None:
    made = {await make(f"Key {n // 3}", used_at=NOW if n % 4 == 1 else None) for n in range(7)}
    made |= {await make("key 1", expires_at=NOW + AGE * n, created_at=NOW - AGE) for n in (1, 1, 2)}
    found = await all_of(access, sort=sort, descending=descending, limit=2)
    assert len(found) == len(made)
    assert {key.id for key in found} == made

    def place(key: ApiKey) -> tuple[Any, str]:
        rank: dict[Sort, Any] = {
            "name": key.name.lower(),
            "created_at": key.created_at,
            "last_used_at": key.last_used_at or NOW - 99 * AGE,
            "expires_at": key.expires_at or NOW + 99 * AGE,
        }
        return rank[sort], key.id

    assert found == sorted(found, key=place, reverse=descending)


async def test_a_key_made_meanwhile_moves_nothing(access: Access, make: Make) -> None:
    for name in "bdfh":
        await make(name)
    page = await access.keys.page(sort="name", descending=False, limit=2)
    await make("a")
    await make("e")
    assert await names(access, sort="name", descending=False, limit=2, after=page.next) == ["e", "f"]


async def test_search_looks_at_names_ids_and_hints_in_any_case(access: Access, make: Make) -> None:
    sought = await make("Grüner ÄRGER", hint="xYz9")
    await make("something else", hint="0000")
    for search in ("grün", "ärger", "  ÜNER är", sought.upper(), sought[4:12], "XYZ9", "yz"):
        assert await names(access, search=search) == ["Grüner ÄRGER"], search
    assert await names(access, search="nobody") == []


@pytest.mark.parametrize("name", ["İSTANBUL", "ΟΔΟΣ", "Straße"])
async def test_a_name_is_found_as_it_was_given(access: Access, make: Make, name: str) -> None:
    """Databases and Python do not agree on the small letters of all: İ has one or two signs, Σ at an end its own."""
    await make(name, hint="0000")
    for search in (name, name[:4], name[1:]):
        assert await names(access, search=search) == [name], search


async def test_signs_of_a_pattern_are_searched_as_letters(access: Access, make: Make) -> None:
    for name in ("100% sure", "100 unsure", "a_b", "axb", "back\\slash"):
        await make(name, hint="0000")
    assert await names(access, search="100%") == ["100% sure"]
    assert await names(access, search="a_b") == ["a_b"]
    assert await names(access, search="k\\s") == ["back\\slash"]
    assert await names(access, search="' OR 1=1 --") == []


@pytest.mark.policy("K5")
async def test_states_are_told_apart(access: Access, make: Make) -> None:
    old = NOW - AGE
    await make("live", expires_at=NOW + AGE)
    await make("expired", expires_at=old)
    await make("revoked", revoked_at=old, expires_at=old)
    await make("unused", created_at=old)
    await make("used long ago", created_at=old, used_at=old)
    await make("old in use", created_at=old, used_at=NOW)
    assert set(await names(access, state="live")) == {"live", "unused", "used long ago", "old in use"}
    assert await names(access, state="expired") == ["expired"]
    assert await names(access, state="revoked") == ["revoked"]
    assert set(await names(access, state="unused")) == {"unused", "used long ago"}
    unused = {key.name for key in await access.keys.list() if key.is_unused}
    assert unused == {"unused", "used long ago"}


async def test_what_a_removal_would_break_is_told_before_it(access: Access, make: Make) -> None:
    for n in range(4):
        await make(f"program {n}")
    await make("gone", revoked_at=NOW)
    await make("elsewhere", "other")
    credential = await access.credentials.get("main")
    page = await access.keys.page(credential=credential.id, state="live", sort="name", descending=False, limit=2)
    assert ([key.name for key in page.items], page.total) == (["program 0", "program 1"], 4)
    assert await names(access, credential="other") == ["elsewhere"]
    assert await names(access, credential="nobody's") == []
    other = await access.credentials.get("other")
    assert await access.keys.live_by_credential() == {credential.id: 4, other.id: 1}


async def test_a_removed_credential_is_known_by_its_id_alone(access: Access, make: Make) -> None:
    await make("program")
    removed = await access.credentials.remove("main", force=True)
    assert await names(access, credential=removed.id) == ["program"]
    assert await names(access, credential="main") == []


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_a_page_has_a_size(access: Access, limit: int) -> None:
    with pytest.raises(InvalidRequest) as failure:
        await access.keys.page(limit=limit)
    assert failure.value.param == "limit"


def encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "!", "ä", "\ud800", "a" * 5000, encoded("[]"), encoded('["created_at",true,1,"k"]'),
        encoded('["created_at",true,"2026-01-01T00:00:00","k"]'), encoded('["created_at",true,"soon","k"]'),
        encoded('["name",true,"a","k"]'), encoded('["created_at",false,"2026-01-01T00:00:00Z","k"]'),
        encoded('["created_at",true,"2026-01-01T00:00:00Z","k"'),
        encoded('["created_at",true,"2026-01-01T00:00:00Z","k","l"]'),
    ],
)  # fmt: skip
async def test_a_wrong_cursor_is_told(access: Access, make: Make, cursor: str) -> None:
    await make("program")
    with pytest.raises(InvalidRequest) as failure:
        await access.keys.page(after=cursor)
    assert (failure.value.code, failure.value.param, failure.value.status) == ("invalid_cursor", "after", 400)


async def test_a_cursor_stands_in_a_url_as_it_is(access: Access, make: Make) -> None:
    await make("Größe? 100%/&")
    await make("Größe? 200%/&")
    cursor = (await access.keys.page(sort="name", limit=1)).next
    assert cursor
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert cursor.isascii()
