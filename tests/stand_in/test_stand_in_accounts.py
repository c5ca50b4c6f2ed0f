"""Credentials that the API would take are taken, all others refused as there."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from claude_code_api.credential import CredentialKind, kind_of
from claude_code_api.secret import Secret
from claude_code_api.stand_in import StandIn, accounts, api_key, oauth_token
from claude_code_api.stand_in.errors import Refused


@pytest.mark.parametrize("name", ["demo", "", "Ärger/../x", "n" * 300])
def test_made_credentials_have_the_form_that_the_gateway_takes(name: str) -> None:
    assert kind_of(Secret(oauth_token(name))) is CredentialKind.OAUTH
    assert kind_of(Secret(api_key(name))) is CredentialKind.API_KEY
    assert oauth_token(name) == oauth_token(name) != oauth_token(name + "2")


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer " + oauth_token().encode()},
        {b"authorization": b"bearer " + api_key().encode()},
        {b"x-api-key": api_key().encode()},
    ],
)
def test_good_credentials_are_taken(headers: dict[bytes, bytes]) -> None:
    accounts.check(headers)
    assert accounts.presented(headers).startswith("sk-ant-")


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "x-api-key header is required"),
        ({b"x-api-key": oauth_token().encode()}, 401, "invalid x-api-key"),
        ({b"x-api-key": api_key()[:20].encode()}, 401, "invalid x-api-key"),
        ({b"authorization": b"Basic " + oauth_token().encode()}, 401, "Invalid bearer token"),
        ({b"authorization": b"Bearer sk-of-ours"}, 401, "Invalid bearer token"),
        ({b"authorization": b"Bearer " + oauth_token("refused").encode()}, 401, "Invalid bearer token"),
        ({b"x-api-key": api_key("a refused one").encode()}, 401, "invalid x-api-key"),
        ({b"authorization": b"Bearer " + oauth_token("revoked").encode()}, 403, "OAuth token has been revoked"),
        ({b"x-api-key": api_key("revoked").encode()}, 403, "API key has been revoked"),
    ],
)
def test_bad_credentials_are_refused(headers: dict[bytes, bytes], status: int, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        accounts.check(headers)
    assert caught.value.status == status


def test_a_refused_request_is_recorded_with_its_account(stand_in: StandIn) -> None:
    token = oauth_token("refused")
    with (
        anthropic.Anthropic(auth_token=token, api_key=None, base_url=stand_in.url, max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.models.list()
    assert [request.account for request in stand_in.requests] == [token]


def test_the_version_of_the_api_must_be_named(client: anthropic.Anthropic) -> None:
    omit: Any = anthropic.Omit()
    with pytest.raises(anthropic.BadRequestError, match="anthropic-version: header is required"):
        client.models.list(extra_headers={"anthropic-version": omit})
