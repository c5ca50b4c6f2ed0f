"""What the API demands of thinking: how it is asked for, and how it comes back
(https://platform.claude.com/docs/en/build-with-claude/thinking)."""

from __future__ import annotations

from typing import Any

from claude_code_api.stand_in import shape, signatures
from claude_code_api.stand_in.errors import invalid
from claude_code_api.stand_in.models import Model

EFFORTS = ("low", "medium", "high", "xhigh", "max")
_DISPLAYS = ("summarized", "omitted", "updates")
_THOUGHT = ("thinking", "redacted_thinking")


def thinks(request: dict[str, Any], model: Model) -> bool:
    """Whether the model thinks before it speaks."""
    kind = (request.get("thinking") or {}).get("type")
    return model.thinks_unasked if kind is None else kind in ("enabled", "adaptive")


def shows_text(request: dict[str, Any], model: Model) -> bool:
    """Whether thinking comes with its text, or signed alone."""
    display = (request.get("thinking") or {}).get("display")
    return display == "summarized" or (display is None and model.shows_thinking)


def check(request: dict[str, Any], model: Model, max_tokens: int) -> bool:
    """Refused unless it is asked for in a way that the model takes. Whether it is on by this request's own word."""
    effort = _effort(request.get("output_config"), model)
    thinking = request.get("thinking")
    if thinking is None:
        return False
    kind = shape.mapping(thinking, "thinking").get("type")
    shape.one_of(kind, ("enabled", "disabled", "adaptive", "between_tools"), "thinking.type")
    match kind:
        case "enabled":
            _budget(thinking, model, max_tokens)
        case "adaptive":
            shape.fields(thinking, "thinking.adaptive", ("type",), ("display",))
            if model.thinking == "budget":
                raise invalid("adaptive thinking is not supported on this model")
        case "disabled" if model.thinking_off in ("never", "between_tools"):
            other = "between_tools" if model.thinking_off == "between_tools" else "adaptive"
            raise invalid(
                f'"thinking.type.disabled" is not supported for this model. Use "thinking.type.{other}" and '
                '"output_config.effort" to control thinking behavior.'
            )
        case "between_tools" if model.thinking_off != "between_tools":
            raise invalid('"thinking.type.between_tools" is not supported for this model.')
    if kind in ("disabled", "between_tools") and model.thinking_off != "any" and effort in ("xhigh", "max"):
        raise invalid(f"output_config.effort '{effort}' requires thinking to be on for this model.")
    if thinking.get("display") is not None:
        shape.one_of(thinking["display"], _DISPLAYS, f"thinking.{kind}.display")
    return kind in ("enabled", "adaptive")


def check_blocks(request: dict[str, Any], model: Model) -> None:
    """Thinking that comes back is what the model thought, in its place; with a budget, calls follow their thinking."""
    if any(_holds(message, kind) for message in request["messages"] for kind in _THOUGHT):
        place = signatures.places(request)
        for number, message in enumerate(request["messages"]):
            for position, block in enumerate(signatures.blocks_of(message)):
                if block["type"] in _THOUGHT:
                    _signed(block, f"messages.{number}.content.{position}", place if model.binds_thinking else None)
                place.add_block(message["role"], block)
            place.add_message(message | {"content": []})
    if (request.get("thinking") or {}).get("type") == "enabled":
        _loop_begins_with_thinking(request["messages"])


def _effort(config: Any, model: Model) -> str | None:
    effort = shape.mapping(config or {}, "output_config").get("effort")
    if effort is None:
        return None
    shape.one_of(effort, EFFORTS, "output_config.effort")
    if effort not in model.efforts:
        if not model.efforts:
            raise invalid("This model does not support the effort parameter.")
        known = ", ".join(model.efforts)
        raise invalid(f"This model does not support effort level '{effort}'. Supported levels: {known}.")
    return str(effort)


def _budget(thinking: dict[str, Any], model: Model, max_tokens: int) -> None:
    if model.thinking == "adaptive":
        raise invalid(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    shape.fields(thinking, "thinking.enabled", ("type", "budget_tokens"), ("display",))
    budget = shape.integer(thinking["budget_tokens"], "thinking.enabled.budget_tokens", least=1024)
    if budget >= max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _signed(block: dict[str, Any], path: str, place: signatures.Places | None) -> None:
    if block["type"] == "redacted_thinking":
        text, _, signature = shape.text(block["data"], f"{path}.redacted_thinking.data").rpartition(".")
        name = "data"
    else:
        text, signature, name = block["thinking"], block["signature"], "signature"
    if not signatures.is_genuine(text, signature):
        raise invalid(f"{path}: Invalid `{name}` in `{block['type']}` block")
    if place is not None and not signatures.is_in_place(signature, place.here()):
        raise invalid(
            f"{path}: Invalid `{name}` in `{block['type']}` block. The block is bound to a different conversation. "
            'Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
        )


def _loop_begins_with_thinking(messages: list[dict[str, Any]]) -> None:
    numbered = [(number, m) for number, m in enumerate(messages) if m["role"] != "system"]
    if len(numbered) < 2 or not _holds(numbered[-1][1], "tool_result"):
        return
    number, assistant = numbered[-2]
    first = signatures.blocks_of(assistant)[0]["type"]
    if first not in _THOUGHT:
        raise invalid(
            f"messages.{number}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
            "lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from "
            "previous turns. To avoid this requirement, disable `thinking`."
        )


def _holds(message: dict[str, Any], kind: str) -> bool:
    return any(block["type"] == kind for block in signatures.blocks_of(message))
