"""The checklist before deployment: password, certificates, firewall, headers, rate limits, monitoring, container
permissions, dependencies."""

from __future__ import annotations

import http.client
import os
import re
import ssl
from datetime import UTC, datetime, timedelta
from importlib import metadata
from ipaddress import ip_address
from pathlib import Path

import claude_code_api
from claude_code_api.cli.production.item import Answer, Checks, Stored, container
from claude_code_api.settings import Settings
from claude_code_api.surface.security_headers import security_headers
from claude_code_api.surface.tls import load_certificate

ENDS_SOON = timedelta(days=30)
ASKING_TIMEOUT = 5.0
"""Seconds for the running gateway to answer."""


def password(_: Settings, kept: Stored) -> Answer:
    mend = "`claude-code-api admin set-password` makes the owner."
    if kept.missing:
        return "see", kept.missing, "Start the gateway once, then run this again."
    if not kept.administrators:
        return "fail", "There is no administrator yet: whoever opens the set-up link becomes the owner.", mend
    names = ", ".join(each.name for each in kept.administrators)
    return "pass", f"There is no default password; administrators with their own: {names}.", None


def certificates(settings: Settings, _: Stored) -> Answer:
    if settings.cert:
        served = load_certificate(settings)
        message = f"{settings.cert} is for {', '.join(served.names)} and ends on {served.ends_at:%Y-%m-%d}."
        soon = served.ends_at - datetime.now(UTC) < ENDS_SOON
        return ("fail", message, "Renew it; changed files are read again by themselves.") if soon else (
            "pass", message, None,
        )  # fmt: skip
    if _behind_a_proxy(settings):
        host = str(settings.public_url).removeprefix("https://").partition(":")[0]
        return (
            "see", f"TLS ends at the proxy of {settings.public_url}.",
            f"`openssl s_client -connect {host}:443 </dev/null | openssl x509 -noout -dates -issuer` shows its own.",
        )  # fmt: skip
    return (
        "fail", "The certificate is self-signed, which is for development.",
        "Name one that clients trust in the settings cert and key, or a proxy that has one in public_url.",
    )  # fmt: skip


def firewall(settings: Settings, _: Stored) -> Answer:
    if _is_loopback(settings.host):
        return "pass", f"It listens on {settings.host} alone, which no other machine reaches.", None
    if settings.plain_http == "allow":
        return (
            "fail", f"It answers other machines without TLS on port {settings.port}: keys cross the network readable.",
            "Leave the setting plain_http at loopback, or let a proxy on this machine end TLS.",
        )  # fmt: skip
    how = (
        "`ss -ltnp` shows what listens, `nft list ruleset` (or `ufw status`) who gets through: "
        f"port {settings.https_port} from where clients are, {settings.port} from nowhere."
    )
    return "see", f"It listens on {settings.host}, for other machines on port {settings.https_port}.", how


def headers(settings: Settings, kept: Stored) -> Answer:
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104 - asked, not bound
    how = f"`curl -skI https://{host}:{settings.https_port}/health` shows them; behind a proxy, ask the proxy."
    if kept.server is None:
        return "see", "Every answer bears them; no gateway runs here that could be asked.", how
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # only to look: nothing is sent, and nothing believed
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, settings.https_port, timeout=ASKING_TIMEOUT, context=context)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException):
        return "see", f"The gateway that runs does not answer on port {settings.https_port}.", how
    finally:
        connection.close()
    expected = [(name.decode(), value.decode()) for name, value in security_headers(secure=True)]
    wrong = [name for name, value in expected if answer.getheader(name) != value]
    if wrong:
        return "fail", f"What answers there lacks {', '.join(wrong)}.", "Look at what stands between."
    return "pass", f"The running gateway sends {', '.join(name for name, _ in expected)}.", None


def rate_limits(settings: Settings, _: Stored) -> Answer:
    if settings.rate_limit_per_ip == "off":
        return "fail", "There is no limit for an address.", 'Set rate_limit_per_ip, such as to "100/minute".'
    if settings.public_url and not settings.trusted_proxies:
        return (
            "fail", "With public_url there is a proxy, but it is not trusted: all clients count as one address.",
            "Name its address in the setting trusted_proxies.",
        )  # fmt: skip
    per_key = settings.rate_limit_per_key
    return "pass", f"{settings.rate_limit_per_ip} for an address, {per_key} for a key without its own.", None


def monitoring(settings: Settings, _: Stored) -> Answer:
    ask = (
        f"Have something ask http://{settings.host}:{settings.port}/health/ready each minute; "
        "docs/metrics.md has rules for Prometheus"
    )
    if settings.alert_webhook:
        return "see", "The gateway tells its state by health and metrics; alerts go to alert_webhook.", f"{ask}."
    hear = "set alert_webhook, or be told of log lines with the field alert"
    return "see", "The gateway tells its state by health, metrics and its log; it sends nothing.", f"{ask}; {hear}."


def container_permissions(_: Settings, kept: Stored) -> Answer:
    """Of the gateway that runs, else of this command, which is then started in the same way."""
    process = str(kept.server or "self")
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        text = f"Uid: {os.geteuid()} {os.geteuid()}"
    said = dict(line.partition(":")[::2] for line in text.splitlines())
    user = int(said["Uid"].split()[1])
    faults = ["it runs as root"] if user == 0 else []
    if container():
        if int(said.get("CapEff", "0"), 16):
            faults.append("it holds capabilities")
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
        if not re.search(r"^\S+ / \S+ ro[, ]", mounts, re.MULTILINE):
            faults.append("its root directory can be written to")
    if faults:
        mend = "Give the container a user of its own, `--read-only` and `--cap-drop ALL`."
        other = "Run it as a user of its own, who owns the data directory and nothing else."
        return "fail", f"{'; '.join(faults).capitalize()}.", mend if container() else other
    where = "in a container with a read-only root" if container() else "outside of a container"
    return "pass", f"It runs as user {user}, {where}, without capabilities.", None


def dependencies(_: Settings, __: Stored) -> Answer:
    lock = Path(claude_code_api.__file__).parents[1] / "requirements" / "run.txt"
    if not lock.is_file():
        return (
            "see", "This is no checkout, so there is no lock to compare with.",
            "`python -m pip check` finds what does not fit together; install from the lock to have what was tested.",
        )  # fmt: skip
    locked: dict[str, set[str]] = {}  # more than one where systems differ
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE):
        locked.setdefault(name, set()).add(version)
    installed = {name: found for name in locked if (found := _installed(name))}
    other = [
        f"{name} {found} instead of {' or '.join(sorted(locked[name]))}"
        for name, found in installed.items()
        if found not in locked[name]
    ]
    if other:
        some = ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else "")
        return (
            "fail",
            f"Other versions are installed than were tested: {some}.",
            "Install what requirements/run.txt names.",
        )
    return "pass", f"All {len(installed)} are installed in the versions that are locked.", None


def _installed(name: str) -> str | None:
    """None for what this system does not need."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _behind_a_proxy(settings: Settings) -> bool:
    return bool(settings.public_url and settings.public_url.startswith("https://"))


CHECKS: Checks = {
    "password": password,
    "certificates": certificates,
    "firewall": firewall,
    "headers": headers,
    "rate limits": rate_limits,
    "monitoring": monitoring,
    "container permissions": container_permissions,
    "dependencies": dependencies,
}
