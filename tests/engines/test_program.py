from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from claude_code_api.engines.claude_code.program import Program, bundled_program
from claude_code_api.errors import OperatorFailure
from claude_code_api.settings import Settings


@pytest.fixture
def program(settings: Callable[..., Settings]) -> Program:
    return Program.of(settings())


def test_the_program_is_the_one_in_the_sdks_wheel(program: Program) -> None:
    assert program.path == bundled_program()
    assert program.path.is_file()


def test_a_missing_program_is_named(settings: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(OperatorFailure, match="nowhere"):
        Program.of(settings(claude_code_path=tmp_path / "nowhere"))


@pytest.mark.policy("T1")
def test_a_process_gets_nothing_of_our_environment(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    monkeypatch.setenv("SOME_SECRET", "canary")
    program = Program.of(settings())
    assert "canary" not in str(program.environment_of(program.home("cred"), program.scratch / "x"))


def test_proxies_and_authorities_are_handed_on(settings: Callable[..., Settings], tmp_path: Path) -> None:
    program = Program.of(settings(https_proxy="http://p:1", no_proxy="h", ssl_cert_file=tmp_path / "ca.pem"))
    given = program.environment
    assert (given["HTTPS_PROXY"], given["NO_PROXY"]) == ("http://p:1", "h")
    assert given["NODE_EXTRA_CA_CERTS"] == str(tmp_path / "ca.pem")


def test_the_working_directory_is_the_same_after_a_restart_and_tells_nothing(
    settings: Callable[..., Settings], program: Program, data_dir: Path
) -> None:
    assert Program.of(settings()).workplace == program.workplace
    assert not program.workplace.is_relative_to(data_dir)
    assert program.workplace.name.startswith("w-")


class TestWorkplace:
    def test_it_must_be_empty(self, program: Program) -> None:
        program.prepare()
        (program.workplace / "planted").touch()
        with pytest.raises(OperatorFailure, match="empty"):
            program.prepare()
        (program.workplace / "planted").unlink()
        program.clear()

    def test_it_must_be_ours_alone(self, program: Program) -> None:
        program.workplace.mkdir(mode=0o777)
        program.workplace.chmod(0o777)
        with pytest.raises(OperatorFailure, match="own"):
            program.prepare()
        program.clear()

    def test_a_link_to_elsewhere_is_refused(self, program: Program, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        program.workplace.symlink_to(elsewhere)
        with pytest.raises(OperatorFailure, match="own"):
            program.prepare()
        program.workplace.unlink()

    def test_one_of_another_user_is_refused(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        program.workplace.mkdir(mode=0o700)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(OperatorFailure, match="own"):
            program.prepare()
        program.workplace.rmdir()

    def test_clearing_twice_is_no_fault(self, program: Program) -> None:
        program.prepare()
        program.clear()
        program.clear()


def test_homes_of_credentials_that_are_no_more_are_removed(program: Program) -> None:
    program.prepare()
    for name in ("known", "gone"):
        (program.home(name) / "sessions").mkdir(parents=True)
        (program.home(name) / "sessions" / "1.json").touch()
        (program.home(name) / ".claude.json").touch()
    (program.scratch / "left").mkdir()
    program.tidy({"known"})
    assert not list(program.scratch.iterdir())
    assert not program.home("gone").exists()
    assert [path.name for path in program.home("known").rglob("*") if path.is_file()] == [".claude.json"]
    program.clear()


class TestLaunch:
    """The launcher becomes the program; here a shell stands for it."""

    def launch(self, parent: int, script: str) -> subprocess.Popen[str]:
        from claude_code_api.engines.claude_code import program

        launcher = Path(program.__file__).with_name("launch.py")
        command = [sys.executable, "-I", "-S", str(launcher), str(parent), "", "", "/bin/sh", "-c", script]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def test_there_are_no_core_dumps(self) -> None:
        process = self.launch(os.getpid(), "ulimit -c")
        assert process.communicate(timeout=10)[0] == "0\n"

    def test_it_inherits_no_descriptor_but_its_pipes(self) -> None:
        leaked = fcntl.fcntl(0, fcntl.F_DUPFD, 50)
        os.set_inheritable(leaked, True)
        from claude_code_api.engines.claude_code import program

        launcher = Path(program.__file__).with_name("launch.py")
        command = [
            sys.executable,
            "-I",
            "-S",
            str(launcher),
            str(os.getpid()),
            "",
            "",
            "/bin/sh",
            "-c",
            "echo /proc/$$/fd/*",
        ]
        done = subprocess.run(command, capture_output=True, text=True, close_fds=False, timeout=10)
        os.close(leaked)
        open_there = {int(name.rpartition("/")[2]) for name in done.stdout.split()}
        assert open_there - {0, 1, 2} <= {3}, "3 is the shell's own look into the directory"

    def test_nothing_is_started_for_a_parent_that_is_gone(self) -> None:
        process = self.launch(1, "echo started")
        assert process.communicate(timeout=10)[0] == ""
        assert process.returncode == 1

    def test_it_ends_with_its_parent_however_that_ends(self, tmp_path: Path) -> None:
        from claude_code_api.engines.claude_code import program

        launcher = Path(program.__file__).with_name("launch.py")
        script = (
            "import os, subprocess, sys; "
            f"p = subprocess.Popen([sys.executable, '-I', '-S', {str(launcher)!r}, str(os.getpid()), "
            "'', '', '/bin/sh', '-c', 'echo ready; exec sleep 601'], stdout=subprocess.PIPE, start_new_session=True); "
            "p.stdout.readline(); print(p.pid, flush=True); p.wait()"
        )
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
        psutil.wait_procs([child], timeout=5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
