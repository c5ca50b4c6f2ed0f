"""Gateways that really run: in a thread with a loop of its own, or as the process that `serve` is."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import openai
import psutil
import uvloop

from claude_code_api.access import Access
from claude_code_api.application import Running, running
from claude_code_api.errors import NotFound
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, load
from claude_code_api.stand_in import oauth_token

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
READY = re.compile(r"Claude Code API is ready: (http://\S+) and (https://\S+)")


def until(condition: Callable[[], T], seconds: float = 10.0, *, every: float = 0.01) -> T:
    """What the condition gives as soon as it is true; an AssertionError when it is not within the time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(every)
    return value


class Gateway:
    """What tests use of a gateway, however it runs."""

    http_url: str
    https_url: str

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def key(self, credential: str = "anna", *, token: str | None = None, **limits: Any) -> str:
        """A new API key on a credential, which is stored if there is none of that name."""
        return self.access(
            lambda access: _new_key(access, credential, Secret(token or oauth_token(credential)), limits)
        )

    def access(self, use: Callable[[Access], Coroutine[Any, Any, T]]) -> T:
        """What `use` gives, as another process on the same data directory does it (the command line)."""

        async def opened() -> T:
            async with Access.open(self.settings) as access:
                return await use(access)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, opened()).result()

    def client(self, key: str, **options: Any) -> openai.OpenAI:
        """The official client, which the caller closes. It leaves retries to nobody."""
        return openai.OpenAI(**{"base_url": f"{self.http_url}/v1", "api_key": key, "max_retries": 0, **options})

    def async_client(self, key: str, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**{"base_url": f"{self.http_url}/v1", "api_key": key, "max_retries": 0, **options})

    def tls(self) -> ssl.SSLContext:
        """Trusts the gateway's own certificate, and nothing else."""
        (certificate,) = [
            path for path in self.settings.data_dir.rglob("*.pem") if b"BEGIN CERTIFICATE" in path.read_bytes()
        ]
        return ssl.create_default_context(cafile=certificate)


StartGateway = Callable[..., AbstractContextManager[Gateway]]


async def _new_key(access: Access, name: str, token: Secret, limits: dict[str, Any]) -> str:
    try:
        await access.credentials.get(name)
    except NotFound:
        await access.credentials.add(name, token)
    _, key = await access.keys.create(f"program of {name}", name, **limits)
    return key.reveal()


# --- in a thread ----------------------------------------------------------------------------------------


@contextmanager
def in_thread(settings: Settings) -> Iterator[Gateway]:
    """Runs in this process, in a thread of its own: a test that blocks does not block the gateway."""
    gateway = Gateway(settings)
    started = threading.Event()
    failure: list[BaseException] = []
    stop: list[Callable[[], Any]] = []

    async def serve() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        async with running(settings) as parts:
            _tell(gateway, parts)
            started.set()
            await ended.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            failure.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="gateway", daemon=True)
    thread.start()
    started.wait()
    try:
        if not failure:
            yield gateway
    finally:
        if not failure:
            stop[0]()
        thread.join()
        if failure:
            raise failure[0]


def _tell(gateway: Gateway, parts: Running) -> None:
    gateway.http_url, gateway.https_url = parts.server.http_url, parts.server.https_url


# --- as a process ---------------------------------------------------------------------------------------


class GatewayProcess(Gateway):
    """`claude-code-api serve` in a directory of its own, with nothing of our environment.

    `output` and `errors` are the files that its standard output and standard error go to, `temporary` is the
    directory for its temporary files.
    """

    def __init__(self, directory: Path, upstream: str, **fields: Any) -> None:
        given = {"spare_processes": 0, "retries": 0, "rate_limit_per_ip": "off", **fields}
        super().__init__(load(data_dir=directory / "data", anthropic_base_url=upstream, **given))
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.output, self.errors = directory / "stdout", directory / "stderr"
        self.temporary = directory / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")},
            **{f"CCAPI_{name.upper()}": str(value) for name, value in given.items()},
            "ANTHROPIC_BASE_URL": upstream,
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "claude_code_api", "serve",
            "--port", "0", "--https-port", "0", "--data-dir", str(self.settings.data_dir),
        ]  # fmt: skip

    @contextmanager
    def started(self) -> Iterator[GatewayProcess]:
        """Runs until the block ends, and is then stopped as an operator stops it, if it still runs."""
        self.start()
        try:
            yield self
        finally:
            self.end()

    def run(self) -> None:
        with self.output.open("wb") as output, self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command(), env=self.environment, cwd=self.directory, stdout=output, stderr=errors
            )

    def start(self) -> None:
        """Runs it, and waits until it says that it is ready."""
        self.run()
        told = until(lambda: READY.search(self.output.read_text()) or not self.is_running, 30)
        assert not isinstance(told, bool), self.errors.read_text()
        self.http_url, self.https_url = told[1], told[2]

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Its exit status after the signal."""
        assert self.process
        self.process.send_signal(number)  # one that has ended is sent none
        return self.process.wait(seconds)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def claudes(self) -> list[psutil.Process]:
        """The Claude Code processes that it has now."""
        return [child for child in psutil.Process(self.pid).children(recursive=True) if is_claude(child)]


def is_claude(process: psutil.Process) -> bool:
    """Whether it has become the program: before, it is the launcher."""
    try:
        return Path(process.cmdline()[0]).name == "claude"
    except (psutil.Error, IndexError):
        return False


def has_ended(process: psutil.Process) -> bool:
    """One that nobody has waited for yet has ended too: it does nothing any more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
