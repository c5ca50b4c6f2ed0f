"""A gateway with made-up keys and figures, and administrators who are signed in with a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import chromium
from gateways import Gateway
from playwright.async_api import Browser, Page

from scripts.screenshots import PASSWORD


@asynccontextmanager
async def signed_in(browser: Browser, gateway: Gateway, *, scripts: bool = True, **given: Any) -> AsyncIterator[Page]:
    """A page of the owner's, with or without scripts."""
    context = await chromium.context(
        browser, base_url=gateway.https_url, java_script_enabled=scripts, reduced_motion="reduce", **given
    )
    page = await context.new_page()
    try:
        await page.goto("/admin/login")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/admin")
        yield page
    finally:
        await context.close()
