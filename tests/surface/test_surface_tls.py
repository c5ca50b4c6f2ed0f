"""The certificate: our own for development, the operator's in production."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from surface_server import request

from claude_code_api.errors import OperatorFailure, WrongSetting
from claude_code_api.settings import Settings
from claude_code_api.surface import tls
from claude_code_api.surface.tls import load_certificate


def load(data_dir: Path, **given: object):
    return load_certificate(Settings(data_dir=data_dir, **given))


@pytest.mark.policy("N1")
def test_a_self_signed_certificate_names_this_machine_and_is_kept(tmp_path):
    made = load(tmp_path, host="192.0.2.7")
    assert made.self_signed
    assert set(made.names) >= {"localhost", socket.gethostname().lower(), "127.0.0.1", "::1", "192.0.2.7"}
    assert made.names[0] == "localhost"
    assert load(tmp_path, host="192.0.2.7").fingerprint == made.fingerprint
    assert load(tmp_path, host="0.0.0.0").fingerprint == made.fingerprint
    key = tmp_path / "tls" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert isinstance(serialization.load_pem_private_key(key.read_bytes(), None), ec.EllipticCurvePrivateKey)
    assert sorted(path.name for path in key.parent.iterdir()) == ["certificate.pem", "key.pem"]


@pytest.mark.policy("N1")
def test_the_fingerprint_and_pin_are_those_that_other_tools_show(tmp_path):
    made = load(tmp_path)
    certificate = x509.load_pem_x509_certificate((tmp_path / "tls" / "certificate.pem").read_bytes())
    der = certificate.public_bytes(serialization.Encoding.DER)
    public_key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert made.fingerprint == ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())
    assert made.pin == "sha256//" + base64.b64encode(hashlib.sha256(public_key).digest()).decode()


@pytest.mark.policy("N1")
@pytest.mark.parametrize("change", ["names", "end", "key", "damage"])
def test_a_self_signed_certificate_is_renewed_when_it_no_longer_serves(tmp_path, monkeypatch, change):
    if change == "end":
        monkeypatch.setattr(tls, "VALID_FOR", tls.RENEWED_BEFORE_END - timedelta(days=1))
    old = load(tmp_path)
    monkeypatch.undo()
    cert, key = tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem"
    if change == "key":
        write_key(key, ec.generate_private_key(ec.SECP256R1()))
    elif change == "damage":
        cert.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA")
    new = load(tmp_path, host="gateway.test" if change == "names" else "127.0.0.1")
    assert new.fingerprint != old.fingerprint
    assert new.ends_at > datetime.now(UTC) + timedelta(days=300)


def test_a_data_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(OperatorFailure, match=r"cannot be kept in .*data: "):
        load(tmp_path / "data")


@pytest.mark.policy("N1")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_client_that_trusts_the_certificate_verifies_it_strictly(serve, tmp_path, host):
    served = serve(host=host, data_dir=tmp_path)
    answer = await served.exchange(request(), tls=True)
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_tls_before_1_2_is_refused(serve, version, accepted):
    url = urlsplit(serve().https)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    connecting = asyncio.open_connection(url.hostname, url.port, ssl=context)
    if not accepted:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await connecting
        return
    _, writer = await connecting
    assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
    writer.transport.abort()


# --- given ----------------------------------------------------------------------------------------------


def write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, passphrase: bytes | None = None) -> None:
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection))


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A directory with `cert.pem` and `key.pem` that fit."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_key(tmp_path / "key.pem", key)
    certificate = tls._signed(key, ["gateway.test", "*.wild.test", "192.0.2.1"])
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return tmp_path


def test_given_files_are_used_and_nothing_is_made(given):
    loaded = load(given / "data", cert=given / "cert.pem", key=given / "key.pem")
    assert loaded.names == ("gateway.test", "*.wild.test", "192.0.2.1")
    assert not loaded.self_signed
    assert not (given / "data").exists()


def test_one_file_may_hold_both(given):
    both = given / "both.pem"
    both.write_bytes((given / "cert.pem").read_bytes() + (given / "key.pem").read_bytes())
    assert load(given, cert=both).names[0] == "gateway.test"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("cert missing", "cert names .*missing.pem, which cannot be read: No such file"),
        ("key missing", "key names .*missing.pem, which cannot be read: No such file"),
        ("cert damaged", "is no certificate in PEM form"),
        ("key damaged", "holds no private key in PEM form"),
        ("key protected", "is protected by a passphrase"),
        ("key alone", "key is given without cert"),
        ("mismatch", "does not belong to the certificate"),
        ("ended", "ended on 20"),
        ("weak", "cannot be used"),
    ],
)
def test_wrong_files_are_told_in_one_line(given, monkeypatch, fault, told):
    cert, key = given / "cert.pem", given / "key.pem"
    files: dict[str, Path] = {"cert": cert, "key": key}
    match fault.split():
        case [which, "missing"]:
            files[which] = given / "missing.pem"
        case [which, "damaged"]:
            files[which].write_bytes(b"\xff nonsense")
        case ["key", "protected"]:
            write_key(key, ec.generate_private_key(ec.SECP256R1()), b"passphrase")
        case ["key", "alone"]:
            del files["cert"]
        case ["mismatch"]:
            write_key(key, ec.generate_private_key(ec.SECP256R1()))
        case ["ended"]:
            monkeypatch.setattr(tls, "VALID_FOR", timedelta(minutes=-30))
            load(given)
            files = {"cert": given / "tls" / "certificate.pem", "key": given / "tls" / "key.pem"}
        case ["weak"]:
            weak = rsa.generate_private_key(65537, 1024)
            write_key(key, weak)
            certificate = tls._signed(weak, ["gateway.test"])  # type: ignore[arg-type]
            cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(WrongSetting, match=told) as caught:
        load(given, **files)
    assert "\n" not in caught.value.message


def test_a_certificate_without_names_is_served(given):
    key = serialization.load_pem_private_key((given / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, tls.hashes.SHA256())
    )
    (given / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    assert load(given, cert=given / "cert.pem", key=given / "key.pem").names == ()
