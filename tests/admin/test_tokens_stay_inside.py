"""No page and no answer of the admin API shows a token, a key that was made before, or a password (policy T1)."""

from __future__ import annotations

import re

import httpx2
import pytest
from browsing import API, PASSWORD

from claude_code_api.admin.actions import ACTIONS
from claude_code_api.admin.pages import VIEWS
from claude_code_api.stand_in import oauth_token

SHOWN = 4  # characters at most, the last ones


@pytest.mark.policy("T1")
def test_nothing_that_is_read_shows_a_secret(owner: httpx2.Client) -> None:
    token = oauth_token("stays inside")
    key = owner.post(f"{API}/keys", json={"name": "shown", "token": token}).raise_for_status().json()
    script = owner.post(f"{API}/tokens", json={"name": "script", "role": "viewer"}).raise_for_status().json()
    administrator = owner.get(f"{API}/administrators").json()["data"][0]["id"]
    names = {
        "keys": key["record"]["id"],
        "credentials": key["record"]["credential_id"],
        "administrators": administrator,
    }
    secrets = [token, key["key"], script["token"], PASSWORD, owner.cookies["__Host-session"]]
    tails = [secret[-SHOWN - 1 :] for secret in secrets]
    reading = [API + each.path for each in ACTIONS if each.method == "GET"]
    reading += [each.path for each in VIEWS if each.method == "GET"]
    read = 0
    for path in reading:
        section = path.removeprefix(API).removeprefix("/admin").split("/")[1:2]
        answer = owner.get(re.sub(r"{\w+}", names.get("".join(section), "nobody"), path))
        read += answer.status_code == 200
        assert answer.status_code in (200, 404), path
        for secret, tail in zip(secrets, tails, strict=True):
            assert secret not in answer.text, path
            assert secret == PASSWORD or tail not in answer.text, path
    assert read > len(reading) - 4
    assert token[-SHOWN:] in owner.get(f"/admin/credentials/{names['credentials']}").text  # it was this one's page
