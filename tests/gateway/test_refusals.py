"""Refused keys are counted by address and minute, and told of in the audit log (policy L1)."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from claude_code_api.access import Access, key_text
from claude_code_api.audit import refusals
from claude_code_api.errors import StorageFailure, Unauthenticated
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.secret import Secret

pytestmark = pytest.mark.policy("L1")
HERE, THERE = "192.0.2.0/24", "198.51.100.0/24"


async def refuse(gateway: Gateway, address: str, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            await gateway.authenticate(key_text.generate(), address)


async def told(access: Access) -> dict[str | None, int]:
    entries = await access.audit.entries(action="key.refused")
    return {entry.target: entry.said["times"] for entry in entries}


async def test_a_storm_is_one_entry_for_each_address(gateway: Gateway, access: Access) -> None:
    await refuse(gateway, HERE, 50)
    await refuse(gateway, THERE)
    assert await told(access) == {}, "nothing is written while it goes on"
    await gateway.close()
    assert await told(access) == {HERE: 50, THERE: 1}
    assert (await access.audit.verify())[1] == []


async def test_the_minutes_end_writes_it(gateway: Gateway, access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "PERIOD", 0.01)
    await refuse(gateway, HERE)
    while not await told(access):
        await asyncio.sleep(0.01)
    await refuse(gateway, HERE, 2)
    while sum(entry.said["times"] for entry in await access.audit.entries(action="key.refused")) < 3:
        await asyncio.sleep(0.01)
    await gateway.close()


async def test_many_addresses_fill_neither_memory_nor_log(
    gateway: Gateway, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MOST_ADDRESSES", 5)
    for number in range(5 + 7):
        await refuse(gateway, f"address {number}")
    await gateway.close()
    counted = await told(access)
    assert len(counted) == 5 + 1
    assert counted[refusals.OTHERS] == 7


async def test_what_cannot_be_written_is_told_later(
    gateway: Gateway, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    await refuse(gateway, HERE, 2)
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise StorageFailure("The disk is full.")

        patch.setattr(access.audit, "change", full)
        await gateway.close()
    await refuse(gateway, HERE)
    await gateway.close()
    assert await told(access) == {HERE: 3}


async def test_a_request_without_a_key_is_no_attempt(gateway: Gateway, access: Access) -> None:
    with pytest.raises(Unauthenticated):
        await gateway.authenticate(None, HERE)
    await gateway.close()
    assert await told(access) == {}


async def test_no_part_of_the_key_is_told(gateway: Gateway, access: Access) -> None:
    with pytest.raises(Unauthenticated):
        await gateway.authenticate(Secret("sk-" + secrets.token_hex(24)), HERE)
    await gateway.close()
    (entry,) = await access.audit.entries(action="key.refused")
    assert entry.said == {"times": 1}
