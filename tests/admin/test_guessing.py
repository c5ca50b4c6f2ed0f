"""A thousand guesses of a password: slowed and logged, and the owner comes in all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from browsing import API, PASSWORD, sign_in
from gateways import Gateway, StartGateway

from claude_code_api.secret import Secret

GUESSES = 1000
AT_ONCE = 8


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> Iterator[Gateway]:
    """With the limit on addresses that there is by default."""
    with start_gateway(admin_password=Secret(PASSWORD), rate_limit_per_ip="100/minute") as gateway:
        yield gateway


def guess(client: httpx2.Client, number: int) -> int:
    """From the owner's own address, whatever the header says."""
    headers = {"x-forwarded-for": f"203.0.113.{number % 250}"}
    body = {"username": "admin", "password": f"guess number {number}"}
    return client.post(f"{API}/session", json=body, headers=headers).status_code


@pytest.mark.policy("A3", "N4", "L1")
def test_a_storm_of_guesses_is_slowed_and_shuts_out_no_owner(
    gateway: Gateway, browser: Callable[..., httpx2.Client]
) -> None:
    signed_in, known = browser(), browser()
    sign_in(signed_in).raise_for_status()
    sign_in(known).raise_for_status()
    del known.cookies["__Host-session"]
    attackers = [browser() for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = Counter(pool.map(lambda n: guess(attackers[n % AT_ONCE], n), range(GUESSES)))
    assert told[401] < 20
    assert told[429] + told[503] > GUESSES - 20
    assert set(told) <= {401, 429, 503}
    assert signed_in.get(f"{API}/session").status_code == 200
    assert sign_in(known).status_code == 201
    stranger = sign_in(browser())
    assert stranger.status_code == 429
    assert 0 < int(stranger.headers["retry-after"]) <= 60
    entries = gateway.access(lambda access: access.audit.entries(limit=20))
    assert not [entry for entry in entries if "guess number" in entry.details]
