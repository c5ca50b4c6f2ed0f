"""Nothing that schemathesis makes of the admin API's description is a fault, and every answer is as described."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from browsing import API
from fuzzing import LONG, SECONDS
from gateways import Gateway

UNFIT = (
    "positive_data_acceptance",  # a schema cannot tell which names are taken, or what a limit may be
    "ignored_auth",  # what takes a session of one's own is a 403 for any token: the census of routes has all of it
)
SHORT = ["--phases", "examples,fuzzing", "--max-examples", "15", "--seed", "1"]
WHOLE = ["--phases", "examples,coverage,fuzzing", "--max-time", str(SECONDS)]


@pytest.mark.fuzz
@pytest.mark.policy("V2")
def test_schemathesis_finds_no_fault_and_no_answer_of_another_shape(
    gateway: Gateway, owner: httpx2.Client, tmp_path: Path
) -> None:
    token = owner.post(f"{API}/tokens", json={"name": "fuzz", "role": "owner"}).json()["token"]
    certificate = next(path for path in gateway.settings.data_dir.rglob("*.pem") if b"CERTIFICATE" in path.read_bytes())
    command = [
        sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
        f"{gateway.https_url}/openapi.json", "--tls-verify", str(certificate),
        "--header", f"Authorization: Bearer {token}", "--include-path-regex", "^/(admin/api/|metrics$)",
        "--exclude-checks", ",".join(UNFIT), "--warnings", "off", "--no-color", *(WHOLE if LONG else SHORT),
    ]  # fmt: skip
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
