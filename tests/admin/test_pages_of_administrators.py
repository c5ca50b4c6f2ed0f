"""The pages of administrators: who there is, one's own account, the audit log, usage and settings."""

from __future__ import annotations

import html
import re
import time
from base64 import b32decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import httpx2
import pytest
from browsing import API, PASSWORD
from gateways import Gateway, until
from reading import Reader, shown

from claude_code_api.access.one_time_codes import STEP, code_at
from claude_code_api.secret import Secret

Browser = Callable[..., httpx2.Client]
OTHER = "another horse battery staple 8"


def found(pattern: str, answer: httpx2.Response) -> str:
    match = re.search(pattern, answer.text)
    assert match, shown(answer)
    return html.unescape(match[1])


def invited(reader: Reader, browser: Browser, name: str, role: str) -> Reader:
    """Somebody who came by an invitation, signed in."""
    reader.go("/admin/administrators")
    link = found(r'<code id="invitation">([^<]+)<', reader.send("/admin/administrators", name=name, role=role))
    guest = Reader(browser())
    guest.go("/admin/invitation")
    answer = guest.send("/admin/invitation", token=link, password=OTHER)
    assert answer.status_code == 200
    assert str(answer.url).endswith("/admin")
    return guest


def code_of(spelled: str) -> str:
    """What an authenticator shows now."""
    return code_at(b32decode(spelled), int(time.time()) // STEP).reveal()


# --- administrators ---------------------------------------------------------------------------------------


def test_somebody_is_invited_and_removed_again(reader: Reader, browser: Browser) -> None:
    guest = invited(reader, browser, "bert", "viewer")
    answer = reader.go("/admin/administrators")
    assert "bert" in shown(answer)
    address = found(r'href="(/admin/administrators/admin_\w+)"[^>]*>Change<span class="out-of-sight"> bert', answer)
    assert "The role was changed." in shown(reader.send(address, role="admin"))
    assert guest.go("/admin/keys/new").status_code == 200, "a role holds at once"
    reader.go(f"{address}/remove")
    assert "The administrator was removed." in shown(reader.send(f"{address}/remove"))
    assert guest.client.get("/admin/keys").status_code == 303


def test_an_invitation_is_withdrawn_and_good_for_nothing(reader: Reader, browser: Browser) -> None:
    reader.go("/admin/administrators")
    link = found(r'<code id="invitation">([^<]+)<', reader.send("/admin/administrators", name="carla", role="admin"))
    address = found(r'action="(/admin/invitations/\w+/withdraw)"', reader.go("/admin/administrators"))
    assert "The invitation was withdrawn." in shown(reader.send(address))
    guest = Reader(browser())
    answer = guest.send("/admin/invitation", token=link, password=OTHER)
    assert answer.status_code == 401
    assert "not good" in shown(answer)


def test_the_last_owner_stays(reader: Reader) -> None:
    owner = reader.client.get(f"{API}/administrators").json()["data"][0]
    reader.go("/admin/administrators")
    answer = reader.send(f"/admin/administrators/{owner['id']}/remove")
    assert answer.status_code == 409
    assert reader.send(f"/admin/administrators/{owner['id']}", role="viewer").status_code == 409


def test_a_viewer_sees_what_he_may_and_is_offered_nothing_else(
    reader: Reader, browser: Browser, gateway: Gateway
) -> None:
    gateway.key("seen by viewers")
    viewer = invited(reader, browser, "vera", "viewer")
    for address in ("/admin", "/admin/keys", "/admin/credentials", "/admin/usage", "/admin/audit", "/admin/account"):
        answer = viewer.go(address)
        assert answer.status_code == 200, address
        assert not re.search(
            r'href="/admin/(keys/new|credentials/new|playground|settings|administrators)"', answer.text
        )
    for address in ("/admin/keys/new", "/admin/settings", "/admin/administrators", "/admin/playground"):
        answer = viewer.go(address)
        assert (answer.status_code, "This takes the role" in shown(answer)) == (403, True), address
    assert viewer.send("/admin/credentials/new", name="x", token="y").status_code == 403


# --- one's own account ------------------------------------------------------------------------------------


@pytest.mark.policy("A2", "A5")
def test_a_new_password_ends_the_other_sessions(reader: Reader, browser: Browser) -> None:
    someone = invited(reader, browser, "dora", "viewer")
    elsewhere = Reader(browser())
    assert elsewhere.sign_in("dora", OTHER).status_code == 200
    someone.go("/admin/account")
    answer = someone.send("/admin/account/password", current="wrong", new="a third horse battery 9")
    assert answer.status_code == 400
    assert 'id="password-current-error"' in answer.text
    answer = someone.send("/admin/account/password", current=OTHER, new="password1234")
    assert 'id="password-new-error"' in answer.text
    answer = someone.send("/admin/account/password", current=OTHER, new="a third horse battery 9")
    assert "Your password was changed" in shown(answer)
    assert elsewhere.client.get("/admin").status_code == 303
    assert someone.go("/admin").status_code == 200


def test_a_second_factor_from_its_code_to_its_end(reader: Reader, browser: Browser) -> None:
    someone = invited(reader, browser, "emil", "viewer")
    someone.go("/admin/account")
    assert 'id="factor-password-error"' in someone.send("/admin/account/second-factor", password="wrong").text
    answer = someone.send("/admin/account/second-factor", password=OTHER)
    assert "<svg" in answer.text
    secret = found(r'<code id="factor-secret">([^<]+)<', answer).replace(" ", "")
    assert someone.send("/admin/account/second-factor/confirm", code="000000").status_code == 400
    answer = someone.send("/admin/account/second-factor/confirm", code=code_of(secret))
    codes = re.findall(r"<li>([^<]+)</li>", answer.text.partition('id="codes"')[2])
    assert len(codes) == 10
    assert "10 of 10 recovery codes are left" in shown(someone.go("/admin/account"))

    again = Reader(browser())
    answer = again.sign_in("emil", OTHER)
    assert answer.status_code == 401
    assert 'id="login-code-error"' in answer.text
    assert again.send("/admin/login", username="emil", password=OTHER, code=codes[0]).status_code == 200
    someone.go("/admin/account")
    assert (
        len(
            set(
                re.findall(r"<li>([^<]+)</li>", someone.send("/admin/account/second-factor/codes", password=OTHER).text)
            )
            - set(codes)
        )
        == 10
    )
    someone.go("/admin/account")
    assert "was turned off" in shown(someone.send("/admin/account/second-factor/off", password=OTHER))


@pytest.mark.policy("A2")
def test_sessions_are_listed_and_ended_one_by_one(reader: Reader, browser: Browser) -> None:
    phone = Reader(browser(**{"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18 like Mac OS X) Safari/604.1"}))
    assert phone.sign_in().status_code == 200
    answer = reader.go("/admin/account")
    assert "Safari on iPhone" in shown(answer)
    address = found(r'action="(/admin/account/sessions/\w+/end)">(?:(?!</form>).)*Safari on iPhone', answer)
    assert "The session was ended." in shown(reader.send(address))
    assert phone.client.get("/admin").status_code == 303
    assert "All your other sessions were ended." in shown(reader.send("/admin/account/sessions/end-others"))
    assert reader.go("/admin").status_code == 200


def test_an_admin_token_is_shown_once_works_and_is_revoked(reader: Reader, gateway: Gateway) -> None:
    reader.go("/admin/account")
    assert 'id="token-name-error"' in reader.send("/admin/account/tokens", role="viewer", days="7").text
    answer = reader.send("/admin/account/tokens", name="backup script", role="viewer", days="7")
    token = found(r">(adm-[A-Za-z0-9]{48})<", answer)
    assert token not in reader.go("/admin/account").text
    with httpx2.Client(base_url=gateway.https_url, verify=gateway.tls()) as script:
        script.headers["authorization"] = f"Bearer {token}"
        assert script.get(f"{API}/keys").status_code == 200
        address = found(r'action="(/admin/account/tokens/\w+/revoke)"', reader.page)
        assert "The token was revoked." in shown(reader.send(address))
        assert script.get(f"{API}/keys").status_code == 401


def test_the_first_owner_is_made_by_the_link(start_gateway: Callable[..., object], stand_in: object) -> None:
    with start_gateway() as gateway:  # type: ignore[attr-defined]
        token: Secret = gateway.access(lambda access: access.administrators.new_setup_token(by="test"))
        headers = {"origin": gateway.https_url}
        with httpx2.Client(base_url=gateway.https_url, verify=gateway.tls(), headers=headers, timeout=30) as client:
            reader = Reader(client)
            reader.go("/admin/setup")
            answer = reader.send("/admin/setup", token=token.reveal(), name="anna", password="password1234")
            assert 'id="setup-password-error"' in answer.text
            assert 'id="setup-token-error"' in reader.send("/admin/setup", name="anna", password=PASSWORD).text
            answer = reader.send("/admin/setup", token=token.reveal(), name="anna", password=PASSWORD)
            assert (answer.status_code, "Three steps to the first answer" in shown(answer)) == (200, True)
            assert reader.send("/admin/setup", token=token.reveal(), name="x", password=PASSWORD).status_code == 401


# --- usage, audit, settings -------------------------------------------------------------------------------


@pytest.mark.policy("K5")
def test_usage_is_shown_by_key_model_and_day_and_given_as_a_file(reader: Reader, gateway: Gateway) -> None:
    with gateway.client(gateway.key("usage")) as client:
        client.chat.completions.create(model="sonnet", messages=[{"role": "user", "content": "Hello"}])
    reader.go("/admin/usage")
    until(lambda: "program of usage" in shown(reader.go("/admin/usage?by=key")), every=0.1)
    assert "claude" in shown(reader.go("/admin/usage?by=model"))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    answer = reader.go(f"/admin/usage?{urlencode({'by': 'day', 'since': today, 'until': today, 'model': ''})}")
    assert today in shown(answer)
    file = reader.go(found(r'href="(/admin/api/v1/usage/export[^"]+)"', answer))
    assert file.headers["content-disposition"] == 'attachment; filename="usage-by-day.csv"'
    assert file.text.splitlines()[1].startswith(today)
    yesterday = f"{datetime.now(UTC) - timedelta(days=9):%Y-%m-%d}"
    assert "Nothing was used" in shown(reader.go(f"/admin/usage?since={yesterday}&until={yesterday}"))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=x", "since"),
        ("since=2026-02-01&until=2026-01-01", "until"),
        ("key=unknown", None),
        ("by=nothing", None),
    ],
)
def test_a_wrong_filter_is_told_at_its_field(reader: Reader, query: str, field: str | None) -> None:
    answer = reader.go(f"/admin/usage?{query}")
    assert answer.status_code in {400, 404}
    assert field is None or f'id="usage-{field}-error"' in answer.text


@pytest.mark.policy("L1")
def test_the_audit_log_is_filtered_exported_and_proved(reader: Reader) -> None:
    reader.go("/admin/audit")
    answer = reader.send("/admin/audit/verify")
    assert "Verified" in shown(answer)
    answer = reader.go("/admin/audit?action=session")
    assert "session.begun" in answer.text
    assert "<code>administrator" not in answer.text
    for kind in ("csv", "jsonl"):
        file = reader.client.get(found(rf'href="([^"]+format={kind})"', answer))
        assert file.headers["content-disposition"] == f'attachment; filename="audit.{kind}"'
        assert "session.begun" in file.text
    assert "No entry fits" in shown(reader.go("/admin/audit?actor=nobody"))
    assert 'id="audit-since-error"' in reader.go("/admin/audit?since=soon").text
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert "session.begun" in reader.go(f"/admin/audit?since={today}&until={today}").text


@pytest.mark.policy("T1")
def test_settings_in_force_are_shown_without_secrets(reader: Reader) -> None:
    answer = reader.go("/admin/settings")
    assert "rate_limit_per_ip" in answer.text
    assert PASSWORD not in answer.text
    assert re.search(r"admin_password</code>.*?<code>given</code>", answer.text, re.DOTALL)
