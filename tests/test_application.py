from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from postgres import Postgres
from sqlalchemy import make_url
from structlog.testing import capture_logs

from claude_code_api.access import Access
from claude_code_api.application import running, store_given_credentials
from claude_code_api.errors import OperatorFailure, StorageFailure, WrongSetting
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.stand_in import api_key, oauth_token

MakeSettings = Callable[..., Settings]


def free(settings: MakeSettings, **fields: Any) -> Settings:
    return settings(port=0, https_port=0, **fields)


async def test_tokens_in_the_settings_are_stored_and_a_changed_one_replaces_what_is_stored(
    settings: MakeSettings,
) -> None:
    given = {"claude_code_oauth_token": oauth_token("one"), "anthropic_api_key": api_key("one")}
    async with running(free(settings, **given)) as gateway:
        first = await gateway.access.credentials.unlock("default")
        assert first.token == Secret(oauth_token("one"))
        assert (await gateway.access.credentials.unlock("default-api")).token == Secret(api_key("one"))
    async with running(free(settings, **given)) as gateway:
        assert (await gateway.access.credentials.get("default")).replaced_at is None
    async with running(free(settings, claude_code_oauth_token=oauth_token("two"))) as gateway:
        changed = await gateway.access.credentials.unlock("default")
        assert (changed.id, changed.token) == (first.id, Secret(oauth_token("two")))


@pytest.mark.policy("N5")
@pytest.mark.parametrize("other", ["one", "two"])
async def test_gateways_that_start_at_once_on_one_database_store_the_token_once(
    settings: MakeSettings, postgres: Postgres, other: str
) -> None:
    """Where their tokens differ, that of the last one holds."""
    url = postgres.create(postgres.at_head)
    given = [settings(database_url=url, claude_code_oauth_token=oauth_token(token)) for token in ("one", other)]
    waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
    waiting += f"WHERE NOT granted AND datname = '{make_url(url.reveal()).database}'"
    async with Access.open(given[0]) as one, Access.open(given[1]) as two, Access.open(given[1]) as third:
        async with third.database.write():  # both look, find nothing, and wait for their turn to write
            storing = [
                asyncio.create_task(store_given_credentials(*each)) for each in zip((one, two), given, strict=True)
            ]
            while await asyncio.to_thread(postgres.sql, waiting) != "2":
                pass
        await asyncio.gather(*storing)
        assert [record.name for record in await third.credentials.list()] == ["default"]
        tokens = {Secret(oauth_token("one")), Secret(oauth_token(other))}
        assert (await third.credentials.unlock("default")).token in tokens


@pytest.mark.policy("T5")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("claude_code_oauth_token", "sk-ant-oat01-short"),
        ("claude_code_oauth_token", api_key("one")),
        ("anthropic_api_key", oauth_token("one")),
    ],
)
async def test_a_token_of_the_wrong_form_stops_the_start_and_names_its_setting_alone(
    settings: MakeSettings, setting: str, value: str
) -> None:
    with pytest.raises(WrongSetting, match=setting) as caught:
        async with running(free(settings, **{setting: value})):
            pass
    assert value not in caught.value.message


@pytest.mark.policy("L4")
async def test_what_a_running_gateway_is_alarmed_by_reaches_the_webhook(settings: MakeSettings) -> None:
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        await got.put(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    given = {
        "alert_webhook": f"http://127.0.0.1:{runner.addresses[0][1]}/",
        "alert_webhook_secret": "shared with the receiver",
        "anthropic_api_key": api_key("one"),
    }
    try:
        async with running(free(settings, **given)) as gateway, asyncio.timeout(20):
            credential = await gateway.access.credentials.get("default-api")
            await gateway.access.credentials.note_refused(credential.id)
            heard = await got.get()
            assert (heard["kind"], heard["about"]) == ("credential_refused", credential.id)
            assert [alert.kind for alert in gateway.access.alerts.latest()] == ["credential_refused"]
            while (verified := await gateway.access.audit.verification.onward()) is None:
                await asyncio.sleep(0.01)  # it is looked through at the start
            assert verified.intact
    finally:
        await runner.cleanup()


@pytest.mark.policy("A5")
@pytest.mark.parametrize(
    "value", ["changeme", "Change-Me-Please", "password12345", "your-password-here", "canary", "q1w2e3r4t5y6"]
)
async def test_a_sample_or_weak_password_in_the_settings_stops_the_start_and_is_not_repeated(
    settings: MakeSettings, value: str
) -> None:
    with pytest.raises(WrongSetting, match=r"The setting admin_password \(ADMIN_PASSWORD\) cannot be used: ") as caught:
        async with running(free(settings, admin_password=value)):
            pass
    assert value not in caught.value.message


@pytest.mark.policy("A5")
async def test_a_password_in_the_settings_makes_the_owner_and_then_counts_no_more(settings: MakeSettings) -> None:
    first, second = (secrets.token_urlsafe() for _ in range(2))
    with capture_logs() as logs:
        async with running(free(settings, admin_password=first)) as gateway:
            owner = await gateway.access.administrators.check("admin", Secret(first))
            assert owner.role == "owner"
        assert not [line for line in logs if "admin_password" in line["event"]]
        async with running(free(settings, admin_password=second)) as gateway:
            assert await gateway.access.administrators.check("admin", Secret(first)) == owner
    assert len([line for line in logs if "admin_password counts for nothing" in line["event"]]) == 1
    assert second not in str(logs)


async def test_a_second_gateway_on_the_same_data_directory_is_refused(settings: MakeSettings) -> None:
    async with running(free(settings)):
        with pytest.raises(StorageFailure, match="already runs"):
            async with running(free(settings)):
                pass


async def test_a_gateway_that_cannot_listen_leaves_the_data_directory_free(settings: MakeSettings) -> None:
    with pytest.raises(OperatorFailure):
        async with running(settings(host="256.0.0.1", port=0, https_port=0)):
            pass
    async with running(free(settings)) as gateway:
        assert gateway.server.http_url
