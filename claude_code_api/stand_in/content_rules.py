"""What the API demands of turns and of the blocks in them."""

from __future__ import annotations

from typing import Any

from claude_code_api.stand_in import documents, images, shape
from claude_code_api.stand_in.errors import invalid
from claude_code_api.stand_in.models import Model
from claude_code_api.stand_in.shape import Json

# As the program and users know it: the limit counts the characters of the base64 text.
MAX_IMAGE_BYTES = 5 * 1024 * 1024
MAX_IMAGE_PIXELS = 8000
IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")

# For each type of block that is checked: the fields that it must and may have.
_BLOCKS = {
    "text": (("type", "text"), ("cache_control", "citations")),
    "image": (("type", "source"), ("cache_control", "transformations")),
    "document": (("type", "source"), ("cache_control", "citations", "context", "title")),
    "thinking": (("type", "thinking", "signature"), ()),
    "redacted_thinking": (("type", "data"), ()),
    "tool_use": (("type", "id", "name", "input"), ("cache_control", "caller", "toolset_name")),
    "tool_result": (("type", "tool_use_id"), ("content", "is_error", "cache_control", "toolset_name")),
}
# Blocks of server tools and betas, which are taken as they come.
_UNCHECKED = frozenset({
    "search_result", "server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "container_upload",
    "code_execution_tool_result", "bash_code_execution_tool_result", "text_editor_code_execution_tool_result",
    "tool_search_tool_result", "tool_reference", "tool_addition", "tool_removal", "mcp_tool_use", "mcp_tool_result",
    "compaction", "browser_state",
})  # fmt: skip
_ONLY_ASSISTANT = frozenset({"tool_use", "thinking", "redacted_thinking"})
_ONLY_USER = frozenset({"tool_result", "image", "document"})
_IN_TOOL_RESULT = frozenset({"text", "image", "document", "search_result", "tool_reference", "browser_state"})


def check_system(system: Any) -> None:
    if isinstance(system, str):
        return
    if not isinstance(system, list):
        raise invalid("system: Input should be a valid string or list")
    for number, block in enumerate(system):
        path = f"system.{number}"
        shape.one_of(shape.mapping(block, path).get("type"), ("text",), f"{path}.type")
        _text(block, path, "system", may_be_blank=True)


def check_messages(messages: list[Any]) -> None:
    """Shapes and contents, each message for itself."""
    if not messages:
        raise invalid("messages: at least one message is required")
    last = len(messages) - 1
    for number, message in enumerate(messages):
        path = f"messages.{number}"
        system = shape.mapping(message, path).get("role") == "system"
        shape.fields(message, path, ("role", "content"), ("output_config", "clear_at") if system else ())
        role = shape.one_of(message["role"], ("user", "assistant", "system"), f"{path}.role")
        content = message["content"]
        if isinstance(content, str):
            if content.strip():
                continue
            if content:
                raise invalid("messages: text content blocks must contain non-whitespace text")
        elif not isinstance(content, list):
            raise invalid(f"{path}.content: Input should be a valid string or list")
        controls = system and "output_config" in message  # what such a turn sets is all that it may hold
        if not content and not controls and not (number == last and role == "assistant"):
            raise invalid(
                f"{path}: all messages must have non-empty content except for the optional final assistant message"
            )
        for position, block in enumerate(content):
            _block(block, f"{path}.content.{position}")
            _placed(block["type"], role, path)
    documents.check_pages(messages)


def check_turns(messages: list[Json], model: Model) -> None:
    """The order of roles, and what a model takes of it; consecutive turns of one role are one turn."""
    if messages[0]["role"] != "user":
        raise invalid('messages: first message must use the "user" role')
    for number, message in enumerate(messages):
        if message["role"] != "system":
            continue
        if not model.system_turns:
            raise invalid("role 'system' is not supported on this model")
        if messages[number - 1]["role"] == "assistant":
            raise invalid(f"messages.{number}: a 'system' message must follow a 'user' message")
    spoken = [message for message in messages if message["role"] != "system"]
    if spoken[-1]["role"] == "assistant":
        if not model.prefill:
            raise invalid(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        _check_prefill(spoken[-1]["content"])


def _check_prefill(content: str | list[Json]) -> None:
    text = content if isinstance(content, str) else content[-1].get("text", "") if content else ""
    if text != text.rstrip():
        raise invalid("messages: final assistant content cannot end with trailing whitespace")


def _placed(kind: str, role: str, path: str) -> None:
    if kind in _ONLY_ASSISTANT and role != "assistant":
        raise invalid(f"{path}: `{kind}` blocks can only be in `assistant` messages")
    if kind in _ONLY_USER and role != "user":
        raise invalid(f"{path}: `{kind}` blocks can only be in `user` messages")


def _block(block: Any, path: str) -> None:
    kind = shape.mapping(block, path).get("type")
    if kind is None:
        raise invalid(f"{path}.type: Field required")
    if kind in _UNCHECKED:
        return
    if kind not in _BLOCKS:
        known = ", ".join(f"'{name}'" for name in (*_BLOCKS, *sorted(_UNCHECKED)))
        raise invalid(f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {known}")
    if kind == "text":
        _text(block, path, "messages")
        return
    shape.fields(block, f"{path}.{kind}", *_BLOCKS[kind])
    match kind:
        case "image":
            _image(block["source"], f"{path}.image.source")
        case "document":
            documents.check(block, f"{path}.document")
        case "thinking":
            shape.text(block["thinking"], f"{path}.thinking.thinking")
            shape.text(block["signature"], f"{path}.thinking.signature")
        case "tool_use":
            shape.mapping(block["input"], f"{path}.tool_use.input")
        case "tool_result":
            _tool_result(block, path)


def _text(block: Json, path: str, field: str, *, may_be_blank: bool = False) -> None:
    shape.fields(block, f"{path}.text" if "text" in block else path, *_BLOCKS["text"])
    text = shape.text(block["text"], f"{path}.text.text")
    if not text:
        if block.get("cache_control"):
            raise invalid(f"{path}.text: cache_control cannot be set for empty text blocks")
        raise invalid(f"{field}: text content blocks must be non-empty")
    if not may_be_blank and text.isspace():
        raise invalid(f"{field}: text content blocks must contain non-whitespace text")


def _tool_result(block: Json, path: str) -> None:
    shape.text(block["tool_use_id"], f"{path}.tool_result.tool_use_id")
    if block.get("is_error") is not None:
        shape.flag(block["is_error"], f"{path}.tool_result.is_error")
    content = block.get("content")
    if content is None or isinstance(content, str):
        return
    for number, part in enumerate(shape.array(content, f"{path}.tool_result.content")):
        where = f"{path}.tool_result.content.{number}"
        kind = shape.mapping(part, where).get("type")
        if kind not in _IN_TOOL_RESULT:
            shape.one_of(kind, tuple(sorted(_IN_TOOL_RESULT)), f"{where}.type")
        _block(part, where)


def _image(source: Any, path: str) -> None:
    kind = shape.mapping(source, path).get("type")
    shape.one_of(kind, ("base64", "url", "file"), f"{path}.type")
    if kind == "url":
        if not shape.text(source.get("url"), f"{path}.url.url").startswith("https://"):
            raise invalid("Only HTTPS URLs are supported.")
        return
    if kind == "file":
        return
    path += ".base64"
    shape.fields(source, path, ("type", "media_type", "data"), ())
    claimed = shape.one_of(source["media_type"], IMAGE_TYPES, f"{path}.media_type")
    data = shape.base64_data(source["data"], f"{path}.data")
    size = len(source["data"])
    if size > MAX_IMAGE_BYTES:
        raise invalid(f"{path}: image exceeds 5 MB maximum: {size} bytes > {MAX_IMAGE_BYTES} bytes")
    actual = images.media_type(data)
    if actual is None:
        raise invalid("Could not process image")
    if actual != claimed:
        raise invalid(
            f"{path}: The image was specified using the {claimed} media type, but the image appears to be a "
            f"{actual} image"
        )
    if max(images.pixels(data) or (0, 0)) > MAX_IMAGE_PIXELS:
        raise invalid(
            f"{path}: At least one of the image dimensions exceed max allowed size: {MAX_IMAGE_PIXELS} pixels"
        )
