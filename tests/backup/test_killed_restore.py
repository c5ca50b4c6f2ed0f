"""A restore that is killed at any step leaves the old database whole, or the restored one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.policy("D4")


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    memory = Path("/dev/shm")  # where making durable takes no time; a killed process loses nothing either way
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        script = Path(__file__).with_name("killed_restore.py")
        ran = subprocess.run(
            [sys.executable, "-W", "error", str(script), directory],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, check=False,
        )  # fmt: skip
    assert ran.stderr == b""
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


RESTORED = {
    "before": True, "after": False, "there": True, "names": ["main"], "entries": 3, "faults": [],
    "identity": '{"userID":"a-device"}', "rest": False,
}  # fmt: skip
OLD = RESTORED | {"before": False, "after": True, "entries": 4}
NOTHING = OLD | {"after": False, "there": False, "names": [], "entries": 0, "identity": None}


@pytest.mark.parametrize(("machine", "old"), [("filled", OLD), ("empty", NOTHING)])
def test_killed_at_any_step_the_old_or_the_new_is_whole(runs: dict[str, Any], machine: str, old: Any) -> None:
    found = runs[machine]
    assert [run for run in found if run not in (old, RESTORED)] == []
    moment = found.index(RESTORED)
    assert found == [old] * moment + [RESTORED] * (len(found) - moment), "there is one moment"
    assert moment > 5
    assert len(found) - moment > 5
