"""The ten tasks of docs/web-interface.md: done with a real browser, and counted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from furnished import signed_in
from gateways import Gateway
from playwright.async_api import Browser, Locator, Page, expect

from claude_code_api.stand_in import oauth_token
from scripts.screenshots import PASSWORD

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "web-interface.md"
MOST = 6
# The keystroke-level model (Card, Moran and Newell, 1980), in seconds.
POINT, PRESS, KEY, THINK = 1.1, 0.2, 0.28, 1.35
PASTE = 2 * KEY


class Hand:
    """Clicks, and counts: the clicks (typing and choosing are none), and the seconds of somebody who knows the way."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0
        self.seconds = 0.0

    async def follow(self, name: str) -> None:
        await self._click(self.page.get_by_role("link", name=name).first)

    async def press(self, name: str) -> None:
        await self._click(self.page.get_by_role("button", name=name, exact=True))

    async def type(self, label: str, text: str, *, exact: bool = True) -> None:
        self.seconds += THINK + POINT + PRESS + (PASTE if text.startswith("sk-") else KEY * len(text))
        await self.page.get_by_label(label, exact=exact).fill(text)

    async def sees(self, text: str) -> None:
        await expect(self.page.locator("main")).to_contain_text(text)

    async def _click(self, target: Locator) -> None:
        self.clicks += 1
        self.seconds += THINK + POINT + PRESS
        await target.click()


Task = Callable[[Hand], Awaitable[None]]
TASKS: dict[str, Task] = {}


def task(name: str) -> Callable[[Task], Task]:
    def keep(do: Task) -> Task:
        TASKS[name] = do
        return do

    return keep


@task("Sign in for the first time")
async def sign_in(hand: Hand) -> None:
    await hand.page.context.clear_cookies()
    await hand.page.goto("/admin")
    await hand.type("Password", PASSWORD)
    await hand.press("Sign in")
    await hand.sees("Overview")


@task("Store a token")
async def store_a_token(hand: Hand) -> None:
    await hand.follow("Credentials")
    await hand.follow("Add a credential")
    await hand.type("Name", "Carla")
    await hand.type("Token", oauth_token("carla"))
    await hand.press("Add the credential")
    await hand.sees("The credential was added")


@task("Make a key")
async def make_a_key(hand: Hand) -> None:
    await hand.follow("API keys")
    await hand.follow("New key")
    await hand.type("Name", "Carla's editor")
    await hand.press("Make the key")
    await hand.sees("It is shown this once")


@task("Try it")
async def try_it(hand: Hand) -> None:
    await hand.follow("Playground")
    await hand.type("Message", "Hello")
    await hand.press("Ask")
    await hand.sees("tokens in")


@task("Find out who spends most")
async def find_who_spends_most(hand: Hand) -> None:
    await hand.follow("Usage")
    await expect(hand.page.locator("#results tbody th").first).to_have_text("Anna's editor")


@task("Limit a key")
async def limit_a_key(hand: Hand) -> None:
    await hand.follow("API keys")
    await hand.follow("Open WebUI")
    await hand.type("Rate limit", "10/minute", exact=False)
    await hand.press("Save")
    await hand.sees("The key was changed.")


@task("Rotate a key")
async def rotate_a_key(hand: Hand) -> None:
    await hand.follow("API keys")
    await hand.follow("Nightly reports")
    await hand.press("Rotate the key")
    await hand.sees("is good until")


@task("Find a refused sign-in")
async def find_a_refused_sign_in(hand: Hand) -> None:
    await hand.follow("Audit log")
    await hand.type("Action", "login.refused")
    await hand.press("Show")
    await hand.sees("login.refused")


@task("Replace a token that Anthropic refuses")
async def replace_a_token(hand: Hand) -> None:
    await hand.follow("Anthropic refuses the token of Bert")
    await hand.type("New token", oauth_token("bert again"))
    await hand.press("Replace the token")
    await hand.sees("The token was replaced")


@task("Invite a colleague")
async def invite_a_colleague(hand: Hand) -> None:
    await hand.follow("Administrators")
    await hand.type("Name", "dora")
    await hand.press("Make the link")
    await hand.sees("/admin/invitation#token=")


def told() -> dict[str, tuple[int, int]]:
    """What the document says: clicks and seconds."""
    section = DOCUMENT.read_text(encoding="utf-8").partition("## Ten tasks")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\S[^|]+) \| (\d+) \| (\d+) \|$", section, re.MULTILINE)
    return {name: (int(clicks), int(seconds)) for name, clicks, seconds in rows}


@pytest_asyncio.fixture(scope="module")
async def page(browser: Browser, furnished: Gateway) -> AsyncIterator[Page]:
    async with signed_in(browser, furnished) as page:
        yield page


def test_the_document_tells_of_ten_tasks() -> None:
    assert len(told()) == 10
    assert set(told()) == set(TASKS)
    assert max(clicks for clicks, _ in told().values()) <= MOST


@pytest.mark.parametrize("name", TASKS)
async def test_a_task_takes_the_clicks_and_the_seconds_that_the_document_says(page: Page, name: str) -> None:
    await page.goto("/admin")
    hand = Hand(page)
    await TASKS[name](hand)
    assert (hand.clicks, round(hand.seconds)) == told()[name]
