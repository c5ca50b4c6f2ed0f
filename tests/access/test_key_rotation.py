"""A key is renewed with a grace in which both are good, and keys of another system are taken over (policy K3)."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from claude_code_api.access import Access
from claude_code_api.errors import Conflict, InvalidRequest, Unauthenticated
from claude_code_api.secret import Secret
from claude_code_api.stand_in import api_key, oauth_token


async def actions(access: Access) -> list[str]:
    return [entry.action for entry in await access.audit.entries()]


class TestRotation:
    @pytest.fixture(autouse=True)
    async def _credential(self, access: Access, token: Secret) -> None:
        await access.credentials.add("main", token)

    @pytest.mark.policy("K3")
    async def test_both_are_good_in_the_grace_and_the_limits_are_the_same(self, access: Access) -> None:
        first, text = await access.keys.create("program", "main", models=["haiku"], rate_limit="5/minute")
        key, new_text, old = await access.keys.rotate("program", timedelta(hours=1))
        assert (await access.keys.verify(text)).id == first.id == old.id
        assert (await access.keys.verify(new_text)).id == key.id != first.id
        assert (key.name, key.models, key.rate_limit) == (first.name, first.models, first.rate_limit)
        assert old.expires_at is not None
        assert timedelta(minutes=59) < old.expires_at - datetime.now(UTC) <= timedelta(hours=1)
        assert (await access.keys.get("program")).id == key.id, "the name is the new one's now"
        assert (await access.keys.get(first.id)).replaced_by == key.id
        assert (await actions(access))[-1] == "key.rotated"

    @pytest.mark.policy("K3")
    async def test_without_a_grace_the_old_one_is_refused_at_once(self, access: Access) -> None:
        _, text = await access.keys.create("program", "main")
        await access.keys.verify(text)
        _, new_text, old = await access.keys.rotate("program", timedelta(0))
        assert old.revoked_at
        with pytest.raises(Unauthenticated):
            await access.keys.verify(text)
        await access.keys.verify(new_text)

    async def test_a_grace_never_lengthens_a_life(self, access: Access) -> None:
        ends = datetime.now(UTC) + timedelta(hours=1)
        await access.keys.create("program", "main", expires_at=ends)
        key, _, old = await access.keys.rotate("program", timedelta(days=7))
        assert key.expires_at == old.expires_at == ends

    async def test_what_is_not_live_or_was_rotated_already_is_not_rotated(self, access: Access) -> None:
        first, _ = await access.keys.create("program", "main")
        await access.keys.rotate(first.id)
        with pytest.raises(Conflict, match="rotated already"):
            await access.keys.rotate(first.id)
        await access.keys.revoke("program")
        with pytest.raises(Conflict, match="not live"):
            await access.keys.rotate("program")


def key_file(*entries: tuple[str, Any]) -> bytes:
    return json.dumps(dict(entries)).encode()


def entry(token: str, name: str = "laptop", **more: Any) -> dict[str, Any]:
    return {"oauthToken": token, "keyName": name, **more}


def foreign_key() -> str:
    return "sk-" + secrets.token_urlsafe(30)


class TestImport:
    @pytest.mark.policy("K3")
    async def test_keys_of_any_form_go_on_working_on_their_own_tokens(self, access: Access) -> None:
        one, other, third = foreign_key(), foreign_key(), "sk-" + secrets.token_hex(16)
        content = key_file(
            (one, entry(oauth_token("a"), "laptop", createdAt="2025-01-02T03:04:05Z", lastUsed=1_760_000_000_000)),
            (other, entry(oauth_token("b"), "phone", createdAt=1_700_000_000)),
            (third, entry(oauth_token("a"), "tablet", lastUsed=None)),
        )
        done = await access.import_keys(content)
        assert (len(done.keys), done.known, done.credentials) == (3, 0, 2)
        keys = [await access.keys.verify(Secret(text)) for text in (one, other, third)]
        assert [key.name for key in keys] == ["laptop", "phone", "tablet"]
        assert keys[0].credential_id == keys[2].credential_id
        assert (await access.credentials.unlock(keys[1].credential_id)).token == Secret(oauth_token("b"))
        assert keys[0].created_at == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert keys[1].created_at.year == 2023
        assert await actions(access) == ["credential.added", "key.imported"] * 2 + ["key.imported"]

    async def test_again_it_changes_nothing(self, access: Access) -> None:
        content = key_file((foreign_key(), entry(oauth_token("a"))))
        await access.import_keys(content)
        before = await actions(access)
        done = await access.import_keys(content)
        assert (done.keys, done.known, done.credentials) == ([], 1, 0)
        assert await actions(access) == before

    async def test_a_taken_name_gets_a_number_and_a_stored_token_is_used(self, access: Access) -> None:
        await access.credentials.add("laptop", Secret(oauth_token("other")))
        stored = await access.credentials.add("main", Secret(api_key("mine")))
        done = await access.import_keys(
            key_file((foreign_key(), entry(oauth_token("a"))), (foreign_key(), entry(api_key("mine"), "phone")))
        )
        assert [record.name for record in await access.credentials.list()] == ["laptop", "laptop 2", "main"]
        assert done.keys[1].credential_id == stored.id

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"no JSON", "is a JSON object"),
            (b"[]", "is a JSON object"),
            (key_file(("sk-" + "x" * 30, "text")), "entry 1"),
            (key_file(("sk-" + "x" * 30, {"oauthToken": "t"})), "entry 1"),
            (key_file(("sk-" + "x" * 30, entry("t", "a\nb"))), "name of the entry 1"),
            (key_file(("sk-" + "x" * 30, entry("9f8e:aabb:ccdd"))), "token of 'laptop'.*encrypted"),
            (key_file(("short", entry("t"))), "key 'laptop'"),
            (key_file(("sk-with a space in it", entry("t"))), "key 'laptop'"),
            (key_file(("sk-" + "x" * 30, entry(oauth_token("a"), createdAt="yesterday"))), "createdAt of 'laptop'"),
            (key_file(("sk-" + "x" * 30, entry(oauth_token("a"), lastUsed=1e300))), "lastUsed of 'laptop'"),
        ],
    )  # fmt: skip
    async def test_one_wrong_entry_is_named_and_nothing_is_taken(
        self, access: Access, content: bytes, message: str
    ) -> None:
        good = key_file((foreign_key(), entry(oauth_token("good"), "good")))
        both = good[:-1] + b"," + content[1:] if content.startswith(b"{") else content
        message = message.replace("entry 1", "entry 2") if both is not content else message
        with pytest.raises(InvalidRequest, match=message) as raised:
            await access.import_keys(both)
        assert "x" * 30 not in raised.value.message
        assert "aabb" not in raised.value.message
        assert await access.keys.list() == []
        assert await access.credentials.list() == []
