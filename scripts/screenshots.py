"""Takes the pictures of the web interface in docs/images: a gateway with made-up figures, seen by Chromium.

python -m scripts.screenshots
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from playwright.async_api import Browser, Page, async_playwright

from claude_code_api.access import Access, ApiKey
from claude_code_api.access.names import GATEWAY
from claude_code_api.application import running
from claude_code_api.conversation import RateLimitStatus
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import StandIn, api_key, oauth_token
from claude_code_api.usage.fold import add
from claude_code_api.usage.record import Record

IMAGES = Path(__file__).parent.parent / "docs" / "images"
PASSWORD = "a made-up password 77"
MODELS = (("claude-sonnet-5-5", 6), ("claude-opus-5-5", 2), ("claude-haiku-5-5", 3))
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--hide-scrollbars"]  # fmt: skip
SHOTS = {
    "overview-light": ("/admin", 1440, "light"),
    "overview-dark": ("/admin?span=month", 1440, "dark"),
    "keys": ("/admin/keys?sort=last_used_at&descending=true", 1440, "light"),
    "usage": ("/admin/usage", 1440, "light"),
    "audit": ("/admin/audit", 1440, "dark"),
    "credential": ("/admin/credentials/{refused}", 1440, "light"),
    "account": ("/admin/account", 1440, "light"),
    "overview-phone": ("/admin", 390, "light"),
    "keys-phone": ("/admin/keys", 390, "dark"),
}


# --- figures that are made up -----------------------------------------------------------------------------


async def furnish(access: Access) -> dict[str, str]:
    """Keys, credentials and thirty days of use, as a small team might have them; ids that pages are opened by."""
    owner = await access.administrators.make_first(Secret(PASSWORD), by="made up")
    stored = [
        await access.credentials.add("Anna", Secret(oauth_token("anna"))),
        await access.credentials.add("Bert", Secret(oauth_token("bert"))),
        await access.credentials.add("Console", Secret(api_key("console"))),
    ]
    resets_at = int((datetime.now(UTC) + timedelta(hours=2)).timestamp())
    limit = RateLimitStatus(status="allowed_warning", resets_at=resets_at, limit_type="five_hour")
    await access.credentials.note_limit(stored[0].id, limit)
    await access.credentials.note_refused(stored[1].id)
    soon = datetime.now(UTC) + timedelta(days=6)
    keys = [
        (await access.keys.create("Anna's editor", "Anna", rate_limit="60/minute", max_concurrent=4))[0],
        (await access.keys.create("Support desk", "Console", models=("sonnet", "haiku"), rate_limit="600/hour"))[0],
        (await access.keys.create("Nightly reports", "Console", models=("haiku",)))[0],
        (await access.keys.create("Open WebUI", "Anna", expires_at=soon))[0],
        (await access.keys.create("Code review bot", "Console", max_concurrent=8))[0],
        (await access.keys.create("Bert's notebook", "Bert"))[0],
        (await access.keys.create("Contractor", "Anna"))[0],
    ]
    await access.keys.revoke(keys[-1].id)
    await access.audit.note(GATEWAY, "login.refused", "198.51.100.0/24", times=12)
    records = list(_records(keys[:-1], datetime.now(UTC)))
    async with access.database.write() as connection:
        await add(connection, records)
    await access.audit.verification.whole()
    return {
        "key": keys[0].id,
        "credential": stored[0].id,
        "refused": stored[1].id,
        "admin": owner.id if owner else "",
    }


def _records(keys: list[ApiKey], now: datetime) -> Iterator[Record]:
    """Busy by day and on working days, each key half as busy as the one before; the same figures each time."""
    chance = Random(7)
    names, weights = zip(*MODELS, strict=True)
    for hours in range(30 * 24):
        began = now - timedelta(hours=hours + 1)
        busy = 8 * math.exp(-(((began.hour - 14) / 5) ** 2)) * (0.25 if began.weekday() > 4 else 1)
        for at, key in enumerate(keys):
            for _ in range(round(busy * chance.uniform(0.4, 1.6) / 1.7**at)):
                tokens = int(chance.lognormvariate(7.2, 0.8))
                model = chance.choices(names, weights)[0]
                failed = chance.random() < 0.015
                yield Record(
                    request_id=f"req_{chance.getrandbits(96):024x}",
                    key_id=key.id,
                    credential_id=key.credential_id,
                    endpoint="/v1/chat/completions",
                    model=model,
                    stream=True,
                    status=502 if failed else 200,
                    error="upstream_error" if failed else None,
                    started_at=began + timedelta(seconds=chance.uniform(0, 3599)),
                    first_token_ms=None if failed else int(chance.lognormvariate(6.6, 0.5)),
                    duration_ms=int(chance.lognormvariate(8.5, 0.6)),
                    input_tokens=0 if failed else tokens,
                    output_tokens=0 if failed else tokens // 5,
                    cache_read_tokens=0 if failed else tokens * 3,
                    cache_write_tokens=0 if failed else tokens // 2,
                    reasoning_tokens=0,
                    cost=0
                    if failed
                    else tokens * {"haiku": 2_600, "sonnet": 7_000, "opus": 13_000}[model.split("-")[1]],
                )


# --- pictures ---------------------------------------------------------------------------------------------


async def main() -> None:
    with tempfile.TemporaryDirectory() as name, StandIn.in_thread() as stand_in:
        settings = given_only(
            data_dir=Path(name) / "data", port=0, https_port=0, anthropic_base_url=stand_in.url, spare_processes=0,
            rate_limit_per_ip="off", log_level="error",
        )  # fmt: skip
        async with running(settings) as gateway, async_playwright() as playwright:
            ids = await furnish(gateway.access)
            browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            for picture, (address, width, scheme) in SHOTS.items():
                page = await _signed_in(browser, gateway.server.https_url, width, scheme)
                await page.goto(gateway.server.https_url + address.format(**ids))
                await page.screenshot(path=IMAGES / f"admin-{picture}.png")
                await page.context.close()
            await browser.close()


async def _signed_in(browser: Browser, origin: str, width: int, scheme: str) -> Page:
    context = await browser.new_context(
        viewport={"width": width, "height": 844 if width < 500 else 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        ignore_https_errors=True,
        locale="en-GB",
        is_mobile=width < 500,
    )
    page = await context.new_page()
    await page.goto(f"{origin}/admin/login")
    await page.fill("[name=password]", PASSWORD)
    await page.click("button.primary")
    return page


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
