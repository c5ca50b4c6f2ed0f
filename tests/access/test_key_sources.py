"""Where the master key comes from: made once, kept private, never overwritten, never told."""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import stat
import sys
import time
from pathlib import Path

import psutil
import pytest

from claude_code_api.access import key_sources
from claude_code_api.access.key_sources import KeyCommand, KeyFile, KeySetting, key_source
from claude_code_api.access.master_key import Keyring, MasterKey
from claude_code_api.errors import VaultFailure, WrongSetting
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only

KEY, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"k", b"n"))
ID = MasterKey(b"k" * 32).id.hex()


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def loaded(path: Path) -> Keyring:
    keyring = KeyFile(path).load()
    assert keyring is not None
    return keyring


def program(tmp_path: Path, script: str) -> KeyCommand:
    return KeyCommand((str(written(tmp_path / "kms", f"#!/bin/sh\n{script}\n", 0o700)), "--key", "a b"))


# --- a file ---------------------------------------------------------------------------------------------


@pytest.mark.policy("T2")
def test_a_new_key_is_private_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert KeyFile(path).load() is None
    made = KeyFile(path).create()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert loaded(path).ids == made.ids
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.policy("T2")
def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "key", "anything")
    with pytest.raises(VaultFailure, match="cannot be made: File exists"):
        KeyFile(path).create()
    assert path.read_text() == "anything"
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.policy("T2")
def test_a_further_key_comes_before_the_others_and_loses_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "key", f"# mine\n{KEY}")
    written(tmp_path / "key.new", "left by a run that was killed", 0o644)
    new = KeyFile(path).add()
    assert loaded(path).ids == [new.id.hex(), ID]
    assert path.read_text().endswith(f"# mine\n{KEY}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_a_link_to_a_key_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    target = written(tmp_path / "mounted" / "key", KEY)
    (tmp_path / "key").symlink_to(target)
    new = KeyFile(tmp_path / "key").add()
    assert (tmp_path / "key").is_symlink()
    assert loaded(target).ids == [new.id.hex(), ID]


def test_a_file_that_cannot_be_written_says_how_to_rotate_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "key", KEY)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(VaultFailure, match=r"cannot be written: Read-only.* above the others yourself.*openssl rand"):
        KeyFile(path).add()
    assert path.read_text() == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_reach_is_refused_with_the_way_to_mend_it(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key", KEY, mode)
    with pytest.raises(VaultFailure, match=f"chmod 600 {path}"):
        KeyFile(path).load()


@pytest.mark.parametrize("text", ["", "not base64!", KEY * 2, "kéy"])
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "file", text)
    with pytest.raises(VaultFailure, match="holds no master key") as failure:
        KeyFile(path).load()
    assert len(text) < 20 or text not in failure.value.message


def test_a_place_that_cannot_be_read_or_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VaultFailure, match="cannot be read"):
        KeyFile(tmp_path / "file" / "key").load()
    with pytest.raises(VaultFailure, match="cannot be made"):
        KeyFile(tmp_path / "missing" / "key").create()
    (tmp_path / "directory").mkdir()
    with pytest.raises(VaultFailure, match="cannot be read"):
        KeyFile(tmp_path / "directory").load()


# --- a setting ------------------------------------------------------------------------------------------


def test_a_setting_holds_one_key_or_several(tmp_path: Path) -> None:
    assert KeySetting(Secret(KEY)).load().ids == [ID]
    assert KeySetting(Secret(f"{NEW} {KEY}")).load().ids[1] == ID


@pytest.mark.policy("T1")
def test_a_wrong_setting_is_not_repeated_and_a_new_key_is_the_operators_to_make() -> None:
    with pytest.raises(VaultFailure, match="setting master_key holds no master key") as failure:
        KeySetting(Secret(KEY[:-3])).load()
    assert KEY[:9] not in failure.value.message
    with pytest.raises(VaultFailure, match=r"yours to change: .* before the one .*start the gateway again with both"):
        KeySetting(Secret(KEY)).add()


def test_there_is_one_source(tmp_path: Path) -> None:
    assert isinstance(key_source(given_only(data_dir=tmp_path)), KeyFile)
    assert isinstance(key_source(given_only(master_key=KEY)), KeySetting)
    assert isinstance(key_source(given_only(master_key_command="cat key")), KeyCommand)
    with pytest.raises(WrongSetting, match="master_key_file and master_key_command are both given"):
        key_source(given_only(master_key_file=tmp_path, master_key_command="cat key"))


# --- a command ------------------------------------------------------------------------------------------


def test_a_command_prints_the_keys(tmp_path: Path) -> None:
    command = program(tmp_path, f"echo {NEW}; echo '# old'; echo {KEY}")
    assert command.load().ids[1] == ID
    with pytest.raises(VaultFailure, match=r"yours to change: let it print a new key on a line above"):
        command.add()


def test_a_command_is_run_without_a_shell_and_without_input(tmp_path: Path) -> None:
    command = program(tmp_path, f'[ "$2" = "a b" ] && [ -z "$(cat)" ] && echo {KEY}')
    assert command.load().ids == [ID]
    assert key_source(given_only(master_key_command="kms 'a b' $HOME;id"))._words == ("kms", "a b", "$HOME;id")  # type: ignore[attr-defined]


@pytest.mark.policy("T3")
def test_a_command_has_the_operators_environment_and_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    for name in ("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "DATABASE_URL", "CCAPI_MASTER_KEY", "ADMIN_PASSWORD"):
        monkeypatch.setenv(name, "canary")
    command = program(tmp_path, f'env | grep -q canary || [ "$AWS_PROFILE" != mine ] || echo {KEY}')
    assert command.load().ids == [ID]


@pytest.mark.policy("T1")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo $CANARY >&2; exit 3", "failed with status 3; run it by hand"),
        ("kill -SEGV $$", "was ended by signal 11"),
        ("echo $CANARY", "printed no master key"),
        ("true", "printed no master key"),
        ("yes $CANARY", "printed no master key|was ended by signal 13|failed with status 1"),
    ],
)
def test_a_command_that_fails_is_told_by_name_and_its_output_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], script: str, said: str
) -> None:
    canary = secrets.token_hex(20)
    monkeypatch.setenv("CANARY", canary)
    with pytest.raises(VaultFailure, match=f"master key command {tmp_path / 'kms'} ({said})") as failure:
        program(tmp_path, script).load()
    assert canary not in failure.value.message + "".join(capfd.readouterr())
    assert "a b" not in failure.value.message


def test_a_command_that_is_not_there_is_told() -> None:
    with pytest.raises(VaultFailure, match="command nothing-like-it cannot be run: No such file"):
        KeyCommand(("nothing-like-it",)).load()


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sources, "COMMAND_TIMEOUT", 0.3)
    noted = tmp_path / "child"
    sleeper = shlex.join([sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(VaultFailure, match=r"took longer than 0\.3 seconds"):
        program(tmp_path, f"{sleeper} & echo $! > {shlex.quote(str(noted))}; wait").load()
    child = int(noted.read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
