"""The certificate is read again while the gateway serves; nothing that is open is dropped (policy N1, N2)."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from structlog.testing import capture_logs
from surface_server import request

from claude_code_api.settings import Settings
from claude_code_api.surface import served_certificate, tls
from claude_code_api.surface.served_certificate import ServedCertificate


def issue(directory: Path, monkeypatch: pytest.MonkeyPatch, *, days: int = 365) -> dict[str, Path]:
    """A certificate and its key, as an authority's renewal writes them over the old ones."""
    monkeypatch.setattr(tls, "VALID_FOR", timedelta(days=days))
    made = directory / f"made-{days}-{len(list(directory.iterdir()))}"
    tls.load_certificate(Settings(data_dir=made))
    for name in ("certificate.pem", "key.pem"):
        (made / "tls" / name).replace(directory / name)
    return {"cert": directory / "certificate.pem", "key": directory / "key.pem"}


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """An open connection, and the certificate that it was shown (DER)."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=trusting)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return reader, writer, shown


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(request())
    return (await reader.readline()).startswith(b"HTTP/1.1 200")


def der(path: Path) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@pytest.mark.policy("N2")
async def test_new_connections_get_the_new_certificate_and_open_ones_go_on(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = issue(tmp_path, monkeypatch)
    first = der(given["cert"])
    served = serve(**given)
    reader, writer, shown = await connected(served.https)
    assert shown == first
    issue(tmp_path, monkeypatch)
    await served.reload_certificate()
    _, other, now_shown = await connected(served.https)
    assert now_shown == der(given["cert"]) != first
    assert await answered(reader, writer), "the open connection goes on"
    for each in (writer, other):
        each.transport.abort()


@pytest.mark.policy("N2")
async def test_one_that_cannot_be_used_changes_nothing_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = issue(tmp_path, monkeypatch)
    served = await ServedCertificate.load(Settings(data_dir=tmp_path / "data", **given))
    before = served.current
    given["cert"].write_text("half a file")
    with capture_logs() as logged:
        await served.look()
        await served.look()
    assert served.current is before
    assert [line["event"] for line in logged] == ["the new certificate is not used"]
    issue(tmp_path, monkeypatch)
    await served.look()
    assert served.current.fingerprint != before.fingerprint, "the next good one is used"


@pytest.mark.policy("N2")
async def test_its_end_is_warned_of_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = issue(tmp_path, monkeypatch, days=29)
    with capture_logs() as logged:
        served = await ServedCertificate.load(Settings(data_dir=tmp_path / "data", **given))
        await served.look()
    assert [line["event"] for line in logged] == ["the certificate ends soon; renew it"]
    with capture_logs() as logged:
        await ServedCertificate.load(Settings(data_dir=tmp_path / "data", **issue(tmp_path, monkeypatch, days=40)))
    assert logged == []


@pytest.mark.policy("N1")
async def test_a_self_signed_one_is_renewed_while_the_gateway_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await ServedCertificate.load(Settings(data_dir=tmp_path))
    before = served.current
    monkeypatch.setattr(served_certificate, "RENEWED_BEFORE_END", timedelta(days=400))
    monkeypatch.setattr(tls, "RENEWED_BEFORE_END", timedelta(days=400))
    await served.look()
    assert served.current.fingerprint != before.fingerprint
