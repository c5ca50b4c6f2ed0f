"""The master key is made once, kept private, and never overwritten."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from claude_code_api.access import master_key
from claude_code_api.errors import VaultFailure


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.policy("T2")
def test_a_new_key_is_private_random_and_found_again(tmp_path: Path) -> None:
    made = [master_key.create(tmp_path / name) for name in ("one", "other")]
    assert made[0].id != made[1].id
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    found = master_key.load(tmp_path / "one")
    assert found is not None
    assert found.id == made[0].id
    comment, encoded = (tmp_path / "one").read_text().splitlines()
    assert comment.startswith("# ")
    assert made[0].id.hex() in comment
    assert len(base64.b64decode(encoded)) == 32


@pytest.mark.policy("T2")
def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "key", "anything")
    with pytest.raises(VaultFailure, match="cannot be made: File exists"):
        master_key.create(path)
    assert path.read_text() == "anything"


def test_no_file_is_no_key(tmp_path: Path) -> None:
    assert master_key.load(tmp_path / "key") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_reach_is_refused_with_the_way_to_mend_it(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key", base64.b64encode(b"k" * 32).decode(), mode)
    with pytest.raises(VaultFailure, match=f"chmod 600 {path}"):
        master_key.load(path)


@pytest.mark.parametrize(
    "text",
    ["", "# only a comment\n", "not base64!", base64.b64encode(b"k" * 31).decode(),
     base64.b64encode(b"k" * 32).decode() * 2, (base64.b64encode(b"k" * 32).decode() + "\n") * 2, "kéy"],
)  # fmt: skip
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "file", text)
    with pytest.raises(VaultFailure, match="holds no master key") as failure:
        master_key.load(path)
    assert len(text) < 20 or text not in failure.value.message


def test_a_bare_key_without_a_comment_will_do(tmp_path: Path) -> None:
    found = master_key.load(written(tmp_path / "key", f"\n  {base64.b64encode(b'k' * 32).decode()}  \n\n"))
    assert found is not None
    assert found.id == master_key.MasterKey(b"k" * 32).id


def test_a_place_that_cannot_be_read_or_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VaultFailure, match="cannot be read"):
        master_key.load(tmp_path / "file" / "key")
    with pytest.raises(VaultFailure, match="cannot be made"):
        master_key.create(tmp_path / "missing" / "key")
    (tmp_path / "directory").mkdir()
    with pytest.raises(VaultFailure, match="cannot be read"):
        master_key.load(tmp_path / "directory")
