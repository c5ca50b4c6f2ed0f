"""What the kernel lets others of the same user see of a process that keeps to itself."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.policy("T3"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it"),
]

ROOT = Path(__file__).parents[2]
# Root may look into everything, so both sides become somebody else where root runs the tests (which forbids looking,
# as PR_SET_DUMPABLE does: hence the 1).
SOMEBODY = """
import ctypes, os, sys
from claude_code_api.operations.own_process import keep_to_itself
libc = ctypes.CDLL(None, use_errno=True)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    libc.prctl(4, 1, 0, 0, 0)
"""
LOOKING = """
pid = int(sys.argv[1])
for name in ("environ", "mem", "maps", "fd"):
    try:
        os.listdir(f"/proc/{pid}/fd") if name == "fd" else open(f"/proc/{pid}/{name}", "rb").close()
        print(name)
    except PermissionError:
        pass
if libc.ptrace(16, pid, 0, 0) == 0:  # PTRACE_ATTACH
    print("trace")
"""
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def waiting(first: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", f"{SOMEBODY}\n{first}\nprint('ready', flush=True)\nsys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=directory, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def seen(process: subprocess.Popen[bytes]) -> list[str]:
    """What another process of the same user sees of this one."""
    command = [sys.executable, "-c", SOMEBODY + LOOKING, str(process.pid)]
    return subprocess.run(command, capture_output=True, check=True, text=True, env=ENVIRONMENT).stdout.split()


def core_limit(process: subprocess.Popen[bytes]) -> str:
    (line,) = re.findall(r"Max core file size.*", Path(f"/proc/{process.pid}/limits").read_text())
    return str(line).split()[4]


def test_another_program_of_the_same_user_cannot_look_into_it(tmp_path: Path) -> None:
    with waiting("pass", tmp_path) as open_one:
        assert {"environ", "mem", "maps", "fd"} <= set(seen(open_one))
    with waiting("keep_to_itself()", tmp_path) as closed:
        assert seen(closed) == []


def test_it_leaves_no_core_dump(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    allowed = "import resource as r; r.setrlimit(r.RLIMIT_CORE, (r.getrlimit(r.RLIMIT_CORE)[1],) * 2); "
    with waiting(f"{allowed}keep_to_itself()", tmp_path) as process:
        # 1 stops a program that core_pattern names, too; 0 is for files alone.
        assert core_limit(process) in ("1", "0")
        process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -signal.SIGABRT
        assert os.WTERMSIG(status) == signal.SIGABRT
        assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


def test_a_lower_limit_stays(tmp_path: Path) -> None:
    first = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); keep_to_itself()"
    with waiting(first, tmp_path) as process:
        assert core_limit(process) == "0"


def test_its_children_are_programs_of_their_own() -> None:
    """Why Claude Code has a user, or a sandbox, of its own: the kernel forgets this at `exec`."""
    script = (
        "from claude_code_api.operations.own_process import keep_to_itself; keep_to_itself(); "
        "import subprocess, sys; subprocess.run([sys.executable, '-c', "
        "'import ctypes, resource; print(ctypes.CDLL(None).prctl(3), resource.getrlimit(resource.RLIMIT_CORE)[0])'])"
    )
    before = ctypes.CDLL(None).prctl(3)  # PR_GET_DUMPABLE
    ran = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, check=True)
    dumpable, core = ran.stdout.split()
    assert dumpable == b"1"
    assert core in (b"1", b"0")
    assert ctypes.CDLL(None).prctl(3) == before
