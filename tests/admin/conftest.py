"""A gateway with an owner, and administrators who are signed in, over HTTPS as browsers and scripts reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest
from browsing import PASSWORD, sign_in
from gateways import Gateway, StartGateway
from reading import Reader

from claude_code_api.secret import Secret


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> Iterator[Gateway]:
    """With the owner `admin`."""
    with start_gateway(admin_password=Secret(PASSWORD), bcrypt_rounds=12) as gateway:
        yield gateway


@pytest.fixture
def browser(gateway: Gateway) -> Iterator[Callable[..., httpx2.Client]]:
    """Clients with cookies of their own, that send the `Origin` of our pages unless told otherwise."""
    opened: list[httpx2.Client] = []

    def browser(**headers: str) -> httpx2.Client:
        given = {"origin": gateway.https_url, **headers}
        opened.append(httpx2.Client(base_url=gateway.https_url, verify=gateway.tls(), headers=given, timeout=30))
        return opened[-1]

    yield browser
    for client in opened:
        client.close()


@pytest.fixture
def owner(browser: Callable[..., httpx2.Client]) -> httpx2.Client:
    """Signed in, with the token against forgery."""
    client = browser()
    client.headers["x-csrf-token"] = sign_in(client).raise_for_status().json()["csrf_token"]
    return client


@pytest.fixture
def reader(browser: Callable[..., httpx2.Client]) -> Reader:
    """The owner, signed in on the pages."""
    reader = Reader(browser())
    assert reader.sign_in().status_code == 200
    return reader
