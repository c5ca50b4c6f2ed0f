"""Logs: one event a line, as JSON or for a person's eyes, redacted and proof against forged lines (policy T4, L3).

All of it goes through `Lines.write`: our own events (structlog), what libraries log (`logging`, from warnings on, as
their details may quote a client's content), Python's warnings, and exceptions that nobody caught.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import structlog

from claude_code_api.operations.printable import printable
from claude_code_api.operations.redaction import redact, redacted

get_logger = structlog.get_logger

_FIRST = ("timestamp", "level", "logger", "event")
_BARE = re.compile(r"[\w./:@+-]+", re.ASCII)


def configure(level: str, format: str, stream: TextIO) -> None:  # noqa: A002
    """From now on everything is logged to `stream`, in the `format` `json` or `console`.

    `level` is the least that is logged: `debug`, `info`, `warning`, `error`, or `critical` for uncaught exceptions
    alone. Times are in UTC.
    """
    lines = Lines(render_json if format == "json" else render_console, stream)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, lines.write_event],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Name,
        cache_logger_on_first_use=False,  # loggers of modules are older than this call
    )
    logging.root.handlers[:] = [_LibraryHandler(lines)]
    logging.root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    warnings.showwarning = _log_warning
    sys.excepthook = lines.write_uncaught
    sys.unraisablehook = lambda args: lines.write_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    threading.excepthook = lambda args: lines.write_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


class Lines:
    """Writes events to a stream from any thread: each as one write, so that none is torn."""

    def __init__(self, render: Callable[[Mapping[str, Any]], str], stream: TextIO) -> None:
        self._render = render
        self._stream = stream
        self._lock = threading.RLock()  # a finaliser may log while its thread is in here

    def write(self, level: str, logger: str, fields: Mapping[str, Any], fault: BaseException | None = None) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if fault is not None:
            fields = {**fields, "exception": "".join(traceback.format_exception(fault))}
        line = self._render(
            {**dict.fromkeys(_FIRST), **redacted(fields), "timestamp": moment, "level": level, "logger": redact(logger)}
        )
        with self._lock, suppress(OSError, ValueError, RuntimeError):  # nobody reads any more, or it is closed
            self._stream.write(line + "\n")
            self._stream.flush()

    def write_event(self, logger: _Name, method: str, event: MutableMapping[str, Any]) -> Any:
        """The last processor of structlog, which leaves nothing for it to write."""
        fault = _exception(event.pop("exc_info", None))
        self.write("error" if method == "exception" else method, logger.name, event, fault)
        raise structlog.DropEvent

    def write_uncaught(
        self, kind: type[BaseException], fault: BaseException | None, frames: TracebackType | None
    ) -> None:
        if not issubclass(kind, KeyboardInterrupt | SystemExit):
            self.write("critical", __name__, {"event": "uncaught exception"}, fault or kind())


class _Name:
    """What is left of a logger: its name."""

    def __init__(self, name: str = "") -> None:
        self.name = name


class _LibraryHandler(logging.Handler):
    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message: object = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit, or cannot be shown
            message = record.msg
        self._lines.write(record.levelname.lower(), record.name, {"event": message}, _exception(record.exc_info))


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    logging.getLogger("py.warnings").warning("%s: %s (%s:%s)", category.__name__, message, filename, lineno)


def _exception(exc_info: object) -> BaseException | None:
    """The exception that structlog's or logging's `exc_info` means: itself, a tuple with it, or the current one."""
    fault = sys.exc_info() if exc_info is True else exc_info
    fault = fault[1] if isinstance(fault, tuple) else fault
    return fault if isinstance(fault, BaseException) else None


# --- formats --------------------------------------------------------------------------------------------


def render_json(event: Mapping[str, Any]) -> str:
    """One JSON object in ASCII, of an event that is redacted."""
    return json.dumps(event).replace("\x7f", "\\u007f")


def render_console(event: Mapping[str, Any]) -> str:
    """`time level event field=value …`; a traceback follows, each of its lines behind a bar."""
    fields = dict(event)
    trace = str(fields.pop("exception", "")).rstrip().splitlines()
    moment, level, logger, said = (fields.pop(name) for name in _FIRST)
    shown = [f"{printable(name)}={_shown(value)}" for name, value in fields.items()]
    head = " ".join([moment, f"{printable(level):8}", printable(str(said)), *shown, f"({printable(logger)})"])
    return "\n".join([head, *(f"  | {printable(line)}" for line in trace)])


def _shown(value: object) -> str:
    """Bare where it is a plain word, else as in JSON: no value can look like another field."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _BARE.fullmatch(text) else printable(json.dumps(value, ensure_ascii=False))
