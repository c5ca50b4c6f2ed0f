"""The data directory is private and has one server."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import claude_code_api
from claude_code_api.errors import StorageFailure
from claude_code_api.storage.data_directory import DataDirectory, exclusive, make_private, open_private

SERVER = """
import sys, pathlib
from claude_code_api.storage.data_directory import DataDirectory
with DataDirectory(pathlib.Path(sys.argv[1])).server_lock():
    print("holds", flush=True)
    sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def start_server(path: Path) -> subprocess.Popen[str]:
    root = Path(claude_code_api.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_new_data_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = DataDirectory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert mode(directory.path) == 0o700


def test_one_that_others_may_only_read_is_made_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    DataDirectory(tmp_path)
    assert mode(tmp_path) == 0o700


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o1777])
def test_one_that_others_may_write_to_is_refused_and_left_alone(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "it's data"
    path.mkdir()
    path.chmod(bits)
    with pytest.raises(StorageFailure, match="Others may write") as failure:
        DataDirectory(path)
    assert mode(path) == bits
    assert "chmod 700 '" in failure.value.message


def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StorageFailure, match="belongs to another user"):
        DataDirectory(tmp_path)


def test_a_path_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailure, match="cannot be used") as failure:
        DataDirectory(tmp_path / "file")
    assert "\n" not in failure.value.message


@pytest.mark.parametrize("make", [lambda path: os.close(open_private(path)), make_private])
def test_files_are_made_private_and_wider_ones_mended(tmp_path: Path, make: object) -> None:
    assert callable(make)
    path = tmp_path / "file"
    before = os.umask(0)
    try:
        make(path)
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    path.write_text("kept")
    path.chmod(0o644)
    make(path)
    assert mode(path) == 0o600
    assert path.read_text() == "kept"


@pytest.mark.parametrize("make", [open_private, make_private])
def test_a_file_that_cannot_be_made_is_a_clear_failure(tmp_path: Path, make: object) -> None:
    assert callable(make)
    with pytest.raises(StorageFailure, match="No such file or directory"):
        make(tmp_path / "missing" / "file")


def test_a_planted_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailure):
        open_private(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_a_second_server_is_told_the_process_of_the_first(tmp_path: Path) -> None:
    first = start_server(tmp_path)
    try:
        with (
            pytest.raises(StorageFailure, match=rf"\(process {first.pid}\)") as failure,
            DataDirectory(tmp_path).server_lock(),
        ):
            pytest.fail("two servers hold the lock")
        assert "\n" not in failure.value.message
    finally:
        end(first)


def test_the_lock_dies_with_the_server_even_by_kill(tmp_path: Path) -> None:
    first = start_server(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    with DataDirectory(tmp_path).server_lock():
        assert (tmp_path / "server.lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_after_its_block_and_names_nobody(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    with directory.server_lock():
        pass
    with directory.server_lock():
        (tmp_path / "server.lock").write_text("")  # not yet written by the first
        with pytest.raises(StorageFailure, match=r"already runs on the data directory \S+\.$"), directory.server_lock():
            pytest.fail("two servers hold the lock")


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    with directory.server_lock():
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with directory.server_lock():
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_an_exclusive_file_lets_one_in_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock"):
        other = open_private(tmp_path / "lock")
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
