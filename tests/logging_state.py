"""The process's logging, and how to have it back after a test that changed it."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def logging_restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    shown, hooks = warnings.showwarning, (sys.excepthook, sys.unraisablehook, threading.excepthook)
    try:
        yield
    finally:
        structlog.reset_defaults()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        warnings.showwarning = shown
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
