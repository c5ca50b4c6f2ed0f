"""`vault rotate` on the command line."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from claude_code_api.stand_in import oauth_token


@pytest.mark.policy("T2")
def test_a_rotation_tells_the_new_key_by_its_id_and_no_key_itself(run: Any, data_dir: Path) -> None:
    run("credentials", "add", "main", stdin=oauth_token("main"))
    key = run("keys", "create", "program", "--credential", "main", "--json").json["key"]
    ran = run("vault", "rotate", "--json")
    assert set(ran.json) == {"master_key_id", "older_ids", "records", "resumed"}
    assert (ran.json["records"], len(ran.json["older_ids"]), ran.json["resumed"]) == (3, 1, False)
    again = run("vault", "rotate")
    assert (again.status, again.out.splitlines()[0].startswith("3 records are encrypted under")) == (0, True)
    assert ran.json["master_key_id"] in again.err
    assert str(data_dir / "master.key") in again.err
    for line in (data_dir / "master.key").read_text().splitlines():
        if not line.startswith("#"):
            assert len(base64.b64decode(line)) == 32
            assert line not in ran.out + ran.err + again.out + again.err
    assert key[-4:] == run("keys", "show", "program", "--json").json["hint"]


def test_a_key_that_is_not_ours_to_write_is_one_line_that_says_what_to_do(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
    monkeypatch.setenv("CCAPI_MASTER_KEY", old)
    run("credentials", "add", "main", stdin=oauth_token("main"))
    failure = run("vault", "rotate").failure
    assert "put a new key before the one that stands there" in failure
    assert old not in failure
    monkeypatch.setenv("CCAPI_MASTER_KEY", f"{new} {old}")
    assert run("vault", "rotate", "--json").json["resumed"] is True
    monkeypatch.setenv("CCAPI_MASTER_KEY", new)
    assert run("credentials", "list", "--json").json[0]["name"] == "main"
