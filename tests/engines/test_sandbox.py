"""Even a program gone wrong reaches its own directories and Anthropic alone: a stranger in its place tries the rest."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from making import answer, chat, oauth

from claude_code_api.engines.claude_code import ClaudeCode, sandbox
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.errors import OperatorFailure
from claude_code_api.settings import Settings

LAUNCH = Path(sandbox.__file__).with_name("launch.py")
PYTHON = os.path.realpath(sys.executable)

STRANGER = """
import json, os, signal, socket, subprocess, sys
tries = json.loads(sys.argv[1])
def attempt(kind, *what):
    try:
        if kind == "read": open(what[0], "rb").read(1)
        elif kind == "list": os.listdir(what[0])
        elif kind == "write": open(what[0], "ab").write(b"x")
        elif kind == "make": os.mkdir(what[0])
        elif kind == "run": subprocess.run([what[0]], check=True, capture_output=True)
        elif kind == "connect": socket.create_connection(("127.0.0.1", what[0]), 5).close()
        elif kind == "listen": socket.create_server(("127.0.0.1", 0)).close()
        elif kind == "signal": os.kill(what[0], 0)
        return "done"
    except OSError as error:
        return type(error).__name__
print(json.dumps([attempt(*one) for one in tries]))
"""

locked = pytest.mark.skipif(sandbox.version() < sandbox.WITH_SCOPES, reason="the kernel is older than Linux 6.12")


@pytest.fixture
def program(settings: Callable[..., Settings]) -> Program:
    program = Program.of(settings())
    program.prepare()
    return program


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def attempts(program: Program, *tries: tuple[object, ...], user: str = "") -> list[str]:
    """What came of each attempt of a program that was put in Claude Code's place."""
    home, scratch = program.home("cred-anna"), program.scratch / "one"
    for directory in (home, scratch):
        program.make_private(directory)
    own = program.sandbox(home, scratch)
    assert own is not None
    own = own._replace(read=(*own.read, sys.base_prefix), run=(PYTHON,))
    command = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), user, own.encoded(), PYTHON]
    done = subprocess.run(
        [*command, "-I", "-S", "-c", STRANGER, json.dumps(tries)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    results: list[str] = json.loads(done.stdout)
    return results


@locked
@pytest.mark.policy("T2")
def test_it_reads_neither_the_data_directory_nor_another_conversation(program: Program, data_dir: Path) -> None:
    other = program.home("cred-bert")
    elsewhere = program.scratch / "another"
    for directory in (other, elsewhere):
        program.make_private(directory)
    secrets = [data_dir / "master.key", data_dir / "gateway.db", other / ".claude.json", elsewhere / "file"]
    for secret in secrets:
        secret.write_text("secret")
    tries = [("read", str(secret)) for secret in secrets]
    tries += [("list", str(place)) for place in (data_dir, program.homes, other, program.scratch, elsewhere)]
    tries += [("read", f"/proc/{os.getpid()}/environ"), ("read", f"/proc/{os.getpid()}/maps")]
    assert set(attempts(program, *tries)) == {"PermissionError"}


@locked
def test_it_reads_nothing_of_the_machine_that_it_does_not_need(program: Program) -> None:
    tries = [
        ("read", "/etc/passwd"),
        ("read", "/etc/shadow"),
        ("list", str(Path.home())),
        ("list", "/tmp"),
        ("list", "/"),
    ]
    assert set(attempts(program, *tries)) == {"PermissionError"}


@locked
def test_it_writes_in_its_own_directories_alone_and_runs_nothing_else(program: Program, tmp_path: Path) -> None:
    home, scratch = program.home("cred-anna"), program.scratch / "one"
    assert attempts(
        program,
        ("write", str(home / "file")), ("make", str(scratch / "directory")), ("read", str(home / "file")),
        ("write", str(program.workplace / "file")), ("write", str(tmp_path / "file")), ("make", str(tmp_path / "new")),
        ("run", "/bin/sh"), ("run", str(shutil.which("true"))),
    ) == [*["done"] * 3, *["PermissionError"] * 5]  # fmt: skip


@locked
def test_it_connects_to_anthropic_alone_listens_nowhere_and_signals_nobody(
    program: Program, listening: int, stand_in: object
) -> None:
    assert program.ports is not None
    assert attempts(
        program, ("connect", program.ports[0]), ("connect", listening), ("listen",), ("signal", os.getpid())
    ) == ["done", "PermissionError", "PermissionError", "PermissionError"]


async def test_the_real_program_answers_in_it(engine: ClaudeCode) -> None:
    said, _ = await answer(engine, chat("Hello"), oauth("anna"))
    assert said


class TestAnotherUser:
    """The lock where the kernel has none: another user, for a gateway that is started as root."""

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    def test_it_reads_no_file_of_the_gateways(self, settings: Callable[..., Settings]) -> None:
        with tempfile.TemporaryDirectory(dir="/tmp") as place:  # not below a directory of root's own
            Path(place).chmod(0o711)
            data = Path(place) / "data"
            data.mkdir(mode=0o700)
            given = {"data_dir": data, "claude_code_user": "nobody", "claude_code_path": Path("/bin/sh")}
            program = Program.of(settings().model_copy(update=given))
            program.prepare()
            home, secret = program.home("cred-anna"), data / "master.key"
            program.make_private(home)
            secret.touch(mode=0o600)
            assert program.user is not None
            user = "{}:{}".format(*program.user)
            tries = f"id -u; id -g; id -G; touch {home}/own && ls {home}; cat {secret}; ls {data} {program.homes}"
            command = [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), user, "", "/bin/sh", "-c", tries]
            done = subprocess.run(command, capture_output=True, text=True)
            number, group = map(str, program.user)
            assert done.stdout.split() == [number, group, group, "own"]
            assert done.stderr.count("Permission denied") == 3
            shutil.rmtree(program.scratch)

    def test_one_who_cannot_pass_is_told_where(self, settings: Callable[..., Settings], data_dir: Path) -> None:
        data_dir.mkdir()
        program = msgspec.structs.replace(Program.of(settings(claude_code_path=Path("/bin/sh"))), user=(65534, 65534))
        data_dir.parent.chmod(0o700)
        with pytest.raises(OperatorFailure, match="may not pass"):
            program.require_way()

    @pytest.mark.parametrize("name", ["no-such-user", "4000000000"])
    def test_an_unknown_user_is_named(self, settings: Callable[..., Settings], name: str) -> None:
        with pytest.raises(OperatorFailure, match="claude_code_user"):
            Program.of(settings(claude_code_user=name))


@pytest.mark.parametrize("hindrance", ["Landlock", "script"])
def test_a_sandbox_that_is_required_and_not_to_be_had_stops_the_start(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hindrance: str
) -> None:
    path = tmp_path / "claude"
    path.write_text("#!/bin/sh\n" if hindrance == "script" else "a program")
    monkeypatch.setattr(sandbox, "version", lambda: 0 if hindrance == "Landlock" else 6)
    with pytest.raises(OperatorFailure, match=hindrance):
        Program.of(settings(sandbox="require", claude_code_path=path))
    assert Program.of(settings(sandbox="auto", claude_code_path=path)).ports is None


def test_a_sandbox_can_be_switched_off(settings: Callable[..., Settings]) -> None:
    assert Program.of(settings(sandbox="off")).ports is None
