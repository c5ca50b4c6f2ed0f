"""Writes down what requests take: into the journal before an answer ends, from there into the database in groups."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import structlog

from claude_code_api.errors import Overloaded, RequestFailure, StorageFailure
from claude_code_api.operations.alerts import Alerts
from claude_code_api.settings import Settings
from claude_code_api.storage.data_directory import DataDirectory
from claude_code_api.storage.database import Database
from claude_code_api.usage.fold import fold
from claude_code_api.usage.journal import Segment, encode
from claude_code_api.usage.prices import Prices
from claude_code_api.usage.record import Record, Tally
from claude_code_api.usage.retention import tidy

log = structlog.get_logger(__name__)

INTERVAL = 5.0
"""Seconds for which lines gather in the journal before they go into the database. For a turn each second, a fold each
second was a quarter of the gateway's processor time."""
MANY = 500
"""Lines that go there at once."""
TIDY_INTERVAL = 3600.0
SETTLE_TIMEOUT = 20.0
HELD = 10_000
"""Lines kept in memory while they cannot be written; some 4 MB."""
AT_THE_STOP = "the stop"
GIVEN_UP = 499
"""The status of a request that nobody waited for any more (nginx's), or that the gateway's stop cut off."""


class Recorder:
    """One for each process. Appending takes some microseconds; everything else is done beside the requests."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        directory: Path,
        segment: Segment,
        alerts: Alerts,
        listener: Callable[[Record], None] | None,
    ) -> None:
        self._listener = listener
        self._settings = settings
        self._alerts = alerts
        self._database = database
        self._directory = directory
        self._prices = Prices.load(settings.prices_file)
        self._refuses = settings.usage_failure == "refuse"
        self._segment = segment
        self._closed: list[Segment] = []  # no longer written, on their way into the database
        self._lines = 0  # in `_segment`
        self._held: deque[bytes] = deque()
        self._lost = 0
        self._failing = False
        self._some, self._many = asyncio.Event(), asyncio.Event()
        self._stopping = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        database: Database,
        alerts: Alerts | None = None,
        listener: Callable[[Record], None] | None = None,
    ) -> AsyncIterator[Recorder]:
        """Records until the block ends; then all of it is in the database, unless that fails.

        `listener` is handed each record that is kept; it must not wait for anything, nor fail.
        """
        directory = await asyncio.to_thread(journal_directory, settings)
        try:
            segment = await asyncio.to_thread(Segment.create, directory)
        except OSError as error:
            raise StorageFailure(f"The usage journal in {directory} cannot be written: {error.strerror}.") from None
        recorder = await asyncio.to_thread(cls, settings, database, directory, segment, alerts or Alerts(), listener)
        folding, tidying = asyncio.create_task(recorder._run()), asyncio.create_task(recorder._tidy())
        try:
            yield recorder
        finally:
            tidying.cancel()
            recorder._stop()
            await asyncio.wait([folding, tidying])
            await recorder._close()

    @property
    def waiting_bytes(self) -> int:
        """Of lines that are not in the database yet."""
        return sum(segment.size for segment in (*self._closed, self._segment)) + sum(map(len, self._held))

    @property
    def lost(self) -> int:
        """Records that could not be written down and did not find room in memory any more."""
        return self._lost

    @contextmanager
    def recording(self, *, key_id: str, request_id: str, endpoint: str, stream: bool) -> Iterator[Tally]:
        """The tally of one request; whatever ends the block, it is written down once.

        Overloaded while nothing can be written and the settings say that nothing is answered then.
        """
        if self._failing and self._refuses:
            raise _cannot_record()
        tally = Tally(
            request_id=request_id, key_id=key_id, endpoint=endpoint, stream=stream, prices=self._prices, keep=self._keep
        )  # fmt: skip
        try:
            yield tally
        except RequestFailure as failure:
            tally.fail(failure.status, failure.code)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            tally.fail(GIVEN_UP, "given_up")
            raise
        except BaseException:
            tally.fail(500, "internal_error")
            raise
        tally.fail(500, "internal_error")  # an answer that ended without its end

    # --- into the journal -----------------------------------------------------------------------------------

    def _keep(self, record: Record, whole: bool) -> None:
        """Appends it, or holds it until it can be. Overloaded where a whole answer must not end without."""
        line = encode(record)
        try:
            self._segment.append(line)
        except OSError as error:
            self._tell_failing(error)
            if whole and self._refuses:
                raise _cannot_record() from None  # it comes again, as a failure
            self._held.append(line)
            if len(self._held) > HELD:
                self._held.popleft()
                self._lost += 1
        self._lines += 1
        self._some.set()
        if self._lines >= MANY:
            self._many.set()
        if self._listener:
            self._listener(record)

    def _tell_failing(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            self._alerts.tell(
                "usage_not_recorded",
                "usage cannot be written down",
                level="error",
                reason=error.strerror,
                requests="refused" if self._refuses else "answered",
            )

    def _append_held(self) -> None:
        """What could not be written before, if it can be now."""
        try:
            while self._held:
                self._segment.append(self._held[0])
                self._held.popleft()
        except OSError:
            return
        self._failing = False
        log.warning("usage is written down again", lost=self._lost)

    # --- into the database ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Folds whenever there is something to fold."""
        failing = False
        await self._take_left_over()
        while not self._stopping:
            await self._some.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._many.wait(), INTERVAL)
            self._some.clear()
            try:
                await self._fold()
                failing = False
            except Exception as error:  # noqa: BLE001 - told of with all that there is to it
                if not failing:
                    self._alerts.tell(
                        "usage_not_folded", "usage does not reach the database", level="error", exc_info=error
                    )
                failing = True
                self._some.set()
                await asyncio.sleep(INTERVAL)

    async def _fold(self) -> None:
        """All that is closed, and what was written until now."""
        if self._failing:
            self._append_held()
            if self._failing:
                self._some.set()  # for another attempt
        if not self._closed and self._segment.size:
            following = await asyncio.to_thread(Segment.create, self._directory)
            self._closed.append(self._segment)
            self._segment, self._lines = following, 0
            self._many.clear()
        while self._closed:
            await fold(self._database, self._closed[0])
            self._closed.pop(0)

    async def _take_left_over(self) -> None:
        """What processes that were killed have left comes first."""
        try:
            self._closed += await asyncio.to_thread(Segment.left_over, self._directory)
        except (StorageFailure, OSError) as error:
            log.error("the usage journal of an earlier process cannot be read", reason=str(error))
        if self._closed:
            self._some.set()
            self._many.set()

    async def _tidy(self) -> None:
        while True:
            try:
                await tidy(self._database, self._settings)
            except StorageFailure as error:
                log.warning("usage past its time was not deleted", reason=str(error))
            await asyncio.sleep(TIDY_INTERVAL)

    def _stop(self) -> None:
        self._stopping = True
        self._some.set()
        self._many.set()

    async def _close(self) -> None:
        if self._failing:
            self._append_held()
        if self._held:
            lost = self._lost + len(self._held)
            self._alerts.tell("usage_not_recorded", "usage is lost", AT_THE_STOP, level="error", lost=lost)
        try:
            while self._closed or self._segment.size:
                await self._fold()
        except (StorageFailure, OSError) as error:
            message = "usage stays in the journal for the next start"
            self._alerts.tell("usage_not_folded", message, AT_THE_STOP, level="error", reason=str(error))
        for segment in (*self._closed, self._segment):
            await asyncio.to_thread(segment.leave if segment.size else segment.remove)


def journal_directory(settings: Settings) -> Path:
    """Where the segments lie, also of a database that is elsewhere."""
    return DataDirectory(settings.data_dir / "usage").path


async def fold_left_over(settings: Settings, database: Database) -> None:
    """What processes that were killed have left. For commands, which may run where no server does."""
    for segment in await asyncio.to_thread(lambda: Segment.left_over(journal_directory(settings))):
        await fold(database, segment)


async def settle(settings: Settings, database: Database) -> None:
    """Returns when all that was in the journal is in the database, also what a server that runs has written there.

    StorageFailure where that server does not bring it there.
    """
    await fold_left_over(settings, database)
    directory = journal_directory(settings)
    written = await asyncio.to_thread(lambda: [path for path in directory.glob("*.journal") if path.stat().st_size])
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while await asyncio.to_thread(lambda: any(path.exists() for path in written)):
        if time.monotonic() > deadline:
            raise StorageFailure(
                "The server that runs does not bring its usage journal into the database; see its log."
            )
        await asyncio.sleep(0.05)


def _cannot_record() -> Overloaded:
    return Overloaded(
        "The gateway cannot write down what requests use, and is set to answer none until it can.",
        code="usage_not_recorded",
        retry_after=30,
    )
