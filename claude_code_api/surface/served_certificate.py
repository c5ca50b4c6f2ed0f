"""The certificate in use: read again when its files change or its end comes near, without dropping a connection
(policy N1, N2)."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, date, datetime
from pathlib import Path

import structlog

from claude_code_api.errors import OperatorFailure
from claude_code_api.settings import Settings
from claude_code_api.surface.tls import RENEWED_BEFORE_END, Certificate, certificate_files, load_certificate

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 30.0
"""Seconds between looks at the files; SIGHUP has them looked at at once."""

Stamp = tuple[tuple[int, int, int], ...]


class ServedCertificate:
    """`context` is the listeners' own for as long as they live. It hands each new connection the certificate of that
    moment; those that are open keep the one that they began with.
    """

    def __init__(self, settings: Settings, current: Certificate, stamp: Stamp) -> None:
        self.current = current
        self.context = current.context
        self.context.sni_callback = self._hand_over  # called without a server name, too
        self._settings = settings
        self._stamp = stamp
        self._warned: date | None = None

    @classmethod
    async def load(cls, settings: Settings) -> ServedCertificate:
        """OperatorFailure where there is none to serve with."""
        current = await asyncio.to_thread(load_certificate, settings)
        served = cls(settings, current, await asyncio.to_thread(_stamp_of, settings))
        served._warn()
        return served

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            await self.look()

    async def look(self) -> None:
        """Reads the files again where they have changed. What cannot be used is logged, and the old one stays."""
        stamp = await asyncio.to_thread(_stamp_of, self._settings)
        renews = self.current.self_signed and self._ends_soon
        if stamp == self._stamp and not renews:
            self._warn()
            return
        try:
            self.current = await asyncio.to_thread(load_certificate, self._settings)
        except OperatorFailure as failure:
            log.error("the new certificate is not used", reason=failure.message)
            self._stamp = stamp
            return
        self._stamp = await asyncio.to_thread(_stamp_of, self._settings)
        log.info("new certificate in use", fingerprint=self.current.fingerprint, ends_at=self._ends_at)
        self._warn()

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self.current.context

    def _warn(self) -> None:
        """Once a day in the last 30."""
        today = datetime.now(UTC).date()
        if self._ends_soon and self._warned != today:
            self._warned = today
            log.warning("the certificate ends soon; renew it", ends_at=self._ends_at)

    @property
    def _ends_soon(self) -> bool:
        return self.current.ends_at - datetime.now(UTC) < RENEWED_BEFORE_END

    @property
    def _ends_at(self) -> str:
        return self.current.ends_at.isoformat()


def _stamp_of(settings: Settings) -> Stamp:
    """Changes whenever one of the files does; a link counts as what it leads to."""
    return tuple(_stamp(path) for path in certificate_files(settings))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino
