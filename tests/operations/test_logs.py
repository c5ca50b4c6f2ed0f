"""Logs: every line is one event, in every format, from whatever source, and holds no secret."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import sys
import threading
import time
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from claude_code_api.operations import logs
from claude_code_api.secret import Secret

CANARY = "Canary7" * 12
TOKEN = "sk-ant-oat01-" + CANARY
FORMATS = pytest.mark.parametrize("format", ["json", "console"])
many = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def event_of(stream: io.StringIO) -> dict[str, Any]:
    """The one event of a stream."""
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def fail() -> None:
    try:
        raise KeyError(TOKEN)
    except KeyError as cause:
        cause.add_note(f"a note with {TOKEN}")
        raise ValueError(f"first line\n{TOKEN}") from cause


# --- one line each --------------------------------------------------------------------------------------


@pytest.mark.policy("L3")
@many
@given(
    st.text(st.characters()),
    st.dictionaries(
        st.text(st.characters(), min_size=1).filter(lambda name: name not in {"event", "exc_info"}),
        st.text(st.characters()) | st.binary() | st.lists(st.text()) | st.floats() | st.integers(),
    ),
)
def test_any_event_is_one_json_object_on_one_line(logged: Any, event: str, fields: dict[str, Any]) -> None:
    stream = logged()
    logs.get_logger("a.module").info(event, **fields)
    text = stream.getvalue()
    assert text.isascii()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    found = event_of(stream)
    assert (found["level"], found["logger"]) == ("info", "a.module")
    assert datetime.fromisoformat(found["timestamp"]).tzinfo == UTC


@pytest.mark.policy("L3")
@many
@given(st.text(st.characters()), st.text(st.characters(), min_size=1), st.text(st.characters()))
def test_any_event_is_one_line_for_a_person_too(logged: Any, event: str, name: str, value: str) -> None:
    stream = logged(format="console")
    logs.get_logger("a.module").info(event, **{f"a{name}": value})
    text = stream.getvalue()
    assert text.endswith(" (a.module)\n")
    assert text[:-1].isprintable()


@pytest.mark.policy("L3")
def test_a_forged_line_stays_inside_its_field(logged: Any) -> None:
    forged = '2026-01-01T00:00:00.000Z error    forged (x)\n{"level": "error", "event": "forged"}'
    stream = logged(format="console")
    logs.get_logger("a").info("real", path=f"/\r\n{forged}\x1b[2K level=error")
    (line,) = stream.getvalue().splitlines()
    assert "  | " not in line
    assert line.endswith('level=error" (a)')
    try:
        raise ValueError(f"\n{forged}\u2028{forged}")
    except ValueError:
        logs.get_logger("a").exception("failed")
    _, second, *trace = stream.getvalue().split("\n")[:-1]
    assert "failed" in second
    assert all(line.startswith("  | ") and line.isprintable() for line in trace)


def test_a_line_for_a_person_has_time_level_event_fields_and_logger(logged: Any) -> None:
    stream = logged(format="console")
    logs.get_logger("a.b").warning("no room", count=3, path="/v1", reason="too many", models=["a", None])
    moment, rest = stream.getvalue().split(" ", 1)
    assert moment.endswith("Z")
    assert rest == 'warning  no room count=3 path=/v1 reason="too many" models=["a", null] (a.b)\n'


def test_fields_cannot_take_the_place_of_ours(logged: Any) -> None:
    stream = logged()
    logs.get_logger("a").error("event", level="info", logger="b", timestamp="never")
    found = event_of(stream)
    assert (found["level"], found["logger"]) == ("error", "a")
    assert found["timestamp"] != "never"


def test_fields_bound_to_a_context_are_told(logged: Any) -> None:
    stream = logged()
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        logs.get_logger("a").bind(b=1).info("event")
    assert event_of(stream) | {"request_id": "req_1", "b": 1} == event_of(stream)


# --- no secrets -----------------------------------------------------------------------------------------


@pytest.mark.policy("T4")
@FORMATS
def test_no_canary_is_left_in_any_sink(logged: Any, format: str) -> None:  # noqa: A002
    stream = logged(format=format)
    log = logs.get_logger("ours")
    log.info(TOKEN, **{TOKEN: TOKEN, "secret": Secret(TOKEN + "tail"), "body": TOKEN.encode(), "password": CANARY})
    log.info("headers", headers=[(b"authorization", f"Basic {CANARY}".encode())], nested={"a": [{"b": (TOKEN,)}]})
    for source in (log, logging.getLogger("aiohttp.client")):
        try:
            fail()
        except ValueError:
            source.exception(f"failed with {TOKEN}")
    logging.getLogger("uvicorn.error").warning("from %s", f"Bearer {CANARY}")
    logging.getLogger("sqlalchemy.engine").error("does not fit %d", TOKEN)
    logging.getLogger("sqlalchemy.pool").error(Secret(TOKEN))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning(f"careful with {TOKEN}", UserWarning, "a.py", 1)
    text = stream.getvalue()
    assert "Canary" not in text
    assert text.count("Traceback") == 4  # each with its cause
    assert text.count("[redacted]") >= 12


@pytest.mark.policy("T1")
@FORMATS
def test_uncaught_exceptions_are_logged_without_secrets(logged: Any, format: str) -> None:  # noqa: A002
    stream = logged(level="critical", format=format)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as fault:
        sys.excepthook(type(fault), fault, fault.__traceback__)

    class Finalised:
        def __del__(self) -> None:
            fail()

    Finalised()
    gc.collect()
    text = stream.getvalue()
    assert text.count("uncaught exception") == 3
    assert "Canary" not in text
    assert "first line" in text


def test_an_interrupted_program_tells_no_traceback(logged: Any) -> None:
    stream = logged()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert stream.getvalue() == ""


async def test_a_task_that_fails_unseen_is_logged(logged: Any) -> None:
    stream = logged()
    asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": ValueError(TOKEN)})
    found = event_of(stream)
    assert (found["logger"], found["level"]) == ("asyncio", "error")
    assert "Canary" not in stream.getvalue()


# --- what is told, and what is not ----------------------------------------------------------------------


@pytest.mark.policy("L3")
@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
        ("critical", []),
    ],
)
def test_the_level_can_be_chosen(logged: Any, level: str, told: list[str]) -> None:
    stream = logged(level=level)
    log = logs.get_logger("ours")
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("event")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == told


@pytest.mark.policy("L2")
@pytest.mark.parametrize(
    "name", ["uvicorn.error", "sqlalchemy.engine", "aiohttp.access", "asyncio", "claude_agent_sdk"]
)
def test_libraries_tell_no_details(logged: Any, name: str) -> None:
    stream = logged(level="debug")
    logging.getLogger(name).info("SELECT %s", "what a client sent")
    logging.getLogger(name).debug("what a client sent")
    assert stream.getvalue() == ""
    logging.getLogger(name).warning("slow")
    assert event_of(stream)["event"] == "slow"


def test_warnings_are_told_with_their_place(logged: Any) -> None:
    stream = logged(level="warning")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    event = event_of(stream)["event"]
    assert event.startswith("UserWarning: old (")
    assert "test_logs.py:" in event


# --- robustness -----------------------------------------------------------------------------------------


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@FORMATS
def test_a_broken_value_breaks_no_line(logged: Any, format: str) -> None:  # noqa: A002
    stream = logged(format=format)
    logs.get_logger("a").info("event", value=Broken(), other=1)
    logging.getLogger("library").error("%s", Broken())
    logging.getLogger("library").error(Broken())
    logs.get_logger("a").info("no exception", exc_info=True)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert "Broken that cannot be shown" in lines[0]
    assert "Broken that cannot be shown" in lines[2]


def test_a_closed_stream_stops_nobody(logged: Any) -> None:
    stream = logged()
    stream.close()
    logs.get_logger("a").info("event")
    assert stream.closed


def test_lines_of_many_threads_are_not_torn(logged: Any) -> None:
    stream = logged()

    def talk(number: int) -> None:
        for turn in range(50):
            logs.get_logger("a").info("event", number=number, turn=turn, filling="x" * 2000)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {(event["number"], event["turn"]) for event in found} == {(n, t) for n in range(8) for t in range(50)}


def test_a_line_does_not_hold_up_the_loop(logged: Any) -> None:
    logged()
    log = logs.get_logger("a")
    began = time.process_time()
    for _ in range(200):
        log.info("request", request_id="req_0123456789abcdef", path="/v1/chat/completions", status=200, ms=12.3)
    assert (time.process_time() - began) / 200 < 0.002  # seconds; about 0.00005 on an ordinary machine
