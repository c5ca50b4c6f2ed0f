"""The certificate of the HTTPS listener: the operator's (policy N2), else one of our own for development (N1)."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from claude_code_api.errors import OperatorFailure, WrongSetting
from claude_code_api.settings import Settings

VALID_FOR = timedelta(days=365)
RENEWED_BEFORE_END = timedelta(days=30)


class Certificate(msgspec.Struct, frozen=True):
    """`names` are hosts and addresses, in their shortest form; `fingerprint` is SHA-256 of the certificate in hex;
    `pin` is what `curl --pinnedpubkey` takes."""

    context: ssl.SSLContext
    names: tuple[str, ...]
    fingerprint: str
    pin: str
    ends_at: datetime
    self_signed: bool


def certificate_files(settings: Settings) -> tuple[Path, Path]:
    """The certificate and its key: those that were given, or our own."""
    if settings.cert:
        return settings.cert, settings.key or settings.cert
    return settings.data_dir / "tls" / "certificate.pem", settings.data_dir / "tls" / "key.pem"


def load_certificate(settings: Settings) -> Certificate:
    """The certificate to serve with; WrongSetting or OperatorFailure where there is none. Reads and writes files."""
    if settings.cert:
        return _given(*certificate_files(settings))
    if settings.key:
        raise WrongSetting("The setting key is given without cert, the certificate that it belongs to.")
    try:
        return _own(settings)
    except OSError as fault:
        raise OperatorFailure(
            f"The self-signed certificate cannot be kept in {settings.data_dir}: {fault.strerror}."
        ) from None


# --- the operator's -------------------------------------------------------------------------------------


def _given(cert: Path, key: Path) -> Certificate:
    try:
        certificate = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except OSError as fault:
        raise WrongSetting(f"The setting cert names {cert}, which cannot be read: {fault.strerror}.") from None
    except ValueError:
        raise WrongSetting(f"The setting cert names {cert}, which is no certificate in PEM form.") from None
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise WrongSetting(f"The certificate in {cert} ended on {certificate.not_valid_after_utc:%Y-%m-%d}.")
    try:
        key_bytes = key.read_bytes()
        private_key = serialization.load_pem_private_key(key_bytes, None)
    except OSError as fault:
        raise WrongSetting(f"The setting key names {key}, which cannot be read: {fault.strerror}.") from None
    except TypeError:
        raise WrongSetting(f"The private key in {key} is protected by a passphrase; store it without.") from None
    except ValueError:
        raise WrongSetting(f"{key} holds no private key in PEM form; the setting key names the file.") from None
    if private_key.public_key() != certificate.public_key():
        raise WrongSetting(f"The private key in {key} does not belong to the certificate in {cert}.")
    return _served(certificate, cert, key, self_signed=False)


def _served(certificate: x509.Certificate, cert: Path, key: Path, *, self_signed: bool) -> Certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as fault:  # a key too weak for this machine's OpenSSL, for example
        raise WrongSetting(f"The certificate in {cert} cannot be used: {fault.reason}.") from None
    public_key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Certificate(
        context=context,
        names=_names(certificate),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        pin="sha256//" + base64.b64encode(hashlib.sha256(public_key).digest()).decode(),
        ends_at=certificate.not_valid_after_utc,
        self_signed=self_signed,
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


# --- our own --------------------------------------------------------------------------------------------


def _own(settings: Settings) -> Certificate:
    cert, key = certificate_files(settings)
    wanted = _wanted_names(settings.host)
    certificate = _kept(cert, key, wanted)
    if certificate is None:
        cert.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed(private_key, wanted)
        key_pem = private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(key, key_pem, 0o600)
        _write(cert, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return _served(certificate, cert, key, self_signed=True)


def _wanted_names(host: str) -> list[str]:
    """`localhost` first: it is where a redirect leads when the request's host is not named."""
    everywhere = {"", "0.0.0.0", "::"}  # noqa: S104 - recognised, not bound
    names = ["localhost", socket.gethostname().lower(), "127.0.0.1", "::1", host.lower()]
    return list(dict.fromkeys(name for name in names if name not in everywhere))


def _kept(cert: Path, key: Path, wanted: list[str]) -> x509.Certificate | None:
    """The certificate of an earlier start, None where a new one is due."""
    try:
        certificate = x509.load_pem_x509_certificate(cert.read_bytes())
        private_key = serialization.load_pem_private_key(key.read_bytes(), None)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    fits = set(wanted) <= set(_names(certificate)) and private_key.public_key() == certificate.public_key()
    lasts = certificate.not_valid_after_utc - RENEWED_BEFORE_END > datetime.now(UTC)
    return certificate if fits and lasts else None


def _signed(private_key: ec.EllipticCurvePrivateKey, names: list[str]) -> x509.Certificate:
    """For this machine alone: it may sign nothing else."""
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Claude Code API, self-signed")])
    public_key = private_key.public_key()
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), critical=False)
        .sign(private_key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        address: IPv4Address | IPv6Address = ip_address(name)
    except ValueError:
        return x509.DNSName(name)
    return x509.IPAddress(address)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
