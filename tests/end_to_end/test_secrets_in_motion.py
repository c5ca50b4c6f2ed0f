"""Secrets given in the environment of `serve` leave it, and no crash brings them back (policy T3)."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from canaries import Search, canary
from gateways import GatewayProcess, is_claude, until
from redis_server import RedisServer

from claude_code_api.access.key_sources import KeyFile
from claude_code_api.secret import Secret
from claude_code_api.stand_in import StandIn, script

pytestmark = [
    pytest.mark.policy("T3"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

# What pip makes of the console script.
SCRIPT = f"""#!{sys.executable}
import sys
from claude_code_api.cli import main
if __name__ == "__main__":
    sys.exit(main())
"""


class Secretive(GatewayProcess):
    """A gateway with a secret in every variable that may hold one, started as a module or as the console script."""

    def __init__(self, way: str, directory: Path, upstream: str, redis: RedisServer) -> None:
        given = {"spare_processes": 1, "stop_grace": 1, "log_level": "debug", "rate_limit_per_ip": "1000/hour"}
        super().__init__(directory, upstream, **given)
        self.marks = {name: canary() for name in ("oauth", "api key", "master key", "password", "unread")}
        self.marks["redis"] = redis.password
        key = self.marks["master key"] + canary()[:19]  # with the last sign, 32 bytes in base64
        self.environment |= {
            "CLAUDE_CODE_OAUTH_TOKEN": f"sk-ant-oat01-{self.marks['oauth']}{canary()}",
            "CCAPI_ANTHROPIC_API_KEY": f"sk-ant-api03-{self.marks['api key']}{canary()}",
            "ADMIN_PASSWORD": self.marks["password"],
            "REDIS_URL": redis.url,
            "ANTHROPIC_API_KEY": self.marks["unread"],  # the other name comes first
            "KNOWN": "canary-that-is-no-secret",
            "PYTHONFAULTHANDLER": "1",
        }
        if way == "script":
            self.environment["CCAPI_MASTER_KEY"] = key + "="
            self.settings = self.settings.model_copy(update={"master_key": Secret(key + "=")})
        self.script = directory / "claude-code-api"
        self.script.write_text(SCRIPT)
        self.script.chmod(0o700)
        self.way = way

    def command(self) -> list[str]:
        whole = super().command()
        return whole if self.way == "module" else [str(self.script), *whole[3:]]

    def proc(self, name: str, pid: int | None = None) -> bytes | None:
        """A file of the kernel's about the process; None where it is kept from us, as we are not root."""
        try:
            return Path(f"/proc/{pid or self.pid}/{name}").read_bytes()
        except PermissionError:
            return None


@pytest.fixture(scope="module", params=["module", "script"])
def gateway(
    request: pytest.FixtureRequest,
    _stand_in_server: StandIn,
    _redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Secretive]:
    directory = tmp_path_factory.mktemp("secretive")
    gateway = Secretive(request.param, directory, _stand_in_server.url, _redis_server.made_ready())
    with gateway.started():
        until(gateway.claudes)
        yield gateway


def ask(gateway: Secretive, key: str, text: str) -> Any:
    with gateway.client(key) as client:
        messages: Any = [{"role": "user", "content": script(text=text)}]
        return client.chat.completions.create(model="haiku", messages=messages).choices[0].message.content


def test_nothing_of_the_process_shows_them(gateway: Secretive) -> None:
    environ = gateway.proc("environ")
    if os.geteuid() == 0:
        assert environ is not None
        assert b"KNOWN=canary-that-is-no-secret" in environ
    search = Search(gateway.marks)
    children = [claude.pid for claude in gateway.claudes()]
    assert children
    for pid in (gateway.pid, *children):
        for name in ("environ", "cmdline", "stat", "status", "comm"):
            search.look(gateway.proc(name, pid) or b"", f"{name} of {pid}")
    search.look_into([gateway.directory])
    assert search.found == set()


def test_no_memory_file_stays_open(gateway: Secretive) -> None:
    with suppress(PermissionError):  # kept from all but root
        descriptors = [os.readlink(fd) for fd in Path(f"/proc/{gateway.pid}/fd").iterdir()]
        assert len(descriptors) > 3
        assert not [name for name in descriptors if "memfd" in name]


def test_the_process_is_the_one_that_was_started_and_its_output_begins_with_the_line(gateway: Secretive) -> None:
    assert gateway.is_running
    assert (gateway.settings.data_dir / "server.lock").read_text() == f"{gateway.pid}\n"
    assert gateway.output.read_text().startswith("Claude Code API is ready: http://")
    assert len(gateway.output.read_text().splitlines()) == 1


def test_it_keeps_to_itself(gateway: Secretive) -> None:
    assert re.search(rb"Max core file size +([01]) +\1 ", gateway.proc("limits") or b"")
    assert os.geteuid() == 0 or gateway.proc("environ") is None


def test_what_was_given_is_in_use(gateway: Secretive) -> None:
    records = gateway.access(lambda access: access.credentials.list())
    assert [(record.name, record.kind) for record in records] == [("default", "oauth"), ("default-api", "api_key")]
    assert (gateway.settings.data_dir / "master.key").exists() is (gateway.way == "module")


@pytest.mark.policy("T2")
@pytest.mark.parametrize("gateway", ["module"], indirect=True)  # the other one's master key is the operator's to change
def test_the_master_key_is_rotated_while_it_answers(gateway: Secretive, stand_in: StandIn) -> None:
    key = gateway.access(lambda access: access.keys.create("program", "default"))[1].reveal()
    messages: Any = [{"role": "user", "content": script(tokens=30, pause=0.05)}]
    with (
        gateway.client(key) as client,
        client.chat.completions.create(model="haiku", messages=messages, stream=True) as chunks,
    ):
        next(iter(chunks))
        done = gateway.access(lambda access: access.rotate_master_key())
        assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    other = gateway.access(lambda access: access.keys.create("other", "default"))[1].reveal()
    assert ask(gateway, other, "After it") == "After it"  # the credential was opened anew: keys have changed
    assert ask(gateway, key, "As before") == "As before"
    keyring = KeyFile(gateway.settings.master_key_path).load()
    assert keyring is not None
    assert keyring.ids == [done.master_key_id, *done.older_ids]
    assert len(keyring.ids) == 2


def test_a_crash_tells_none_of_them(gateway: Secretive) -> None:
    """The last test of this gateway. Python's own report of a fatal signal, what is left on disk, and no core."""
    claudes = gateway.claudes()
    assert gateway.end(signal.SIGABRT) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in gateway.errors.read_text()
    until(lambda: not any(claude.is_running() and is_claude(claude) for claude in claudes))
    search = Search(gateway.marks)
    search.look_into([gateway.directory])
    assert search.found == set()
    assert not list(gateway.directory.rglob("core*"))


def test_a_start_that_fails_tells_none_of_them(tmp_path: Path, stand_in: StandIn, redis: RedisServer) -> None:
    gateway = Secretive("module", tmp_path / "failing", stand_in.url, redis)
    gateway.environment["CCAPI_ANTHROPIC_API_KEY"] = f"sk-ant-oat01-{gateway.marks['api key']}{canary()}"
    gateway.run()
    assert gateway.process
    assert gateway.process.wait(30) == 1
    (line,) = [line for line in gateway.errors.read_text().splitlines() if not line.startswith("{")]
    assert line.startswith("The setting anthropic_api_key holds no Anthropic API key")
    search = Search(gateway.marks)
    search.look_into([gateway.directory])
    assert search.found == set()
