"""What `doctor` looks at. Each check tells what it found, and how to mend what is wrong; none changes anything."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shlex
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import claude_agent_sdk
import msgspec
from claude_agent_sdk._cli_version import __cli_version__ as program_version

from claude_code_api import environment
from claude_code_api.access import Access, Administrator, CredentialRecord
from claude_code_api.access.key_sources import key_source
from claude_code_api.cli import admin, credentials
from claude_code_api.engines.claude_code import sandbox
from claude_code_api.engines.claude_code.program import bundled_program
from claude_code_api.errors import Failure
from claude_code_api.operations.alerts import Alerts
from claude_code_api.operations.redaction import redact
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, secret_variables
from claude_code_api.storage.data_directory import server_process
from claude_code_api.storage.migrations import HEAD
from claude_code_api.surface.shared_counters import place, shared_counters
from claude_code_api.surface.tls import load_certificate

SDK_VERSION = "0.2.187"
"""The one that `pyproject.toml` pins; the contract tests judge the program that its wheel carries."""
PROGRAM_TIMEOUT = 20.0
"""Seconds that the program may take to tell its version."""
WARNED_BEFORE_END = timedelta(days=30)
"""How long before its end a certificate is pointed out (policy N2)."""


class Finding(msgspec.Struct, frozen=True):
    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    remedy: str | None = None


def examine(settings: Settings) -> list[Finding]:
    """All checks, in the order in which one mends things."""
    findings: list[Finding] = []
    for check in (
        python,
        sdk,
        program,
        sandboxed,
        data_directory,
        master_key,
        secrets_in_the_environment,
        stored,
        redis,
        certificate,
        ports,
        changed_settings,
    ):
        try:
            findings.extend(check(settings))
        except Failure as failure:
            findings.append(Finding(check.__name__.replace("_", " "), "fail", failure.message))
    return findings


def python(_: Settings) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()}, {sys.executable}")


def sdk(_: Settings) -> Iterator[Finding]:
    found = claude_agent_sdk.__version__
    if found == SDK_VERSION:
        yield Finding("sdk", "ok", f"claude-agent-sdk {found}")
    else:
        yield Finding(
            "sdk", "warn", f"claude-agent-sdk {found}; this release was tested with {SDK_VERSION} alone.",
            f"Run `{shlex.quote(sys.executable)} -m pip install claude-agent-sdk=={SDK_VERSION}`.",
        )  # fmt: skip


def program(settings: Settings) -> Iterator[Finding]:
    path = settings.claude_code_path or bundled_program()
    mend = (
        "Correct the setting claude_code_path, or leave it out."
        if settings.claude_code_path
        else f"Install the SDK again: `{shlex.quote(sys.executable)} -m pip install --force-reinstall "
        f"claude-agent-sdk=={SDK_VERSION}`."
    )
    try:
        with tempfile.TemporaryDirectory() as home:
            own = {**environment.inherited(), "HOME": home, "CLAUDE_CONFIG_DIR": home}
            ran = subprocess.run(
                [path, "--version"], env=own, cwd=home, capture_output=True, timeout=PROGRAM_TIMEOUT, check=True
            )
    except FileNotFoundError:
        yield Finding("program", "fail", f"There is no Claude Code program at {path}.", mend)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("program", "fail", f"The Claude Code program {path} does not run: {error}", mend)
    else:
        found = ran.stdout.decode(errors="replace").strip()
        if found.split(" ")[0] == program_version:
            yield Finding("program", "ok", f"{found}, {path}")
        else:
            message = (
                f"{path} is {found or 'of unknown version'}; this release was tested with {program_version} alone."
            )
            yield Finding("program", "warn", message, mend)


def sandboxed(settings: Settings) -> Iterator[Finding]:
    """The lock around Claude Code: that it could read what it has no business with, even if it went wrong."""
    found = sandbox.version()
    if settings.sandbox != "off" and found >= sandbox.WITH_PORTS:
        yield Finding("sandbox", "ok", f"Landlock {found}: Claude Code reaches its own directories and Anthropic alone")
    elif settings.sandbox != "off" and found:
        yield Finding(
            "sandbox", "warn", f"Landlock {found}: Claude Code reaches its own files alone, but any address.",
            "Linux 6.7 or later locks its connections, too.",
        )  # fmt: skip
    elif settings.claude_code_user:
        yield Finding("sandbox", "ok", f"Claude Code runs as {settings.claude_code_user}, who cannot read the data")
    else:
        yield Finding(
            "sandbox", "warn", "Nothing locks Claude Code in: gone wrong, it could read all that this user may.",
            "Use Linux 5.13 or later with the setting sandbox, or start as root with claude_code_user.",
        )  # fmt: skip


def data_directory(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir.absolute()
    if re.search("[\ud800-\udfff]", str(path)):  # as Python stands for a byte that is no text
        yield Finding("data directory", "fail", f"The path {path} is not UTF-8.", "Choose another with --data-dir.")
    elif not path.exists():
        yield Finding("data directory", "warn", f"{path} is not there yet.", "`serve` makes it.")
    elif not path.is_dir():
        yield Finding("data directory", "fail", f"{path} is no directory.", "Choose another with --data-dir.")
    elif path.stat().st_uid != os.geteuid():
        yield Finding("data directory", "fail", f"{path} belongs to another user.", "Run this as that user.")
    elif path.stat().st_mode & 0o066:
        yield Finding(
            "data directory", "fail", f"Others may look into {path} ({stat.filemode(path.stat().st_mode)}).",
            f"Run `chmod 700 {shlex.quote(str(path))}`.",
        )  # fmt: skip
    else:
        yield Finding("data directory", "ok", f"{path}, private")


def master_key(settings: Settings) -> Iterator[Finding]:
    keyring = key_source(settings).load()
    if settings.master_key or settings.master_key_command:
        where = "setting master_key" if settings.master_key else "command"
        yield Finding("master key", "ok", f"from the {where}; keep a copy apart, stored tokens are lost without it")
        return
    path = settings.master_key_path.absolute()
    if keyring is None:
        yield Finding("master key", "warn", f"There is none at {path} yet.", "The first start makes one.")
    elif path.resolve().is_relative_to(settings.data_dir.resolve()):
        yield Finding(
            "master key", "warn", f"{path} lies in the data directory: who copies that has the key to the tokens.",
            "Move it to another directory, and name it there in the setting master_key_file.",
        )  # fmt: skip
    else:
        yield Finding("master key", "ok", f"{path}; keep a copy apart, stored tokens are lost without it")


def secrets_in_the_environment(_: Settings) -> Iterator[Finding]:
    given = environment.variables()
    for variable in sorted(name for name in secret_variables() if given.get(name)):
        yield Finding(
            "environment", "warn",
            f"{variable} is set here. `serve` takes it out of its own environment; whatever has set it keeps it.",
            f"Give it as {variable}_FILE, the path of a file that only the gateway's user may read.",
        )  # fmt: skip


def stored(settings: Settings) -> Iterator[Finding]:
    """The database and what is in it. Opening makes what is missing, so it is opened only where all is there."""
    path = settings.data_dir
    if not path.is_dir() or not (settings.database_url or (path / "gateway.db").exists()):
        yield Finding("database", "warn", "There is none yet.", "`serve` makes it.")
        return
    try:
        if path.stat().st_mode & 0o066 or key_source(settings).load() is None:
            mend = "First mend the data directory and the master key."
            yield Finding("database", "warn", "It was not looked at.", mend)
            return
        administrators, records, unfinished = asyncio.run(_read(settings))
    except Failure as failure:
        yield Finding("database", "fail", failure.message)
        return
    yield Finding("database", "ok", f"version {HEAD}, and the master key is the right one")
    if unfinished:
        mend = "`claude-code-api vault rotate` goes on with it."
        yield Finding("rotation", "warn", f"{unfinished} records are not under the newest master key.", mend)
    if not records:
        mend = "`claude-code-api credentials add NAME` stores one."
        yield Finding("credentials", "warn", "None is stored, so no request can be answered.", mend)
    for record in records:
        yield _credential(record)
    if not administrators:
        mend = "`claude-code-api admin set-password` makes the owner."
        yield Finding("administrators", "warn", "There is none yet.", mend)
    for administrator in administrators:
        yield _administrator(administrator)


async def _read(settings: Settings) -> tuple[list[Administrator], list[CredentialRecord], int]:
    """Administrators, credentials, and how many records an unfinished rotation has left."""
    async with Access.open(settings) as access:
        unfinished = await access.unfinished_rotation()
        return await access.administrators.list(), await access.credentials.list(), unfinished


def _administrator(administrator: Administrator) -> Finding:
    message = f"{administrator.name} ({administrator.role}): password {admin.age(administrator)}"
    mend = f"`claude-code-api admin set-password --name {shlex.quote(administrator.name)}` sets another."
    old = administrator.is_reminded
    return Finding("administrator", "warn" if old else "ok", message, mend if old else None)


def _credential(record: CredentialRecord) -> Finding:
    state = credentials.state(record)
    message = f"{record.name}: {credentials.KINDS[record.kind]} …{record.hint}, {state}"
    if record.refused_at:
        mend = f"`claude-code-api credentials replace {shlex.quote(record.name)}` takes a new token."
        return Finding("credential", "fail", message, mend)
    if state != "ready":
        return Finding("credential", "warn", message, "Wait, or use another credential for some keys.")
    return Finding("credential", "ok", message)


def redis(settings: Settings) -> Iterator[Finding]:
    """Redis is counted in once, for a second, as at the start: it may answer and yet refuse that."""
    if settings.redis_url:
        asyncio.run(_try_redis(settings))
        yield Finding("redis", "ok", f"{place(settings.redis_url)}: limits outlive a restart, and are shared")


async def _try_redis(settings: Settings) -> None:
    async with shared_counters(settings, Alerts()):
        pass


def certificate(settings: Settings) -> Iterator[Finding]:
    given = settings.cert
    own = settings.data_dir / "tls" / "certificate.pem"
    if not given and not own.exists():
        yield Finding("certificate", "ok", "A self-signed one is made at the first start.")
        return
    # Read as one that was given: ours would otherwise be made anew, and nothing is to change here.
    paths = {} if given else {"cert": own, "key": own.with_name("key.pem")}
    try:
        served = load_certificate(settings.model_copy(update=paths))
    except Failure as failure:
        if given:
            raise
        yield Finding("certificate", "warn", failure.message, "The next start makes another one.")
        return
    message = f"for {', '.join(served.names)}; ends on {served.ends_at:%Y-%m-%d}"
    if not given:
        yield Finding("certificate", "ok", f"self-signed, {message}, and is renewed before")
    elif served.ends_at - datetime.now(UTC) < WARNED_BEFORE_END:
        yield Finding("certificate", "warn", message, "Renew it.")
    else:
        yield Finding("certificate", "ok", message)


def ports(settings: Settings) -> Iterator[Finding]:
    server = server_process(settings.data_dir / "server.lock")
    for name, port in (("port", settings.port), ("https_port", settings.https_port)):
        where = f"{settings.host}, port {port}"
        fault = _cannot_bind(settings.host, port)
        if fault is None:
            yield Finding(name, "ok", f"{where} is free")
        elif server:
            yield Finding(name, "ok", f"{where}: the server of this data directory runs (process {server})")
        else:
            flag = name.replace("_", "-")
            mend = f"End the program that uses it, or choose another with `serve --{flag}`."
            yield Finding(name, "fail", f"{where} cannot be used: {fault}.", mend)


def _cannot_bind(host: str, port: int) -> str | None:
    """Why the port is not to be had, None where it is."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def changed_settings(settings: Settings) -> Iterator[Finding]:
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if value != field.get_default(call_default_factory=True):
            shown = str(value) if isinstance(value, Secret) else redact(str(value))
            yield Finding("setting", "ok", f"{name} = {shown}")
