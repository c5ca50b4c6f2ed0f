"""What the turns of a request say, apart from what Claude Code adds to them."""

from __future__ import annotations

import re
from typing import Any

from claude_code_api.stand_in import documents
from claude_code_api.stand_in.images import describe
from claude_code_api.stand_in.script import NO_SCRIPT, Script, script_in

_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)

Request = dict[str, Any]
Content = str | list[dict[str, Any]]


def texts_of(content: Content) -> list[str]:
    """What was said in a message or a system prompt: its texts without reminders, empty ones left out."""
    texts = [content] if isinstance(content, str) else [block["text"] for block in content if block["type"] == "text"]
    said = [_REMINDER.sub("", text).strip() if "<system-reminder>" in text else text for text in texts]
    return [text for text in said if text.strip()]


def text_of(content: Content) -> str:
    return "\n".join(texts_of(content))


def user_texts(request: Request) -> list[str]:
    """The text of each user message that has any, oldest first."""
    texts = [text_of(message["content"]) for message in request["messages"] if message["role"] == "user"]
    return [text for text in texts if text]


def turn_count(request: Request) -> int:
    """How many turns there are, consecutive messages of one role being one."""
    roles = [message["role"] for message in request["messages"] if message["role"] != "system"]
    return sum(role != before for role, before in zip(roles, [None, *roles], strict=False))


def script_of(request: Request) -> Script:
    """The script that counts for this request.

    It stands in the last user message with text. Each answer since then, to which tools gave their results, leads
    one `then` further, so that a script that calls a tool does not call it for ever.
    """
    answers = 0
    later = ""
    for message in reversed(request["messages"]):
        role = message["role"]
        if role == "assistant" and later == "user":
            answers += 1
        if role != "system":
            later = role
        texts = texts_of(message["content"]) if role == "user" else []
        if texts:
            # Claude Code may put several messages of the user into one: the newest text comes first.
            script = next((found for text in reversed(texts) if (found := script_in(text))), None)
            while script is not None and answers:
                script, answers = script.then, answers - 1
            return script or NO_SCRIPT
    return NO_SCRIPT


def echo(request: Request, what: str) -> str:
    if what == "system":
        return text_of(request.get("system") or "")
    if what == "all":
        return "\n".join(f"{message['role']}: {text_of(message['content'])}" for message in request["messages"])
    texts = user_texts(request) or [""]
    return texts[0] if what == "first" else texts[-1]


def default_answer(request: Request) -> str:
    """One or two sentences that show what arrived, the same for the same request."""
    texts = [shortened(text) for text in user_texts(request)]
    count = turn_count(request)
    seen = f"I see {count} turn{'s' if count > 1 else ''}"
    if not texts:
        sentences = [f"{seen} without text."]
    elif count == 1:
        sentences = [f'{seen}, which says "{texts[0]}".']
    else:
        sentences = [f'{seen}: the first says "{texts[0]}", and the last of yours "{texts[-1]}".']
    content = next(message["content"] for message in reversed(request["messages"]) if message["role"] != "system")
    blocks = content if isinstance(content, list) else []
    results = [text_of(block.get("content") or "") for block in blocks if block["type"] == "tool_result"]
    if results:
        sentences.append("The tools answered " + " and ".join(f'"{shortened(result)}"' for result in results) + ".")
    files = [describe(block["source"]) for block in blocks if block["type"] == "image"]
    files += [documents.describe(block) for block in blocks if block["type"] == "document"]
    if files:
        sentences.append("With it came " + " and ".join(files) + ".")
    return " ".join(sentences)


def shortened(text: str, limit: int = 120) -> str:
    """On one line, and not much longer than a line."""
    text = " ".join(text[: 4 * limit].split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
