"""Prompts are text wherever they stand: none is a file to read, a command, a shell or a note (policy V3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from gateways import Gateway
from making import texts

from claude_code_api.access import Access
from claude_code_api.stand_in import StandIn

pytestmark = pytest.mark.policy("V3")

SECRET = "the-line-that-must-not-be-read"
MARKS = ["@/etc/passwd", "@~/.ssh/id_rsa", "/cost", "/clear", "!id", "#note"]


@pytest.fixture(params=[*MARKS, "@{file}", "@{home}/.claude.json"])
def mark(request: pytest.FixtureRequest, gateway: Gateway, client: openai.OpenAI, tmp_path: Path) -> str:
    """What means something at a terminal. The files are there, those in the program's own home too."""
    file = tmp_path / "notes.txt"
    file.write_text(SECRET)

    async def credential_id(access: Access) -> str:
        return (await access.credentials.get("anna")).id

    home = gateway.settings.data_dir / "claude" / gateway.access(credential_id)
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    (home / ".ssh" / "id_rsa").write_text(SECRET)
    return str(request.param).format(file=file, home=home)


def nothing_was_read(body: Any) -> None:
    sent = str(body)
    for trace in (SECRET, "root:x:0:0", "PRIVATE KEY", "uid=", "Total cost", "userID", "numStartups", "<command-name>"):
        assert trace not in sent


def test_a_mark_is_text_in_every_role_and_place(client: openai.OpenAI, stand_in: StandIn, png: str, mark: str) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
    messages: Any = [
        {"role": "system", "content": mark},
        {"role": "user", "content": mark},
        {"role": "assistant", "content": mark},
        {"role": "user", "content": [{"type": "text", "text": mark}, image]},
        {"role": "assistant", "content": f"{mark} and {mark}"},
        {"role": "developer", "content": mark},
        {"role": "user", "content": [{"type": "text", "text": mark}, {"type": "text", "text": f"see {mark}"}, image]},
    ]
    answer = client.chat.completions.create(model="haiku", messages=messages)
    (request,) = stand_in.requests
    assert texts(request) == [
        ("user", [mark]),
        ("assistant", [mark]),
        ("user", [mark, "image"]),
        ("assistant", [f"{mark} and {mark}"]),
        ("user", [f"<system>\n{mark}\n</system>", mark, f"see {mark}", "image"]),
    ]
    assert request.body["system"][-1]["text"] == mark
    nothing_was_read(request.body)
    assert str(answer.choices[0].message.content).startswith("I see 5 turns")


@pytest.mark.parametrize("mark", MARKS[:1] + MARKS[2:], ids=str)
def test_a_mark_alone_is_a_question(client: openai.OpenAI, stand_in: StandIn, mark: str) -> None:
    client.chat.completions.create(model="haiku", messages=[{"role": "user", "content": mark}])
    (request,) = stand_in.requests
    assert texts(request) == [("user", [mark])]
    nothing_was_read(request.body)
