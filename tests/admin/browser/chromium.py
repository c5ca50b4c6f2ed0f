"""A headless Chromium, the machine's own: `make test` installs Debian's where there is none."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, async_playwright, expect

PROGRAMS = ("chromium", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {390: 844, 820: 1180, 1440: 900}
"""Each with its height: a phone, a tablet, a desk."""
expect.set_options(timeout=30_000)  # what is waited for comes in milliseconds; on a busy machine in seconds
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE: str = Axe().axe_script
TWICE = (
    "() => [...document.querySelectorAll('[id]')].map(each => each.id).filter((id, at, all) => all.indexOf(id) < at)"
)


class NoBrowser(Exception):
    """There is no Chromium on this machine, and it takes one to see what a browser makes of the pages."""


def program() -> str:
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise NoBrowser(
            f"None of {', '.join(PROGRAMS)} is on the PATH: `apt-get install chromium`, as `make test` does."
        )
    return found


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=program(), args=FLAGS)
        try:
            yield launched
        finally:
            await launched.close()


async def context(browser: Browser, *, width: int = 1440, scheme: str = "light", **given: Any) -> BrowserContext:
    """A reader's own window, somewhere east of Greenwich; the gateway's certificate is its own."""
    return await browser.new_context(
        viewport={"width": width, "height": WIDTHS[width]},
        color_scheme=scheme,  # type: ignore[arg-type]
        ignore_https_errors=True,
        locale="en-GB",
        timezone_id="Asia/Kolkata",
        has_touch=width < 800,
        is_mobile=width < 800,
        **given,
    )


@contextmanager
def complaints(page: Page) -> Iterator[list[str]]:
    """What the console and the page complain of meanwhile."""
    found: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            found.append(message.text)

    def thrown(error: Error) -> None:
        found.append(str(error))

    page.on("console", heard)
    page.on("pageerror", thrown)
    try:
        yield found
    finally:
        page.remove_listener("console", heard)
        page.remove_listener("pageerror", thrown)


async def look(page: Page) -> list[str]:
    """Everything that is wrong with a page as it stands, dark and light, at every width. It is left light and wide."""
    found = [f"two elements have the id {each}" for each in await page.evaluate(TWICE)]
    await page.evaluate(AXE)
    for width, height in WIDTHS.items():
        await page.set_viewport_size({"width": width, "height": height})
        if (wider := await overflow(page)) > 0:
            found.append(f"{wider} pixels wider than {width}")
        if width == min(WIDTHS):
            await page.emulate_media(color_scheme="dark")
            found += await faults_of_access(page)
    await page.emulate_media(color_scheme="light")
    return found + await faults_of_access(page)


async def faults_of_access(page: Page) -> list[str]:
    """What axe finds serious or critical, by all rules of WCAG 2.2 AA and good practice."""
    violations = await page.evaluate(
        "tags => axe.run({resultTypes: ['violations'], runOnly: tags}).then(results => results.violations)", TAGS
    )
    return [
        f"{violation['id']}: {node['html'][:200]}: {node.get('failureSummary', '')[:300]}"
        for violation in violations
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


async def overflow(page: Page) -> int:
    """Pixels by which a page is wider than its window."""
    wider: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider
