"""`serve`: runs the gateway until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import resource
import shlex
import signal
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from claude_code_api.environment import start_again_without
from claude_code_api.operations.own_process import keep_to_itself
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, load, secret_variables

if TYPE_CHECKING:
    from claude_code_api.application import Running


def serve(
    data_dir: Annotated[Path | None, typer.Option(help="Directory for everything that is kept.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port for HTTP; 0 takes a free one.")] = None,
    https_port: Annotated[int | None, typer.Option(help="Port for HTTPS; 0 takes a free one.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM) instead of a self-signed one.")] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of the certificate (PEM).")] = None,
) -> None:
    """Run the gateway until Ctrl+C or SIGTERM. SIGHUP has the certificate read again.

    Example: claude-code-api serve --port 8000 --data-dir ./data
    """
    start_again_without(secret_variables())
    keep_to_itself()
    settings = load(data_dir=data_dir, host=host, port=port, https_port=https_port, cert=cert, key=key)
    from claude_code_api.operations import logs

    logs.configure(settings.log_level, settings.log_format, sys.stderr)
    _allow_descriptors()
    import uvloop

    uvloop.run(_serve(settings))


def _allow_descriptors() -> None:
    """As many open files as the system lets us have: each connection and each process takes some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(settings: Settings) -> None:
    from claude_code_api.application import running

    stop = asyncio.Event()
    reloading: deque[asyncio.Task[None]] = deque(maxlen=8)  # a task that nobody holds may be collected
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as gateway:
        server = gateway.server
        loop.add_signal_handler(signal.SIGHUP, lambda: reloading.append(loop.create_task(server.reload_certificate())))
        print(f"Claude Code API is ready: {server.http_url} and {server.https_url}", flush=True)
        for line in await _advice(gateway, settings):
            print(line, file=sys.stderr)
        await stop.wait()
        print("Stopping; running answers may end first.", file=sys.stderr)


async def _advice(gateway: Running, settings: Settings) -> list[str]:
    """What to know and what to do next, for the person at the terminal."""
    from claude_code_api.access.names import GATEWAY

    lines = []
    certificate = gateway.server.certificate
    if certificate is not None and certificate.self_signed:
        lines += [
            "The certificate is self-signed:",
            f"  SHA-256 fingerprint  {certificate.fingerprint}",
            f"  public-key pin       {certificate.pin}",
        ]
    if counts_alone(settings):
        lines += ["Limits are counted by this gateway alone; with the setting redis_url, all gateways count together."]
    command = f"{_command()}{{}} --data-dir {shlex.quote(str(settings.data_dir))}"
    credentials = await gateway.access.credentials.list()
    if not credentials:
        lines += [
            "Next, store a token (asked for, never on the command line):",
            "  " + command.format(" credentials add main"),
        ]
    if not (await gateway.access.keys.page(limit=1)).total:
        name = credentials[0].name if credentials else "main"
        lines += [
            "Next, make a key for a program:",
            "  " + command.format(f" keys create my-program --credential {shlex.quote(name)}"),
        ]
    if token := await gateway.access.administrators.new_setup_token(by=GATEWAY):
        lines += [
            "Next, make yourself the owner in the web interface, by a link that works once and within an hour:",
            f"  {setup_link(settings, gateway.server.https_url, token)}",
            "or here:",
            "  " + command.format(" admin set-password"),
        ]
    lines += ["Programs then use", f"  OPENAI_BASE_URL={gateway.server.http_url}/v1  OPENAI_API_KEY=sk-…"]
    return lines


def counts_alone(settings: Settings) -> bool:
    """Whether other gateways may share the database, but not the limits."""
    url = settings.database_url
    return url is not None and url.reveal().startswith("postgres") and settings.redis_url is None


def setup_link(settings: Settings, https_url: str, token: Secret, page: str = "setup") -> str:
    """The token stands behind `#`, which a browser sends to nobody: so no log, proxy or referrer gets it."""
    public = settings.public_url if settings.public_url and settings.public_url.startswith("https:") else https_url
    return f"{public}/admin/{page}#token={token.reveal()}"


def _command() -> str:
    """How this program was called, so that the lines above can be copied."""
    if Path(sys.argv[0]).name == "claude-code-api":
        return "claude-code-api"
    return f"{os.path.relpath(sys.executable)} -m claude_code_api"
