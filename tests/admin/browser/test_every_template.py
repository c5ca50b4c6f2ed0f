"""Every template with made-up values, filled and empty, as a browser sees it: light and dark, at three widths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import chromium
import pytest
import pytest_asyncio
from page_samples import PAGES
from playwright.async_api import Browser, Page, Route

from claude_code_api.admin.pages.rendering import POLICY, assets, render

HOST = "http://pages.test"


async def answer(route: Route) -> None:
    """In the place of a server, with its content policy."""
    path = urlsplit(route.request.url).path.rpartition("/")[2]
    if path in assets():
        asset = assets()[path]
        await route.fulfill(body=asset.body, content_type=asset.content_type.decode())
    elif path in PAGES:
        template, frame, values = PAGES[path]
        headers = {"content-security-policy": POLICY.decode(), "content-type": "text/html; charset=utf-8"}
        await route.fulfill(body=render(template, frame, **values), headers=headers)
    else:
        await route.fulfill(body=BROKEN, content_type="text/html")


BROKEN = """<!DOCTYPE html><title>x</title><img src="x.png"><input><p style="color: #999; width: 2000px">hardly read</p>
<script>console.error("told")</script>"""


@pytest_asyncio.fixture(scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await chromium.context(browser, reduced_motion="reduce")
    await context.route("**/*", answer)
    yield await context.new_page()
    await context.close()


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {"again"}))  # which loads itself again
async def test_a_page_fits_and_axe_finds_nothing_serious(page: Page, name: str) -> None:
    with chromium.complaints(page) as complaints:
        await page.goto(f"{HOST}/{name}")
        assert await chromium.look(page) == []
    assert complaints == []


async def test_what_is_wrong_would_be_found(page: Page) -> None:
    with chromium.complaints(page) as complaints:
        await page.goto(f"{HOST}/broken")
        found = " ".join(await chromium.look(page))
    assert complaints == ["told"]
    for fault in ("image-alt", "label", "color-contrast", "html-has-lang", "wider than 390"):
        assert fault in found


async def test_nothing_moves_while_a_page_loads(page: Page) -> None:
    """The script comes last, and puts nothing where it was not before (layout shifts, as Chromium measures them)."""
    for name in ("login", "overview", "keys", "key", "account", "playground"):
        await page.goto(f"{HOST}/{name}")
        moved = await page.evaluate(
            """() => new Promise(told => {
                 let sum = 0;
                 new PerformanceObserver(list => list.getEntries().forEach(entry => { sum += entry.value; }))
                   .observe({type: "layout-shift", buffered: true});
                 requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => told(sum), 50)));
               })"""
        )
        assert moved < 0.01, name
