"""Records that tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from claude_code_api.usage.record import Record

NOON = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
_numbers = count()


def record(**fields: Any) -> Record:
    """One request like many others, under an id of its own."""
    usual = {
        "request_id": f"req_{next(_numbers):08}",
        "key_id": "key_a",
        "credential_id": "cred_a",
        "endpoint": "/v1/chat/completions",
        "model": "claude-sonnet-5-5",
        "stream": True,
        "status": 200,
        "error": None,
        "started_at": NOON,
        "first_token_ms": 40,
        "duration_ms": 900,
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_tokens": 3,
        "cache_write_tokens": 2,
        "reasoning_tokens": 5,
        "cost": 1000,
    }
    return Record(**(usual | fields))


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days)
