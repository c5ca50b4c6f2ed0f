"""A busy gateway speaks to the addresses that its operator configured, and to nothing else (policy L5)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gateways import ROOT

RUN = Path(__file__).with_name("busy_run.py")


def namespace() -> list[str]:
    """The command that runs another one in namespaces of its own; empty where that is not permitted."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    command = [unshare, "--net", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
    return command if subprocess.run([*command, "true"], capture_output=True).returncode == 0 else []


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What went out of a busy run, looked for in the better way that this machine has."""
    command = namespace()
    done = subprocess.run(
        [*command, sys.executable, str(RUN), "namespace" if command else "polling"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.policy("L5")
def test_nothing_is_connected_to_but_what_is_configured(report: dict[str, Any]) -> None:
    assert report["control"], "the watch would not have seen it"
    assert report["busy"] == {}


def test_no_temporary_file_is_left_behind(report: dict[str, Any]) -> None:
    assert report["left"] == []
