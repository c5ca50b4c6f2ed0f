"""Gateways with one PostgreSQL, each on a data directory of its own, as on machines of their own (policy N5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from asking import ask, said
from gateways import Gateway, GatewayProcess, StartGateway, until
from postgres import Postgres, running_postgres

from claude_code_api.errors import VaultFailure
from claude_code_api.secret import Secret
from claude_code_api.stand_in import oauth_token, script
from claude_code_api.usage.recorder import settle

pytestmark = pytest.mark.policy("N5")

PASSWORD = "correct horse battery staple 7"
SESSION = "/admin/api/v1/session"


@pytest.fixture(scope="module")
def shared(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the settings of all have in common: the database and the master key."""
    return {
        "database_url": postgres.create(),
        "master_key_file": tmp_path_factory.mktemp("keys") / "master.key",
        "bcrypt_rounds": 12,
    }


@pytest.fixture(scope="module")
def gateways(start_gateway: StartGateway, shared: dict[str, Any]) -> Iterator[tuple[Gateway, Gateway]]:
    with ExitStack() as stack:
        one = stack.enter_context(start_gateway(**shared, admin_password=Secret(PASSWORD)))
        yield one, stack.enter_context(start_gateway(**shared))


@contextmanager
def browser(gateway: Gateway, cookies: Any = None) -> Iterator[httpx2.Client]:
    """At `gateway`, with the cookies that another one has set: as behind one address for both."""
    headers = {"origin": gateway.https_url}
    with httpx2.Client(base_url=gateway.https_url, verify=gateway.tls(), headers=headers, cookies=cookies) as client:
        yield client


def sign_in(client: httpx2.Client, password: str = PASSWORD) -> httpx2.Response:
    return client.post(SESSION, json={"username": "admin", "password": password})


def is_refused(client: openai.OpenAI) -> bool:
    try:
        client.models.list()
    except openai.AuthenticationError:
        return True
    return False


def test_a_key_that_was_made_on_one_works_on_the_other(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    key = one.key()
    for gateway in (one, other):
        with gateway.client(key) as client:
            assert said(ask(client))


@pytest.mark.policy("K3")
def test_a_key_that_is_revoked_on_one_is_soon_refused_on_the_other(gateways: tuple[Gateway, Gateway]) -> None:
    """Within a second: `tests/storage/test_postgresql.py` has what that is made of."""
    one, other = gateways
    with other.client(one.key()) as client:
        client.models.list()  # it is remembered there
        key_id = one.access(lambda access: access.keys.page(limit=1)).items[0].id
        one.access(lambda access: access.keys.revoke(key_id))
        until(lambda: is_refused(client))


@pytest.mark.policy("K3")
def test_an_answer_that_runs_on_the_other_ends_with_its_key(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    with other.client(one.key()) as client:
        key_id = one.access(lambda access: access.keys.page(limit=1)).items[0].id
        stream = ask(client, f"Go {script(tokens=2000, pause=0.05)}", stream=True)
        next(stream)
        one.access(lambda access: access.keys.revoke(key_id))
        with pytest.raises(openai.APIError, match="no longer valid"):
            for _ in stream:
                pass


def test_a_token_that_is_replaced_on_one_is_used_by_the_other(gateways: tuple[Gateway, Gateway], stand_in: Any) -> None:
    one, other = gateways
    with other.client(one.key("carla")) as client:
        ask(client)
        later = oauth_token("carla, later")
        one.access(lambda access: access.credentials.replace("carla", Secret(later)))

        def asks_with_the_new_one() -> bool:
            stand_in.clear()
            ask(client)
            return stand_in.requests[-1].account == later

        until(asks_with_the_new_one)


@pytest.mark.policy("A4")
def test_a_session_holds_and_ends_on_both(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    with browser(one) as here:
        token = sign_in(here).raise_for_status().json()["csrf_token"]
        with browser(other, here.cookies) as there:
            assert there.get(SESSION).json()["csrf_token"] == token
            assert here.delete(SESSION, headers={"x-csrf-token": token}).status_code == 204
            assert there.get(SESSION).status_code == 401


def test_what_both_have_used_is_added_up_and_counted_once(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    key = one.key("dora")
    for gateway in (one, other, other):
        with gateway.client(key) as client:
            ask(client)
    with browser(one) as client:
        sign_in(client).raise_for_status()
        listed = client.get("/admin/api/v1/keys", params={"search": "dora"}).json()["data"]
        (key_id,) = [entry["id"] for entry in listed]

        for gateway in gateways:
            gateway.access(lambda access, settings=gateway.settings: settle(settings, access.database))
        used = client.get("/admin/api/v1/usage", params={"key": key_id}).raise_for_status().json()
        assert used["total"]["requests"] == 3


def test_the_audit_log_of_both_is_one_chain(gateways: tuple[Gateway, Gateway]) -> None:
    for gateway in gateways * 3:
        gateway.access(lambda access: access.audit.note("somebody", "thing.done"))
    for gateway in gateways:
        entries, faults = gateway.access(lambda access: access.audit.verify())
        assert entries >= 6
        assert faults == []


def test_only_who_has_the_master_key_opens_it(
    shared: dict[str, Any], start_gateway: StartGateway, tmp_path: Path
) -> None:
    with (
        pytest.raises(VaultFailure, match="The database needs the key"),
        start_gateway(**shared | {"master_key_file": tmp_path / "other.key"}),
    ):
        pytest.fail("it started")


def test_sessions_and_keys_outlive_a_restart_and_the_loss_of_a_machine(
    shared: dict[str, Any], gateway_process: Callable[..., GatewayProcess], gateways: tuple[Gateway, Gateway]
) -> None:
    """What a gateway had is there on a new one that never saw its data directory."""
    one, _ = gateways
    key = one.key()
    fields = {name: value.reveal() if isinstance(value, Secret) else value for name, value in shared.items()}
    with browser(one) as here:
        sign_in(here).raise_for_status()
        for name in ("lost", "new"):
            with gateway_process(name, **fields).started() as gateway:
                with gateway.client(key) as client:
                    assert said(ask(client))
                with browser(gateway, here.cookies) as there:
                    assert there.get(SESSION).status_code == 200
                assert gateway.process
                gateway.process.kill()
                gateway.process.wait()


def test_a_gateway_whose_database_is_away_stops_in_peace(
    gateway_process: Callable[..., GatewayProcess],
) -> None:
    with running_postgres() as postgres:
        with gateway_process(database_url=postgres.create().reveal()).started() as gateway:
            until(lambda: "Programs then use" in gateway.errors.read_text())  # it has asked what to advise
            postgres.stop()
            assert gateway.end() == 0
        assert "the stop is not in the audit log" in gateway.errors.read_text()


def test_while_the_database_is_away_it_is_said_so_and_what_runs_goes_on(start_gateway: StartGateway) -> None:
    with running_postgres() as postgres, start_gateway(database_url=postgres.create()) as gateway:
        ready = f"{gateway.http_url}/health/ready"
        with gateway.client(gateway.key()) as client:
            stream = ask(client, f"Go {script(tokens=40, pause=0.05)}", stream=True)
            next(stream)
            postgres.stop()
            until(lambda: httpx2.get(ready).status_code == 503)
            with pytest.raises(openai.InternalServerError) as refused:
                ask(client)
            assert refused.value.status_code == 503
            assert refused.value.code == "database_unavailable"
            assert refused.value.response.headers["retry-after"] == "5"
            assert list(stream)[-1].choices[0].finish_reason == "stop"
            postgres.start()
            until(lambda: httpx2.get(ready).status_code == 200)
            assert said(ask(client))
