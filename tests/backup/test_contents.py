"""What is in a backup goes to the places that are known for it, and nowhere else."""

from __future__ import annotations

import io
import secrets
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from claude_code_api.backup import contents
from claude_code_api.backup.sealed_file import Head, Reader, Writer, read_head
from claude_code_api.errors import VaultFailure

pytestmark = pytest.mark.policy("D4")

KEY = secrets.token_bytes(32)
HEAD = Head(
    id="backup_1", made_at=datetime(2026, 11, 25, tzinfo=UTC), release="0.1.0", database="0005",
    master_keys=["00112233aabbccdd"], key=b"sealed",
)  # fmt: skip


def sealed(content: bytes) -> Reader:
    file = io.BytesIO()
    writer = Writer(file, HEAD, KEY)
    writer.write(content)
    writer.end()
    file.seek(0)
    return Reader(file, read_head(file)[1], KEY)


def archive(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member in members:
            if isinstance(member, tuple):
                name, content = member
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                tar.addfile(member)
    return file.getvalue()


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    parts = [("audit.anchor", b"a"), ("identities.json", b'{"cred":"device"}'), ("usage/000000.journal", b"line\n")]
    (tmp_path / "database").write_bytes(b"d" * 100_000)
    (tmp_path / "out").mkdir()
    file = io.BytesIO()
    with (tmp_path / "database").open("rb") as database:
        contents.pack(Writer(file, HEAD, KEY), parts, database)
    file.seek(0)
    contents.unpack(Reader(file, read_head(file)[1], KEY), tmp_path / "out")
    for name, content in parts:
        assert (tmp_path / "out" / name).read_bytes() == content
    assert (tmp_path / "out" / "gateway.db").read_bytes() == b"d" * 100_000
    assert contents.identities_in(tmp_path / "out") == {"cred": "device"}
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "out").rglob("*")} == {0}


def test_names_that_are_not_known_and_what_is_no_file_go_nowhere(tmp_path: Path) -> None:
    link = tarfile.TarInfo("audit.anchor")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    (tmp_path / "out").mkdir()
    names = [
        "../escaped",
        "/absolute",
        "usage/../../escaped",
        "usage/a/b",
        "usage/",
        "usage/..",
        "of-a-later-release",
        "master.key",
    ]
    content = archive(link, *((name, b"x") for name in names), ("gateway.db", b"d"))
    contents.unpack(sealed(content), tmp_path / "out")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"out", "out/usage", "out/gateway.db"}
    assert contents.identities_in(tmp_path / "out") == {}


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100, archive(("audit.anchor", b"a"))])
def test_what_is_no_archive_or_lacks_the_database_is_damaged(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(VaultFailure, match="damaged"):
        contents.unpack(sealed(content), tmp_path)
