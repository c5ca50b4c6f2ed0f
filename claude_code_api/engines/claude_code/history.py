"""A conversation as the lines that Claude Code reads: native turns, never flattened into text. Pure."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec

from claude_code_api.conversation import Conversation, Effort, Message, Sampling
from claude_code_api.credential import Credential, CredentialKind
from claude_code_api.engines.claude_code.client_tools import PREFIX

Line = dict[str, Any]

# Claude's newer models refuse the two together (measured: "cannot both be specified"); the docs tell which counts.
_ONE_OF = ("temperature", "top_p")


CACHED_FOR = {CredentialKind.OAUTH: "1h", CredentialKind.API_KEY: "5m"}
"""How long Anthropic keeps what is marked for its cache. It is what Claude Code chooses by itself, and said so that our
mark in a history agrees: Anthropic takes no longer time after a shorter one.
"""

_NOTHING = "(no content)"  # Claude Code leaves out an assistant's turn that says exactly this


def user_line(message: Message, *, ask: bool) -> Line:
    """A user turn; only one with `ask` is answered by the model.

    `client_composed` is what keeps `@path`, `/command`, `!command` and `#note` plain text (policy V3). The uuid
    is the handle by which a live conversation can be taken back to before this turn.
    """
    return {
        "type": "user",
        "message": {"role": "user", "content": blocks(message)},
        "parent_tool_use_id": None,
        "session_id": "",
        "uuid": str(uuid4()),
        "client_composed": True,
        **({} if ask else {"shouldQuery": False}),
    }


def assistant_line(message: Message, model: str, *, cached_for: str | None = None) -> Line:
    """A turn that the assistant has taken, wherever it took it.

    `cached_for`: how long Anthropic is to keep the conversation up to here in its cache.
    """
    content = blocks(message)
    if cached_for is not None:
        content[-1]["cache_control"] = {"type": "ephemeral", "ttl": cached_for}
    return {
        "type": "assistant",
        "message": {
            "id": f"msg_{uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        },
        "parent_tool_use_id": None,
        "session_id": "",
        "uuid": str(uuid4()),
    }


def blocks(message: Message) -> list[Line]:
    """The content of a turn as Anthropic has it, its calls under the names that the model knows the tools by."""
    plain: list[Line] = []
    for block in msgspec.to_builtins(message.content):
        if block["type"] == "tool_use":
            block["name"] = PREFIX + block["name"]
        if block.get("text", "").strip() == _NOTHING:
            plain += [{"type": "text", "text": "("}, {"type": "text", "text": block["text"].lstrip().removeprefix("(")}]
        else:
            plain.append(block)
    return plain


def flag_settings(conversation: Conversation, credential: Credential, effort: Effort | None) -> Line:
    """Claude Code's settings for one turn: the model, the effort, the sampling and, where it is one, the Anthropic API
    key.

    An OAuth token goes another way: this one would leave it in the program's settings.
    """
    environment = {
        "CLAUDE_CODE_EXTRA_BODY": msgspec.json.encode(extra_body(conversation.sampling)).decode(),
        "CLAUDE_CODE_PROMPT_CACHE_TTL": CACHED_FOR[credential.kind],
    }
    if credential.kind is CredentialKind.API_KEY:
        environment["ANTHROPIC_API_KEY"] = credential.token.reveal()
    return {"model": conversation.model, "effortLevel": effort, "env": environment}


def extra_body(sampling: Sampling) -> Line:
    """The fields of Anthropic's request that shape one answer; what is not given is not sent."""
    body = {name: value for name, value in msgspec.to_builtins(sampling).items() if value is not None}
    if all(name in body for name in _ONE_OF):
        del body["top_p"]
    elif "top_p" in body:
        body["temperature"] = None  # where thinking is off Claude Code sends one of its own, which counts as given
    if (choice := sampling.tool_choice) is not None:
        body["tool_choice"] = {"type": choice.type}
        if choice.name is not None:
            body["tool_choice"]["name"] = PREFIX + choice.name
        if choice.disable_parallel_tool_use and choice.type != "none":
            body["tool_choice"]["disable_parallel_tool_use"] = True
    body.pop("effort", None)  # a setting of its own (`thinking.py`)
    if (schema := body.pop("output_schema", None)) is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return body
