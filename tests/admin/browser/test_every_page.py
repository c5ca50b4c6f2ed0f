"""Every page of a gateway that really runs, with figures in it: what axe and the console say, light and dark."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import chromium
import pytest
import pytest_asyncio
from furnished import signed_in
from gateways import Gateway
from playwright.async_api import Browser, Page

from claude_code_api.admin.pages import VIEWS

ADDRESSES = [
    "/admin", "/admin?span=hour", "/admin?span=month", "/admin/keys", "/admin/keys?search=nothing+like+it",
    "/admin/keys/new", "/admin/keys/{key}", "/admin/keys/{key}/revoke", "/admin/credentials", "/admin/credentials/new",
    "/admin/credentials/{refused}", "/admin/credentials/{credential}", "/admin/credentials/{credential}/remove",
    "/admin/usage", "/admin/usage?by=day", "/admin/usage?since=2026-02-02&until=2026-02-01",
    "/admin/playground", "/admin/audit",
    "/admin/administrators", "/admin/administrators/{admin}", "/admin/administrators/{admin}/remove", "/admin/settings",
    "/admin/account", "/admin/setup", "/admin/invitation", "/admin/login",
]  # fmt: skip


def test_no_page_is_left_out() -> None:
    shown = {re.sub(r"\?.*", "", re.sub(r"\{\w+\}", "{id}", address)) for address in ADDRESSES}
    assert shown == {view.path for view in VIEWS if view.method == "GET"}


@pytest_asyncio.fixture(scope="module")
async def page(browser: Browser, furnished: Gateway) -> AsyncIterator[Page]:
    async with signed_in(browser, furnished) as page:
        yield page


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_page_with_figures_fits_and_axe_finds_nothing_serious(
    page: Page, ids: dict[str, str], address: str
) -> None:
    with chromium.complaints(page) as complaints:
        answer = await page.goto(address.format(**ids))
        assert answer
        assert await chromium.look(page) == []
    expected = 400 if "since" in address else 200
    assert answer.status == expected
    assert [each for each in complaints if f"status of {expected}" not in each] == []
