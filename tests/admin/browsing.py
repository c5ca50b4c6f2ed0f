"""What tests of the administrators' side say over HTTPS."""

from __future__ import annotations

from typing import Any

import httpx2

PASSWORD = "correct horse battery staple 7"
API = "/admin/api/v1"


def sign_in(client: httpx2.Client, password: str = PASSWORD, **fields: Any) -> httpx2.Response:
    return client.post(f"{API}/session", json={"username": "admin", "password": password, **fields})
