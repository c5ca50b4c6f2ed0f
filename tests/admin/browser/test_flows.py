"""What people do on the pages, with a real browser: with scripts and without, with the mouse and with the keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator

import chromium
import httpx2
import pytest
from furnished import signed_in
from gateways import Gateway, StartGateway
from playwright.async_api import Browser, Page, expect

from claude_code_api.secret import Secret
from claude_code_api.stand_in import oauth_token
from scripts.screenshots import PASSWORD

KEY = re.compile(r"sk-[A-Za-z0-9]{48}")


@pytest.fixture
def empty(start_gateway: StartGateway, stand_in: object) -> Iterator[Gateway]:
    """A gateway at its first start."""
    with start_gateway() as gateway:
        yield gateway


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def follow(page: Page, name: str) -> None:
    await page.get_by_role("link", name=name, exact=True).first.click()


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_from_the_first_start_to_the_first_answer_and_the_end_of_the_key(
    browser: Browser, empty: Gateway, scripts: bool
) -> None:
    token: Secret = empty.access(lambda access: access.administrators.new_setup_token(by="test"))
    given = {"base_url": empty.https_url, "java_script_enabled": scripts}
    context = await chromium.context(browser, permissions=["clipboard-read", "clipboard-write"], **given)
    page = await context.new_page()
    with chromium.complaints(page) as complaints:
        # The owner is made by the link.
        await page.goto(f"/admin/setup#token={token.reveal()}")
        if scripts:
            await expect(page.get_by_label("Token")).to_be_hidden()
            assert token.reveal() not in page.url
        else:
            await page.get_by_label("Token").fill(f"{empty.https_url}/admin/setup#token={token.reveal()}")
        await page.get_by_label("Name").fill("anna")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await press(page, "Make me the owner")
        await expect(page.get_by_role("heading", name="Three steps to the first answer")).to_be_visible()

        # A token, then a key on it.
        await follow(page, "Add a credential")
        await page.get_by_label("Name").fill("Anna")
        await page.get_by_label("Token", exact=True).fill(oauth_token("anna"))
        await press(page, "Add the credential")
        await expect(page.get_by_role("status").first).to_contain_text("The credential was added")
        await follow(page, "Make a key")
        await page.get_by_label("Name").fill("Anna's editor")
        await press(page, "Make the key")
        text = await page.locator("#new-key").inner_text()
        assert KEY.fullmatch(text)
        assert text not in page.url
        if scripts:
            await page.locator(".secret").get_by_role("button", name="Copy").click()
            await expect(page.get_by_text("Copied").first).to_be_visible()
            assert await page.evaluate("navigator.clipboard.readText()") == text
        else:
            await expect(page.locator(".secret").get_by_role("button")).to_be_hidden()

        # It is used.
        await follow(page, "Try it in the playground")
        await page.get_by_label("Message").fill("Hello")
        await press(page, "Ask")
        await expect(page.locator("#answer")).to_have_text(re.compile(r"\w+"))
        await expect(page.locator("#answer-figures")).to_have_text(re.compile(r"\d+ tokens in, \d+ out"))

        # And ended.
        await follow(page, "API keys")
        await follow(page, "Anna's editor")
        await follow(page, "Revoke…")
        await press(page, "Revoke the key")
        await expect(page.get_by_role("status").first).to_contain_text("The key was revoked")
        await press(page, "Sign out")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await context.close()
    assert complaints == []
    assert httpx2.get(f"{empty.http_url}/v1/models", headers={"authorization": f"Bearer {text}"}).status_code == 401


async def test_the_list_of_keys_follows_what_is_typed(browser: Browser, furnished: Gateway) -> None:
    async with signed_in(browser, furnished) as page:
        await page.goto("/admin/keys")
        await page.get_by_label("Search").press_sequentially("desk")
        await expect(page.locator("#results tbody tr")).to_have_count(1)
        assert page.url.endswith("/admin/keys?search=desk")
        await expect(page.locator("#announced")).to_have_text("1 shown")
        await page.get_by_label("Search").press_sequentially(" of nobody")
        await expect(page.get_by_role("heading", name="No key fits")).to_be_visible()


async def test_times_are_those_of_the_reader(browser: Browser, furnished: Gateway, ids: dict[str, str]) -> None:
    made = furnished.access(lambda access: access.keys.get(ids["key"])).created_at
    async with signed_in(browser, furnished) as page:
        await page.goto(f"/admin/keys/{ids['key']}")
        shown = page.locator("time[data-moment]").first
        assert await shown.get_attribute("datetime") == made.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert "GMT+5:30" in await shown.inner_text()
        await page.goto("/admin?span=day")
        last = await page.locator("#requests-title ~ text").last.text_content()
        assert last
        assert last.endswith(":30"), "half an hour beside UTC, as in Kolkata"


async def test_a_second_press_sends_nothing_more(browser: Browser, furnished: Gateway) -> None:
    async with signed_in(browser, furnished) as page:
        await page.goto("/admin/keys/new")
        await page.get_by_label("Name").fill("pressed twice")
        await page.get_by_role("button", name="Make the key").dblclick()
        await expect(page.locator("#new-key")).to_be_visible()
    found = furnished.access(lambda access: access.keys.page(search="pressed twice"))
    assert found.total == 1


async def test_a_failure_is_told_where_the_answer_would_stand(
    browser: Browser, furnished: Gateway, ids: dict[str, str]
) -> None:
    key = furnished.access(lambda access: access.keys.create("soon revoked", ids["credential"]))[0]
    async with signed_in(browser, furnished) as page:
        await page.goto(f"/admin/playground?key={key.id}")
        furnished.access(lambda access: access.keys.revoke(key.id))
        await page.get_by_label("Message").fill("Hello")
        with chromium.complaints(page) as complaints:
            await press(page, "Ask")
            await expect(page.locator("#answer-figures")).to_contain_text("is not live any more")
        assert len(complaints) == 1, "Chromium itself tells of the status"


async def test_the_keyboard_is_enough(browser: Browser, furnished: Gateway) -> None:
    async with signed_in(browser, furnished) as page:
        await page.goto("/admin/keys")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        await page.keyboard.press("Tab")
        focused = page.get_by_role("link", name="New key")
        await expect(focused).to_be_focused()
        outline = await focused.evaluate("element => getComputedStyle(element).outlineWidth")
        assert outline == "3px"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_the_menu_of_a_phone(browser: Browser, furnished: Gateway, scripts: bool) -> None:
    async with signed_in(browser, furnished, scripts=scripts, width=390) as page:
        menu = page.get_by_role("navigation", name="Main")
        await expect(menu).to_be_hidden()
        await follow(page, "Menu")
        await expect(menu).to_be_visible()
        if scripts:
            await page.keyboard.press("Escape")
        else:
            await follow(page, "Close")
        await expect(menu).to_be_hidden()
        await follow(page, "Menu")
        await menu.get_by_role("link", name="Usage").click()
        await expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
        await expect(menu).to_be_hidden()


async def test_what_can_be_touched_is_large_enough(browser: Browser, furnished: Gateway) -> None:
    """44 pixels in one direction at least, where fingers point."""
    async with signed_in(browser, furnished, width=390) as page:
        for address in ("/admin", "/admin/keys", "/admin/keys/new", "/admin/account"):
            await page.goto(address)
            small = await page.evaluate(
                """() => [...document.querySelectorAll("button, .button, select, input:not([type=hidden])")]
                     .filter(each => each.checkVisibility({visibilityProperty: true}) && each.type !== "radio")
                     .filter(each => Math.max(each.offsetHeight, each.offsetWidth) < 44 || each.offsetHeight < 43)
                     .map(each => each.outerHTML.slice(0, 120))"""
            )
            assert small == [], address


async def test_a_session_that_ended_leads_back_to_where_one_was(browser: Browser, furnished: Gateway) -> None:
    async with signed_in(browser, furnished) as page:
        await page.context.clear_cookies(name="__Host-session")
        await page.goto("/admin/usage?by=model")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await press(page, "Sign in")
        await expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
        assert page.url.endswith("/admin/usage?by=model")


async def test_a_page_prints_without_its_menu(browser: Browser, furnished: Gateway) -> None:
    async with signed_in(browser, furnished) as page:
        await page.goto("/admin/usage")
        await page.emulate_media(media="print")
        await expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
        await expect(page.get_by_role("table").last).to_be_visible()
