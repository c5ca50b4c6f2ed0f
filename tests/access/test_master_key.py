"""A keyring is read as it was written, and shows none of its keys."""

from __future__ import annotations

import base64
import copy
import pickle

import pytest

from claude_code_api.access.master_key import LONGEST_KEYRING, Keyring, MasterKey, new_key, read_keyring

OLD, NEW = base64.b64encode(b"o" * 32).decode(), base64.b64encode(b"n" * 32).decode()


@pytest.mark.policy("T2")
def test_new_keys_are_random_and_read_as_they_were_written() -> None:
    (one, text), (other, _) = new_key(), new_key()
    assert one.id != other.id
    comment, encoded = text.splitlines()
    assert comment.startswith("# ")
    assert one.id.hex() in comment
    assert len(base64.b64decode(encoded)) == 32
    keyring = read_keyring(text.encode())
    assert keyring is not None
    assert keyring.newest.id == one.id


@pytest.mark.parametrize(
    "text",
    [f"{NEW}\n{OLD}\n", f"{NEW} {OLD}", f"\n  {NEW}\r\n\t{OLD}  ", f"# one\n{NEW}\n # other {OLD[:9]}\n\n{OLD}",
     f"{NEW} {OLD} {NEW}"],
)  # fmt: skip
def test_the_newest_key_comes_first_and_older_ones_stay(text: str) -> None:
    keyring = read_keyring(text.encode())
    assert keyring is not None
    new, old = MasterKey(b"n" * 32), MasterKey(b"o" * 32)
    assert keyring.ids == [new.id.hex(), old.id.hex()]
    assert keyring.newest.id == new.id
    assert old.id in keyring
    assert bytes(8) not in keyring


@pytest.mark.parametrize(
    "text",
    ["", "# only a comment\n", "not base64!", base64.b64encode(b"k" * 31).decode(), OLD + NEW, OLD[:-1], "kéy",
     f"{OLD}\nkey", f"{OLD}\n{OLD[:-4]}", f"{OLD}\n" + "#" * LONGEST_KEYRING, OLD + "\0"],
)  # fmt: skip
def test_what_is_not_keys_alone_is_no_keyring(text: str) -> None:
    assert read_keyring(text.encode()) is None


@pytest.mark.policy("T1")
def test_a_keyring_shows_and_pickles_no_key() -> None:
    keyring = Keyring([MasterKey(b"n" * 32)])
    assert "nnnn" not in repr(keyring) + repr(vars(keyring))
    for copying in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(keyring)
