"""How long the administrators' pages take, with 10,000 keys and a million requests in thirty days.

    python -m bench.pages

Each is asked for over HTTPS as a browser asks; the way there and the client's part are in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp

from bench.figures import Series, machine
from bench.large_database import GOAL, KEYS, MODELS, ROUNDS, Arguments, large_database
from bench.parties import child
from claude_code_api.settings import Settings

PASSWORD = "Only the bench knows this one 7"


async def main(asked: argparse.Namespace) -> None:
    async with large_database(asked) as settings, _signed_in(settings) as browser:
        print(f"{machine()}; {KEYS:,} keys, {asked.requests:,} requests\n\n| page | median (95th percentile) | |")
        print("| --- | --- | --- |")
        for address in await _addresses(browser):
            series = Series(address, tuple([await _timed(browser, address) for _ in range(ROUNDS)]))
            print(f"| `{address}` | {series.spread} | {'' if series.median <= GOAL else 'missed'} |", flush=True)


@asynccontextmanager
async def _signed_in(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    data = str(settings.data_dir)
    command = ("-m", "claude_code_api", "serve", "--port", "0", "--https-port", "0", "--data-dir", data)
    given = {"CCAPI_ADMIN_PASSWORD": PASSWORD, "CCAPI_RATE_LIMIT_PER_IP": "off"}
    if settings.database_url:
        given["CCAPI_DATABASE_URL"] = settings.database_url.reveal()
    async with child(*command, **given) as process:
        assert process.stdout is not None
        told = re.search(r"https://\S+", (await process.stdout.readline()).decode())
        assert told is not None
        cookies = aiohttp.CookieJar(unsafe=True)
        connector = aiohttp.TCPConnector(ssl=False)
        async with aiohttp.ClientSession(told[0], cookie_jar=cookies, connector=connector) as browser:
            said = {"username": "admin", "password": PASSWORD}
            async with browser.post("/admin/api/v1/session", json=said) as answer:
                answer.raise_for_status()
            yield browser


async def _addresses(browser: aiohttp.ClientSession) -> list[str]:
    """All that has figures or lists in it; of one key and one credential, too."""
    key = (await _first(browser, "keys"))["id"]
    credential = await _first(browser, "credentials")
    week = (datetime.now(UTC) - timedelta(days=6)).date()
    usage = "/admin/usage?by="
    return [
        "/admin", "/admin?span=hour", "/admin?span=month",
        "/admin/keys", "/admin/keys?search=program+77", "/admin/keys?state=unused", "/admin/keys?sort=last_used_at",
        f"/admin/keys/{key}", f"/admin/keys/{key}/revoke", "/admin/keys/new",
        "/admin/credentials", f"/admin/credentials/{credential['id']}", f"/admin/credentials/{credential['id']}/remove",
        *(usage + by for by in ("key", "model", "credential", "day")),
        f"{usage}key&since={week}", f"{usage}key&model={MODELS[0]}", f"{usage}key&credential={credential['name']}",
        f"{usage}day&key={key}", f"{usage}day&model={MODELS[0]}",
        "/admin/audit", "/admin/settings", "/admin/administrators", "/admin/account", "/admin/playground",
    ]  # fmt: skip


async def _first(browser: aiohttp.ClientSession, what: str) -> dict[str, str]:
    async with browser.get(f"/admin/api/v1/{what}") as answer:
        found: dict[str, list[dict[str, str]]] = await answer.json()
    return found["data"][0]


async def _timed(browser: aiohttp.ClientSession, address: str) -> float:
    began = time.perf_counter()
    async with browser.get(address, allow_redirects=False) as answer:
        await answer.read()
        assert answer.status == 200, (address, answer.status)
    return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(main(Arguments("pages", __doc__).parse_args()))
