"""Wherever a page leads, whoever reads it may go."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from browsing import PASSWORD
from gateways import Gateway
from reading import Reader, shown
from sqlalchemy import update

from claude_code_api.access import Access, Role
from claude_code_api.access.administrator import REMIND_AFTER
from claude_code_api.secret import Secret
from claude_code_api.storage.tables import administrators

MOST = 150
"""Pages of one crawl, which is more than there are."""


async def furnish(access: Access, role: Role) -> None:
    """Somebody of this role, called so, and only passwords that are old."""
    _, token = await access.invitations.invite(f"the {role}", role, by="test")
    await access.invitations.accept(token, Secret(PASSWORD))
    aged = {"password_set_at": datetime.now(UTC) - REMIND_AFTER - timedelta(days=1)}
    async with access.database.write() as connection:
        await connection.execute(update(administrators).values(aged))


def links(answer: httpx2.Response) -> set[str]:
    return {html.unescape(each) for each in re.findall(r'<a\b[^>]*\bhref="(/[^"#]*)', answer.text)}


@pytest.mark.policy("A1")
@pytest.mark.parametrize("role", ["viewer", "admin", "owner"])
def test_no_page_leads_its_reader_to_what_is_refused_or_not_there(
    gateway: Gateway, browser: Callable[..., httpx2.Client], role: Any
) -> None:
    gateway.key()
    gateway.access(lambda access: furnish(access, role))
    reader = Reader(browser())
    assert reader.sign_in(f"the {role}").status_code == 200
    answers: dict[str, int] = {}
    waiting = ["/admin"]
    while waiting and len(answers) < MOST:
        address = waiting.pop()
        answer = reader.client.get(address)
        answers[address] = answer.status_code
        if answer.headers.get("content-type", "").startswith("text/html"):
            waiting += sorted(links(answer) - answers.keys() - set(waiting))
    assert len(answers) > 15
    assert {address: status for address, status in answers.items() if status >= 400} == {}
    assert "Your password is old" in shown(reader.go("/admin"))
