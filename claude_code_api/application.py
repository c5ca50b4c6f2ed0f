"""The parts put together: a gateway that runs, as `serve`, the demo, the tests and the benchmark start it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog

from claude_code_api import __version__
from claude_code_api.access import Access
from claude_code_api.access.names import GATEWAY
from claude_code_api.admin import Admin
from claude_code_api.backup.making import tidy
from claude_code_api.credential import CredentialKind, kind_of
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.errors import InvalidRequest, NotFound, WrongSetting
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.operations.alerts import Alerts
from claude_code_api.operations.webhook import webhook
from claude_code_api.settings import Settings
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.surface.app import build
from claude_code_api.surface.server import Server
from claude_code_api.surface.shared_counters import shared_counters
from claude_code_api.usage.recorder import Recorder

log = structlog.get_logger(__name__)

KIND_NAMES = {
    CredentialKind.OAUTH: "OAuth token (sk-ant-oat01-…)",
    CredentialKind.API_KEY: "Anthropic API key (sk-ant-api…)",
}


class Running(msgspec.Struct, frozen=True):
    """The parts of a gateway that runs."""

    server: Server
    access: Access
    engine: ClaudeCode


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """A gateway that answers, until the block ends; then running answers get `stop_grace` seconds.

    Raises an OperatorFailure where it cannot start. Nothing of it is left afterwards: no process, no connection.
    """
    directory = DataDirectory(settings.data_dir)
    with directory.server_lock():
        await asyncio.to_thread(tidy, directory)
        alerts = Alerts()
        async with (
            webhook(settings, alerts),
            shared_counters(settings, alerts) as shared,
            Access.open(settings, migrate=True, alerts=alerts) as access,
            Recorder.open(settings, access.database, alerts) as recorder,
            access.audit.kept(settings.audit_days, GATEWAY),
            access.audit.verification.kept_up(alerts),
        ):
            await access.audit.note(GATEWAY, "gateway.started", version=__version__)
            await store_given_credentials(access, settings)
            await store_given_password(access, settings)
            engine = await asyncio.to_thread(ClaudeCode, settings)
            gateway = Gateway(settings, access, engine, recorder)
            server: Server
            admin = Admin(settings, access, gateway, lambda: server.certificate.ends_at if server.certificate else None)
            server = Server(build(settings, gateway, admin, shared), settings)
            await server.start()
            try:
                records = await access.credentials.list()
                records.sort(key=lambda record: record.replaced_at or record.created_at)
                await engine.start([record.id for record in records])
                yield Running(server, access, engine)
            finally:
                try:
                    await server.stop(settings.stop_grace)
                finally:
                    await engine.stop()
                    await gateway.close()
                    await access.audit.note(GATEWAY, "gateway.stopped")


async def store_given_credentials(access: Access, settings: Settings) -> None:
    """Stores the tokens that stand in the settings; a changed one replaces what is stored."""
    given = {
        "claude_code_oauth_token": ("default", CredentialKind.OAUTH, settings.claude_code_oauth_token),
        "anthropic_api_key": ("default-api", CredentialKind.API_KEY, settings.anthropic_api_key),
    }
    for setting, (name, kind, token) in given.items():
        if token is None:
            continue
        try:
            wrong = kind_of(token) is not kind
        except InvalidRequest:
            wrong = True
        if wrong:
            raise WrongSetting(f"The setting {setting} holds no {KIND_NAMES[kind]}, or only a part of one.")
        try:
            stored = await access.credentials.unlock(name)
        except NotFound:
            await access.credentials.add(name, token, by=GATEWAY)
        else:
            if stored.token != token:
                await access.credentials.replace(name, token, by=GATEWAY)


async def store_given_password(access: Access, settings: Settings) -> None:
    """Makes the owner `admin` with the password that stands in the settings, unless there is an owner (policy A5)."""
    if settings.admin_password is None:
        return
    try:
        made = await access.administrators.make_first(settings.admin_password, by=GATEWAY)
    except InvalidRequest as fault:
        raise WrongSetting(f"The setting admin_password (ADMIN_PASSWORD) cannot be used: {fault.message}") from None
    if made is None:
        log.info("admin_password counts for nothing any more, since there is an owner: leave it out")
