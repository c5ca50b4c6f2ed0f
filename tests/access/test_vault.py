"""What the vault seals opens only in its place, whole, and under its key."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.access.master_key import Keyring, MasterKey
from claude_code_api.access.vault import NONCE_BYTES, TAG_BYTES, WRAPPING_BYTES, Place, Vault, master_key_id
from claude_code_api.errors import VaultFailure

KEY = b"k" * 32
PLACE = Place("credentials.token", "cred_1")


@pytest.fixture(scope="module")
def vault() -> Vault:
    return Vault(Keyring([MasterKey(KEY)]))


@pytest.mark.policy("T2")
@given(content=st.binary(max_size=2000), column=st.text(max_size=40), record=st.text(max_size=40))
def test_what_is_sealed_for_a_place_opens_there(content: bytes, column: str, record: str) -> None:
    vault = Vault(Keyring([MasterKey(KEY)]))
    try:
        place = Place(column, record)
        sealed = vault.seal(content, place)
    except UnicodeEncodeError:
        return  # lone surrogates are no place
    assert vault.unseal(sealed, place) == content


@pytest.mark.policy("T2")
@given(
    places=st.lists(
        st.tuples(st.text("ab.", max_size=4), st.text("ab.", max_size=4)), min_size=2, max_size=2, unique=True
    )
)
def test_it_opens_in_no_other_place(places: list[tuple[str, str]]) -> None:
    vault = Vault(Keyring([MasterKey(KEY)]))
    sealed = vault.seal(b"content", Place(*places[0]))
    with pytest.raises(VaultFailure, match="does not open"):
        vault.unseal(sealed, Place(*places[1]))


@pytest.mark.policy("T2")
def test_moved_to_another_row_or_column_it_does_not_open(vault: Vault) -> None:
    sealed = vault.seal(b"content", PLACE)
    for place in (Place(PLACE.column, "cred_2"), Place("vault_records.secret", PLACE.record)):
        with pytest.raises(VaultFailure, match="does not open"):
            vault.unseal(sealed, place)


@pytest.mark.policy("T2")
def test_with_any_byte_changed_it_does_not_open(vault: Vault) -> None:
    sealed = vault.seal(b"content", PLACE)
    for at in range(len(sealed)):
        for flip in (0x01, 0x80, 0xFF):
            with pytest.raises(VaultFailure):
                vault.unseal(sealed[:at] + bytes([sealed[at] ^ flip]) + sealed[at + 1 :], PLACE)


@pytest.mark.policy("T2")
def test_cut_short_or_made_longer_it_does_not_open(vault: Vault) -> None:
    sealed = vault.seal(b"content", PLACE)
    for cut in [sealed[:length] for length in range(len(sealed))] + [sealed + b"\0"]:
        with pytest.raises(VaultFailure):
            vault.unseal(cut, PLACE)


@pytest.mark.policy("T2")
def test_parts_of_two_records_do_not_open_together(vault: Vault) -> None:
    one, other = vault.seal(b"one", PLACE), vault.seal(b"other", PLACE)
    with pytest.raises(VaultFailure, match="does not open"):
        vault.unseal(one[:WRAPPING_BYTES] + other[WRAPPING_BYTES:], PLACE)


@pytest.mark.policy("T2")
def test_another_master_key_is_named_and_does_not_open(vault: Vault) -> None:
    sealed = vault.seal(b"content", PLACE)
    with pytest.raises(VaultFailure, match=MasterKey(KEY).id.hex()):
        Vault(Keyring([MasterKey(b"o" * 32)])).unseal(sealed, PLACE)


@pytest.mark.policy("T2")
def test_a_master_key_that_claims_the_id_of_another_does_not_open(vault: Vault) -> None:
    impostor = MasterKey(b"o" * 32)
    impostor.id = MasterKey(KEY).id
    with pytest.raises(VaultFailure, match="does not open"):
        Vault(Keyring([impostor])).unseal(vault.seal(b"content", PLACE), PLACE)


def test_a_keyring_opens_what_an_older_key_sealed_and_seals_under_the_first() -> None:
    old, new = MasterKey(KEY), MasterKey(b"n" * 32)
    keyring = Vault(Keyring([new, old]))
    assert keyring.unseal(Vault(Keyring([old])).seal(b"content", PLACE), PLACE) == b"content"
    assert master_key_id(keyring.seal(b"content", PLACE)) == new.id


@pytest.mark.policy("T2")
def test_a_rewrapped_record_opens_under_the_new_key_alone_and_keeps_its_content() -> None:
    old, new = MasterKey(KEY), MasterKey(b"n" * 32)
    sealed = Vault(Keyring([old])).seal(b"content", PLACE)
    rewrapped = Vault(Keyring([new, old])).rewrap(sealed, PLACE)
    assert Vault(Keyring([new])).unseal(rewrapped, PLACE) == b"content"
    assert rewrapped[WRAPPING_BYTES:] == sealed[WRAPPING_BYTES:]
    with pytest.raises(VaultFailure, match=new.id.hex()):
        Vault(Keyring([old])).unseal(rewrapped, PLACE)


@pytest.mark.policy("T2")
def test_what_does_not_open_is_never_rewrapped() -> None:
    old, new = MasterKey(KEY), MasterKey(b"n" * 32)
    vault = Vault(Keyring([new, old]))
    sealed = vault.seal(b"content", PLACE, under=old.id)
    for at in range(len(sealed)):
        with pytest.raises(VaultFailure):
            vault.rewrap(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], PLACE)
    with pytest.raises(VaultFailure, match="does not open"):
        vault.rewrap(sealed, Place(PLACE.column, "cred_2"))


def test_nothing_is_sealed_under_a_key_that_is_not_there(vault: Vault) -> None:
    with pytest.raises(VaultFailure, match="00" * 8):
        vault.seal(b"content", PLACE, under=bytes(8))
    assert master_key_id(vault.seal(b"content", PLACE, under=MasterKey(KEY).id)) == MasterKey(KEY).id


def test_the_same_content_is_never_sealed_the_same_and_no_nonce_comes_twice(vault: Vault) -> None:
    sealed = [vault.seal(b"content", PLACE) for _ in range(500)]
    for begin in (9, WRAPPING_BYTES):
        assert len({record[begin : begin + NONCE_BYTES] for record in sealed}) == 500
    assert len({record[21:WRAPPING_BYTES] for record in sealed}) == 500  # each under a data key of its own


def test_the_format_stays() -> None:
    """A record of the first release opens for ever."""
    sealed = bytes.fromhex(SEALED_BY_THE_FIRST_RELEASE)
    assert Vault(Keyring([MasterKey(KEY)])).unseal(sealed, PLACE) == b"kept for years"
    assert len(sealed) == WRAPPING_BYTES + NONCE_BYTES + len(b"kept for years") + TAG_BYTES
    assert sealed[0] == 1


@pytest.mark.policy("T1")
def test_keys_of_the_vault_show_in_no_repr_and_no_pickle(vault: Vault) -> None:
    master = MasterKey(KEY)
    for thing in (master, vault):
        assert "kkkk" not in repr(thing)
        for copying in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                copying(thing)


SEALED_BY_THE_FIRST_RELEASE = (
    "01d0720e7c306dccd173ab65f44d0b19cbdb68eb3b4946e9cfd0533911ac8090daa48f0aa502ecaa29727160486c55e23792"
    "f08ddc48a8e0e6ebddbacaf18e6bd36295dcfd2fae02a6fce28b747cb24ecbbc69a2ccf6f6424fb587f504b8bbae97fc393b"
    "50bd5450d0a084269dab34"
)
