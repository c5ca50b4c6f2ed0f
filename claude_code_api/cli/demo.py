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
    from openai.types.chat import ParsedChatCompletionMessage

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
        await _chat(client)
        await _look(client)
        await _use_a_tool(client)


async def _chat(client: AsyncOpenAI) -> None:
    chat: list[Any] = [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "My name is Ada. Say hello."},
    ]
    chat.append(await _ask(client, "A streamed chat", chat))
    chat.append({"role": "user", "content": "What did I say first?"})
    await _ask(client, "A second turn that refers to the first", chat)


async def _look(client: AsyncOpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_picture()}"}}
    question = {"type": "text", "text": "What is in this picture?"}
    await _ask(client, "A question with an image", [{"role": "user", "content": [question, image]}])


async def _use_a_tool(client: AsyncOpenAI) -> None:
    """A call that this program runs; the stand-in is told to make it, as a model would have chosen to."""
    from claude_code_api.stand_in import script

    told = script(
        text="I will look.",
        tools=[{"name": "temperature_in", "input": {"city": "Lisbon"}}],
        then={"text": "It is 21 degrees in Lisbon."},
    )
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "temperature_in", "parameters": parameters}}]
    chat: list[Any] = [{"role": "user", "content": f"How warm is it in Lisbon? {told}"}]
    chat.append(await _ask(client, "A tool that the client runs", chat, tools=tools))
    calls = chat[-1].tool_calls or ()
    chat += [{"role": "tool", "tool_call_id": call.id, "content": "21"} for call in calls]
    await _ask(client, "Its result, to the process that waited for it", chat, tools=tools)


async def _ask(
    client: AsyncOpenAI, title: str, messages: Iterable[Any], **more: Any
) -> ParsedChatCompletionMessage[None]:
    """Streams one answer to the terminal, with the time to its first token and to its end; gives its message."""
    turns = list(messages)
    console.print(f"\n[bold]{title}[/bold]")
    console.print(Text("  you     ", "dim"), Text(_shown(turns[-1])), sep="")
    console.print(Text("  claude  ", "dim"), end="")
    started = time.monotonic()
    first = None
    asked = client.chat.completions.stream(
        model="sonnet", messages=turns, stream_options={"include_usage": True}, **more
    )
    async with asked as stream:
        async for event in stream:
            if event.type == "content.delta":
                first = first or time.monotonic() - started
                console.print(Text(event.delta), end="")
        whole = await stream.get_final_completion()
    message: ParsedChatCompletionMessage[None] = whole.choices[0].message
    for call in message.tool_calls or ():
        console.print(Text(f" [calls {call.function.name}({call.function.arguments})]", "cyan"), end="")
    console.print()
    if whole.usage is None or not message.content:
        raise OperatorFailure("The answer was not whole; the demo has failed.")
    total = time.monotonic() - started
    tokens = f"{whole.usage.prompt_tokens} tokens in, {whole.usage.completion_tokens} out"
    console.print(
        Text(f"          first token {1000 * (first or 0):.0f} ms, whole {1000 * total:.0f} ms, {tokens}", "dim")
    )
    return message


def _say(what: str, shown: str) -> None:
    console.print(f"{what:<34}", Text(shown, "cyan"), sep="")


def _shown(message: dict[str, Any]) -> str:
    """What a message says, without the stand-in's script."""
    from claude_code_api.stand_in.script import MARKER

    content = message["content"]
    if message["role"] == "tool":
        return f"[the tool's result: {content}]"
    if isinstance(content, str):
        return content.partition(MARKER)[0].rstrip()
    return " ".join(part.get("text", "[a PNG of 64 × 64 pixels]") for part in content)


def _picture() -> str:
    """A small PNG in base64: a gradient of 64 by 64 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(value for x in range(64) for value in (4 * x, 4 * y, 160)) for y in range(64))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    whole = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + whole).decode()
