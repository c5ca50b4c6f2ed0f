"""Keys that are none: however many come, and whatever is in them, they let nobody in and hold nobody up."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import openai
import psutil
import pytest
from asking import said, user
from gateways import Gateway, GatewayProcess

from claude_code_api.access import key_text

pytestmark = pytest.mark.policy("V2")

STORM = 3000
AHEAD = 30
BOUND = 48 * 1024 * 1024
"""Bytes that the gateway may hold more after a storm; each key remembered would have cost some 500 of them."""

SQL = (
    "' OR '1'='1", "'/**/OR/**/1=1--", "';DROP/**/TABLE/**/api_keys;--", "sk-' OR hash IS NOT NULL; --",
    "sk-%27%20OR%201=1", '"; DELETE FROM credentials; --', "sk-a' UNION SELECT * FROM api_keys --", "%", "_" * 51,
    "sk-" + "_" * 48, "sk-" + "%" * 48, "\\'; SELECT 1; --", "0x27", "x'; ATTACH DATABASE '/tmp/x' AS y; --", ":hash",
    "?", "{}", "null", "true", "[1]",
)  # fmt: skip


def wrong_key(number: int) -> str:
    """Misspelt, of our form with a sum that fits, or of another form, in turns."""
    if number % 3 == 0:
        return key_text.generate().reveal()
    return "sk-" + secrets.token_hex(24 if number % 3 == 1 else 8)


async def refused(url: str, first: int, number: int) -> set[bytes]:
    """The different answers to wrong keys, sent ahead on one connection."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    sent = "".join(
        f"GET /v1/models HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {wrong_key(first + index)}\r\n"
        f"connection: {'close' if index == number - 1 else 'keep-alive'}\r\n\r\n"
        for index in range(number)
    )
    writer.write(sent.encode())
    read = await reader.read(-1)
    writer.close()
    answers = re.split(rb"(?=HTTP/1\.1 )", read)[1:]
    assert len(answers) == number
    return {answer[9:13] + answer.partition(b"\r\n\r\n")[2] for answer in answers}


@pytest.mark.policy("K3")
async def test_a_storm_of_wrong_keys_is_refused_alike_and_others_are_served_meanwhile(
    gateway_process: Callable[..., GatewayProcess],
) -> None:
    with gateway_process().started() as gateway:
        process = psutil.Process(gateway.pid)
        async with gateway.async_client(gateway.key()) as client:
            question: Any = {"model": "haiku", "messages": [user("Hello")]}
            await client.chat.completions.create(**question)
            await refused(gateway.http_url, 0, AHEAD)
            before = process.memory_info().rss
            storm = asyncio.gather(*(refused(gateway.http_url, first, AHEAD) for first in range(0, STORM, AHEAD)))
            assert said(await client.chat.completions.create(**question)), "while the storm lasts"
            told = set.union(*await storm)
            assert process.memory_info().rss - before < BOUND
            assert said(await client.chat.completions.create(**question))
    (answer,) = told
    assert answer.startswith(b"401 ")
    assert json.loads(answer[4:])["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_sql_in_a_key_is_a_wrong_key(gateway: Gateway, client: openai.OpenAI, header: str) -> None:
    for text in SQL:
        value = f"Bearer {text}" if header == "authorization" else text
        answer = client._client.get(f"{gateway.http_url}/v1/models", headers={header: value})
        assert answer.status_code == 401, text
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert client.models.list().data, "the tables are still there"


def test_sql_in_a_model_a_user_and_an_id_is_text(gateway: Gateway, client: openai.OpenAI) -> None:
    question: Any = [user("Hello")]
    before = gateway.access(lambda access: access.keys.list())
    for text in SQL:
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=text, messages=question)
        path = f"{gateway.http_url}/v1/models/{quote(text, safe='')}"
        assert client._client.get(path, headers=client.auth_headers).status_code == 404
    for text in SQL[:3]:
        headers = {"x-request-id": text, "x-client-request-id": text}
        assert said(client.chat.completions.create(model="haiku", messages=question, user=text, extra_headers=headers))
    after = gateway.access(lambda access: access.keys.list())
    assert [key.id for key in after] == [key.id for key in before]
