"""`demo`: the main job shown with no account, against a stand-in for Anthropic's API, and nothing left behind."""

from __future__ import annotations

import struct
import sys
import tempfile
import time
import zlib
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from claude_code_api.errors import OperatorFailure

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from claude_code_api.application import Running

console = Console(highlight=False, soft_wrap=True)


def demo(
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to make its temporary data directory [the system's].")
    ] = None,
) -> None:
    """Show the main job with no account: a gateway, a stand-in for Anthropic's API, a chat through Claude Code.

    Example: claude-code-api demo
    """
    try:
        import openai  # noqa: F401 - an extra: programs bring their own client
    except ImportError:
        raise OperatorFailure(
            "The demo speaks through the openai package: pip install 'claude-code-api[demo]'."
        ) from None
    from claude_code_api.operations import logs

    logs.configure("error", "console", sys.stderr)
    import uvloop

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="claude-code-api-demo-", dir=data_dir) as directory:
        uvloop.run(_demo(Path(directory)))
    console.print(f"\nDone in {time.monotonic() - started:.1f} s; nothing is left running, and no file is left behind.")


async def _demo(directory: Path) -> None:
    from claude_code_api.application import running
    from claude_code_api.settings import given_only
    from claude_code_api.stand_in import StandIn

    async with StandIn() as upstream:
        settings = given_only(
            data_dir=directory / "data", port=0, https_port=0, anthropic_base_url=upstream.url, spare_processes=1
        )
        _say("A stand-in for Anthropic's API", upstream.url)
        async with running(settings) as gateway:
            _say("The gateway", f"{gateway.server.http_url} and {gateway.server.https_url}")
            await _use(gateway)


async def _use(gateway: Running) -> None:
    import claude_agent_sdk
    from openai import AsyncOpenAI

    from claude_code_api.secret import Secret
    from claude_code_api.stand_in import oauth_token

    credential = await gateway.access.credentials.add("demo", Secret(oauth_token("demo")))
    _say("A stored OAuth token, encrypted", f"{credential.name} (sk-ant-oat01-…{credential.hint})")
    key, secret = await gateway.access.keys.create("demo program", credential.id)
    _say("An API key for a program", f"{key.name} (sk-…{key.hint})")
    _say("Claude Code", f"the program in claude-agent-sdk {claude_agent_sdk.__version__}")

    client = AsyncOpenAI(base_url=f"{gateway.server.http_url}/v1", api_key=secret.reveal(), max_retries=0)
    async with client:
        chat: list[dict[str, Any]] = [
            {"role": "system", "content": "You are brief."},
            {"role": "user", "content": "My name is Ada. Say hello."},
        ]
        chat.append({"role": "assistant", "content": await _ask(client, "A streamed chat", chat)})
        chat.append({"role": "user", "content": "What did I say first?"})
        await _ask(client, "A second turn that refers to the first", chat)
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_picture()}"}}
        question = {"type": "text", "text": "What is in this picture?"}
        await _ask(client, "A question with an image", [{"role": "user", "content": [question, image]}])


async def _ask(client: AsyncOpenAI, title: str, messages: Iterable[Any]) -> str:
    """Streams one answer to the terminal, with the time to its first token and to its end."""
    turns = list(messages)
    console.print(f"\n[bold]{title}[/bold]")
    console.print(Text("  you     ", "dim"), Text(_shown(turns[-1]["content"])), sep="")
    console.print(Text("  claude  ", "dim"), end="")
    started = time.monotonic()
    first = None
    said = ""
    usage = None
    stream = await client.chat.completions.create(
        model="sonnet", messages=turns, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            if text := choice.delta.content:
                first = first or time.monotonic() - started
                said += text
                console.print(Text(text), end="")
    console.print()
    if usage is None or not said:
        raise OperatorFailure("The answer was not whole; the demo has failed.")
    total = time.monotonic() - started
    tokens = f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out"
    console.print(
        Text(f"          first token {1000 * (first or 0):.0f} ms, whole {1000 * total:.0f} ms, {tokens}", "dim")
    )
    return said


def _say(what: str, shown: str) -> None:
    console.print(f"{what:<34}", Text(shown, "cyan"), sep="")


def _shown(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "[a PNG of 64 × 64 pixels]") for part in content)


def _picture() -> str:
    """A small PNG in base64: a gradient of 64 by 64 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(value for x in range(64) for value in (4 * x, 4 * y, 160)) for y in range(64))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    whole = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + whole).decode()
