"""The soak: thousands of requests of every kind, faults among them, through a gateway that really runs (`make soak`).

Checks that each is answered, or fails as it was made to; that no conversation meets another; that no process, no
descriptor, no file is left over; and that the gateway does not grow. Exits with 1 where a bound is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import psutil

from bench.parties import imports_only, stand_in
from bench.soak_requests import KINDS, MARK, Outcome, Program, drawn
from claude_code_api.access import Access
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.stand_in import oauth_token

ROOT = Path(__file__).resolve().parents[1]
REQUESTS = 10_000
MINUTES = 30
AT_ONCE = 4
WARM_UP = 200  # requests, before descriptors and files are counted
GROWN_FROM = 1_000  # requests, from which on memory is not to grow
MOST_ABOVE_IMPORTS = 60.0  # MB
MOST_GROWTH = 5.0  # MB
PROGRESS = 500  # requests
DYING = 1.0  # seconds; a process that was sent its end may still be given a request, whose client is told
SETTLED = 90.0  # seconds; the gateway looks for processes that died every 30
SPARES = 2  # one for each credential
SETTINGS = {"rate_limit_per_ip": "off", "retries": 0, "max_processes": 8, "spare_processes": 1, "log_level": "warning"}


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    arguments.add_argument("--requests", type=int, default=REQUESTS)
    arguments.add_argument("--minutes", type=float, default=MINUTES, help="when it is given up")
    given = arguments.parse_args()
    faults = asyncio.run(soak(given.requests, given.minutes * 60))
    print("\n".join(f"BROKEN: {fault}" for fault in faults) or "All bounds are kept.")
    return 1 if faults else 0


async def soak(requests: int, seconds: float) -> list[str]:
    """What was broken."""
    run = Run(requests, time.monotonic() + seconds)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        directory = Path(name)
        async with stand_in() as upstream:
            keys = await prepared(directory, upstream)
            async with gateway(directory, upstream) as (process, url):
                await run.ask(WARM_UP, url, upstream, keys, process)
                await run.settle(process, directory, base=True)
                await run.ask(requests, url, upstream, keys, process)
                await run.settle(process, directory)
                await run.judge()
            run.check(process.returncode == 0, f"the gateway ended with {process.returncode}")
            left = [one.pid for one in psutil.process_iter() if name in environment_of(one)]
            run.check(not left, f"processes outlived the gateway: {left}")
            run.check(not list((directory / "tmp").iterdir()), "temporary files outlived the gateway")
            print((directory / "stderr").read_text()[-2000:], file=sys.stderr, end="")
    return run.broken


class Run:
    """One soak: what was asked, measured and found broken so far."""

    def __init__(self, requests: int, deadline: float) -> None:
        self.broken: list[str] = []
        self.memory: dict[int, float] = {}
        self._asked = 0
        self._conversations = 0
        self._began = time.monotonic()
        self._deadline = deadline
        self._ends: Counter[str] = Counter()
        self._killed: list[float] = []
        self._chance = random.Random(requests)
        self._base: tuple[int, int] | None = None
        self._files: set[str] = set()

    def check(self, kept: object, broken: str) -> None:
        if not kept:
            self.broken.append(broken)

    async def ask(
        self, until: int, url: str, upstream: str, keys: list[str], process: asyncio.subprocess.Process
    ) -> None:
        """Asks on, several at once, until so many requests were made in all."""
        gateway = psutil.Process(process.pid)
        async with aiohttp.ClientSession() as http:
            programs = [Program(http, url, key) for key in keys]
            await asyncio.gather(
                *(self._ask(program, until, gateway) for program in programs),
                self._watch(until, gateway, http, upstream),
            )
            await self._check_upstream(http, upstream)

    async def _ask(self, program: Program, until: int, gateway: psutil.Process) -> None:
        while self._asked < until and time.monotonic() < self._deadline:
            name = drawn(self._chance)
            kind = KINDS[name]
            self._conversations += 1
            mark = f"mark-{self._conversations}-end"
            if kind.kills:
                self._kill_one(gateway)
            began = time.monotonic()
            async for expected, outcome in program.ask(kind, mark):
                self._asked += 1
                self._judge(name, expected, outcome, mark, began)
                if outcome.end != expected:
                    break

    def _kill_one(self, gateway: psutil.Process) -> None:
        with suppress(psutil.Error, IndexError):
            self._chance.choice(claudes(gateway)).kill()
            self._killed.append(time.monotonic())

    def _judge(self, name: str, expected: str, outcome: Outcome, mark: str, began: float) -> None:
        self._ends[outcome.end] += 1
        others = set(MARK.findall(outcome.text)) - {mark}
        self.check(not others, f"a client read {others} in the answer to {mark}")
        killed = outcome.end == "upstream_error" and any(moment >= began - DYING for moment in self._killed[-50:])
        self.check(outcome.end == expected or killed, f"{name}: {outcome.end} instead of {expected}")

    async def _watch(self, until: int, gateway: psutil.Process, http: aiohttp.ClientSession, upstream: str) -> None:
        """Tells of the progress, measures, and looks at what went upstream, which keeps only the newest requests."""
        told = self._asked // PROGRESS
        while self._asked < until:
            if time.monotonic() > self._deadline:
                self.check(False, f"only {self._asked} requests were made in the time")
                return
            await asyncio.sleep(0.2)
            if self._asked // PROGRESS == told:
                continue
            told = self._asked // PROGRESS
            self.memory[told * PROGRESS] = megabytes(gateway)
            await self._check_upstream(http, upstream)
            seconds = time.monotonic() - self._began
            print(
                f"{self._asked} requests in {seconds:.0f} s; gateway {megabytes(gateway):.1f} MB, "
                f"{gateway.num_fds()} descriptors, {len(claudes(gateway))} processes; {len(self.broken)} broken",
                flush=True,
            )

    async def _check_upstream(self, http: aiohttp.ClientSession, upstream: str) -> None:
        async with http.delete(f"{upstream}/stand-in/requests") as response:
            for request in await response.json():
                marks = set(MARK.findall(str(request["body"])))
                self.check(len(marks) <= 1, f"{marks} went upstream in one request")

    async def settle(self, process: asyncio.subprocess.Process, directory: Path, *, base: bool = False) -> None:
        """Has every process replaced by a spare, and compares what is then open, running and on disk."""
        gateway = psutil.Process(process.pid)
        for claude in claudes(gateway):
            with suppress(psutil.Error):
                claude.kill()
        deadline = time.monotonic() + SETTLED
        counts = (10**6, 10**6)
        files: set[str] = set()
        running: list[psutil.Process] = []
        while time.monotonic() < deadline:
            await asyncio.sleep(1)
            running = gateway.children(recursive=True)
            before, files = files, {str(f.relative_to(directory)) for f in directory.rglob("*") if f.suffix != ".lock"}
            if files != before:
                continue  # spares still write what they have in their homes
            # Locks that a killed program held stay there, one at most for each of its files.
            counts = gateway.num_fds(), len(files)
            if len(running) == SPARES and (self._base is None or all(map(int.__le__, counts, self._base))):
                break
        self.check(len(running) == SPARES, f"{len(running)} processes are left where {SPARES} spares are due")
        orphans = [
            one.pid
            for one in psutil.process_iter()
            if str(directory) in environment_of(one) and one.pid != process.pid and one not in running
        ]
        self.check(not orphans, f"processes that nobody waits for: {orphans}")
        zombies = [one.pid for one in running if one.status() == psutil.STATUS_ZOMBIE]
        self.check(not zombies, f"zombies: {zombies}")
        print(f"settled: {counts[0]} descriptors, {counts[1]} files, {len(running)} processes", flush=True)
        if base:
            self._base, self._files = counts, files
        elif self._base is not None:
            for what, now, then in zip(("descriptors", "files"), counts, self._base, strict=True):
                new = sorted(files - self._files) if what == "files" else ""
                self.check(now <= then, f"{now} {what} where {then} were {new}")

    async def judge(self) -> None:
        async with imports_only() as pid:
            imports = megabytes(psutil.Process(pid))
        most = max(self.memory.values(), default=0.0)
        print(f"outcomes: {dict(self._ends.most_common())}")
        print(
            f"memory: {imports:.1f} MB imports; at most {most:.1f} MB; "
            + ", ".join(f"{at}: {mb:.1f}" for at, mb in self.memory.items())
        )
        self.check(most - imports <= MOST_ABOVE_IMPORTS, f"{most - imports:.1f} MB above the imports")
        later = [mb for at, mb in self.memory.items() if at > GROWN_FROM]
        if GROWN_FROM in self.memory and later:
            growth = later[-1] - self.memory[GROWN_FROM]
            print(f"growth from request {GROWN_FROM}: {growth:.1f} MB")
            self.check(growth <= MOST_GROWTH, f"grew by {growth:.1f} MB")


# --- the parts ------------------------------------------------------------------------------------------


async def prepared(directory: Path, upstream: str) -> list[str]:
    """A data directory with two credentials; a key for each program."""
    settings = given_only(data_dir=directory / "data", anthropic_base_url=upstream)
    async with Access.open(settings, migrate=True) as access:
        for name in ("anna", "bert"):
            await access.credentials.add(name, Secret(oauth_token(name)))
        made = [await access.keys.create(f"program {n}", ("anna", "bert")[n % 2]) for n in range(AT_ONCE)]
    return [key.reveal() for _, key in made]


@asynccontextmanager
async def gateway(directory: Path, upstream: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`serve` as a process with an environment of its own; gives it and its URL."""
    (directory / "tmp").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(directory / "tmp"),
        "ANTHROPIC_BASE_URL": upstream,
        **{f"CCAPI_{name.upper()}": str(value) for name, value in SETTINGS.items()},
    }
    command = [sys.executable, "-m", "claude_code_api", "serve", "--port", "0", "--https-port", "0", "--data-dir"]
    with (directory / "stderr").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, str(directory / "data"), env=environment, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    try:
        assert process.stdout is not None
        ready = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        yield process, ready.partition("ready: ")[2].split()[0]
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)


def megabytes(process: psutil.Process) -> float:
    """Resident memory: what is shared counts here and for the imports alike."""
    return float(process.memory_info().rss) / 2**20


def claudes(gateway: psutil.Process) -> list[psutil.Process]:
    """The Claude Code processes that it has now, not those that are about to become one."""
    found = []
    for child in gateway.children():
        with suppress(psutil.Error):
            if Path(child.exe()).name == "claude":
                found.append(child)
    return found


def environment_of(process: psutil.Process) -> str:
    try:
        return str(process.environ())
    except psutil.Error:
        return ""


if __name__ == "__main__":
    sys.exit(main())
