"""The parts put together: a gateway that runs, as `serve`, the demo, the tests and the benchmark start it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import get_args

import msgspec
import structlog
from claude_agent_sdk._cli_version import __cli_version__ as claude_code_version

from claude_code_api import __version__
from claude_code_api.access import Access
from claude_code_api.access.names import GATEWAY
from claude_code_api.admin import Admin
from claude_code_api.audit import AuditLog
from claude_code_api.backup.making import tidy
from claude_code_api.credential import CredentialKind, kind_of
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.engines.claude_code.faults import Kind as Fault
from claude_code_api.errors import Conflict, InvalidRequest, NotFound, StorageFailure, WrongSetting
from claude_code_api.gateway.gateway import Gateway
from claude_code_api.gateway.models import DEFAULT_NAMES
from claude_code_api.operations.alerts import Alerts
from claude_code_api.operations.metrics import Exposition, Metrics, Reading
from claude_code_api.operations.webhook import webhook
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.surface.app import App
from claude_code_api.surface.key_gate import KeyGate
from claude_code_api.surface.metrics import RequestMetrics
from claude_code_api.surface.server import Server
from claude_code_api.surface.shared_counters import shared_counters
from claude_code_api.usage.metrics import AnswerMetrics
from claude_code_api.usage.recorder import Recorder

log = structlog.get_logger(__name__)

PATIENCE = 2.0
"""Seconds that the metrics wait for the database."""

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
        requests, answers = RequestMetrics(), AnswerMetrics(DEFAULT_NAMES)
        metrics = Metrics(__version__, "" if settings.claude_code_path else claude_code_version, requests, answers)
        alerts.listen(metrics.count_alert)
        async with (
            webhook(settings, alerts),
            shared_counters(settings, alerts) as shared,
            Access.open(settings, migrate=True, alerts=alerts) as access,
            Recorder.open(settings, access.database, alerts, answers.count) as recorder,
            _noted(access.audit),
            access.audit.kept(settings.audit_days, GATEWAY),
            access.audit.verification.kept_up(alerts),
        ):
            await store_given_credentials(access, settings)
            await store_given_password(access, settings)
            engine = await asyncio.to_thread(ClaudeCode, settings)
            gateway = Gateway(settings, access, engine, recorder)
            keys = KeyGate(settings, gateway, shared)
            server: Server

            async def expose(accept: str) -> Exposition:
                reading = await read(server, access, engine, recorder)
                return await asyncio.to_thread(metrics.exposition, accept, reading)

            admin = Admin(settings, access, gateway, keys, lambda: _ends_at(server), expose)
            server = Server(App(settings, gateway, admin, metrics=requests, shared=shared, keys=keys), settings)
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


@asynccontextmanager
async def _noted(audit: AuditLog) -> AsyncIterator[None]:
    """The start and the stop are in the audit log; a database that is away keeps nobody from stopping."""
    await audit.note(GATEWAY, "gateway.started", version=__version__)
    try:
        yield
    finally:
        try:
            await audit.note(GATEWAY, "gateway.stopped")
        except StorageFailure as failure:
            log.warning("the stop is not in the audit log", reason=failure.message)


def _ends_at(server: Server) -> datetime | None:
    return server.certificate.ends_at if server.certificate else None


async def read(server: Server, access: Access, engine: ClaudeCode, recorder: Recorder) -> Reading:
    """What the parts say of themselves now; a database that does not answer keeps nobody from the rest."""
    credentials: Mapping[str, int] | None = None
    with suppress(StorageFailure, OSError):
        async with asyncio.timeout(PATIENCE):
            credentials = await access.credentials.count()
    load = engine.load
    return Reading(
        connections=server.open_connections,
        processes={"busy": load.busy, "idle": load.idle, "parked": load.parked, "spare": load.spare},
        process_limit=load.limit,
        processes_started=load.started,
        faults=dict.fromkeys(get_args(Fault), 0) | engine.faults,
        waiting=load.waiting,
        sign_ins=access.sign_in.outcomes.copy(),
        credentials=credentials,
        certificate_ends_at=_ends_at(server),
        usage_waiting_bytes=recorder.waiting_bytes,
        usage_lost=recorder.lost,
    )


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
            await _renew(access, name, token)
        except NotFound:
            try:
                await access.credentials.add(name, token, by=GATEWAY)
            except Conflict:  # another gateway that starts just now was faster
                await _renew(access, name, token)


async def _renew(access: Access, name: str, token: Secret) -> None:
    """NotFound where there is no such credential."""
    if (await access.credentials.unlock(name)).token != token:
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
