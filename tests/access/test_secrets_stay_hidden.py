"""No token, key, pepper or master key shows: not on disk, in a repr, a pickle, an error or a log."""

from __future__ import annotations

import base64
import logging
import pickle
import traceback

import pytest

from claude_code_api.access import Access
from claude_code_api.access.own_secrets import own_secret
from claude_code_api.errors import Failure, VaultFailure
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.storage.tables import credentials


def forms(secret: bytes) -> set[bytes]:
    """A secret as it might lie somewhere: raw, in hex, and in base64 at each of the three alignments."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret + b"\0" * 3)
        found.add(encoded[4 : 4 + len(secret) * 4 // 3 - 6])
    return found | {form.replace(b"+", b"-").replace(b"/", b"_") for form in found}


@pytest.mark.policy("T2")
@pytest.mark.policy("K1")
async def test_nothing_but_ciphertext_and_hashes_is_on_disk(
    access: Access, own_settings: Settings, token: Secret
) -> None:
    await access.credentials.add("mine", token)
    _, text = await access.keys.create("laptop", "mine")
    await access.keys.verify(text)
    replacement = Secret("sk-ant-" + "oat01-" + "R" * 25 + "eplacement")
    await access.credentials.replace("mine", replacement)
    await access.credentials.unlock("mine")
    async with access.keys._database.write() as connection:
        pepper = await own_secret(connection, access.credentials._vault, "pepper")
    wanted = [token.reveal().encode(), replacement.reveal().encode(), text.reveal().encode(), pepper]
    wanted += [token.reveal()[13:].encode(), text.reveal()[3:].encode()]
    files = {file.name: file.read_bytes() for file in own_settings.data_dir.rglob("*") if file.is_file()}
    assert len(files["gateway.db-wal"]) > 0
    assert any(b"laptop" in content for content in files.values())  # what is not secret can be found like this
    for secret in wanted:
        for form in forms(secret):
            assert [name for name, content in files.items() if form in content] == []
    key_line = (own_settings.data_dir / "master.key").read_bytes().splitlines()[1]
    for form in forms(base64.b64decode(key_line)):
        assert [name for name, content in files.items() if form in content and name != "master.key"] == []


@pytest.mark.policy("T1")
async def test_no_object_of_ours_shows_or_pickles_a_secret(access: Access, token: Secret) -> None:
    record = await access.credentials.add("mine", token)
    key, text = await access.keys.create("laptop", "mine")
    unlocked = await access.credentials.unlock("mine")
    for shown in (record, key, unlocked, text, access, access.keys, access.credentials, access.credentials._unlocked):
        for view in (repr(shown), str(shown), f"{shown}", repr(getattr(shown, "__dict__", ""))):
            assert token.reveal() not in view
            assert text.reveal() not in view
    for holder in (unlocked, text, access, access.keys, access.credentials, access.credentials._unlocked):
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(holder)
    for plain in (record, key):
        assert token.reveal().encode() not in pickle.dumps(plain)
        assert text.reveal().encode() not in pickle.dumps(plain)


@pytest.mark.policy("T1")
@pytest.mark.policy("T4")
async def test_no_error_or_log_of_any_library_shows_a_secret(
    access: Access, token: Secret, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    await access.credentials.add("mine", token)
    _, text = await access.keys.create("laptop", "mine")
    failing = [
        access.credentials.add("mine", token),
        access.credentials.add(token.reveal(), token),
        access.credentials.replace("other", token),
        access.credentials.unlock(token.reveal()),
        access.keys.create("x", text.reveal()),
        access.keys.get(text.reveal()),
        access.keys.verify(Secret(text.reveal() + "x")),
        access.keys.verify(token),
    ]
    for attempt in failing:
        with pytest.raises(Failure) as failure:
            await attempt
        said.append("".join(traceback.format_exception(failure.value)))
    assert caplog.text  # the database's own debug log is among what is looked through
    for secret in (token, text):
        assert secret.reveal() not in caplog.text
        assert all(secret.reveal() not in lines for lines in said)


@pytest.mark.policy("T2")
async def test_a_vault_failure_tells_the_place_and_nothing_of_the_content(access: Access, token: Secret) -> None:
    record = await access.credentials.add("mine", token)
    async with access.credentials._database.write(announced=True) as connection:
        await connection.execute(credentials.update().values(token=b"\x01cut"))
    with pytest.raises(VaultFailure) as failure:
        await access.credentials.unlock("mine")
    assert record.id in failure.value.message
    assert token.reveal() not in "".join(traceback.format_exception(failure.value))
