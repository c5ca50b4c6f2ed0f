"""What the Messages API demands of a request, told in its own words (https://docs.claude.com/en/api/messages)."""

from __future__ import annotations

from typing import Any

import msgspec

from claude_code_api.stand_in import cache_rules, content_rules, models, shape, thinking_rules, tool_rules
from claude_code_api.stand_in.errors import invalid
from claude_code_api.stand_in.models import Model

_REQUIRED = frozenset({"model", "max_tokens", "messages"})
_COUNT_REQUIRED = frozenset({"model", "messages"})
_COUNTED = frozenset({
    "system", "tools", "tool_choice", "thinking", "cache_control", "output_config", "speed", "betas",
    "mcp_servers", "context_management", "output_format", "user_profile_id",
})  # fmt: skip
_OPTIONAL = _COUNTED | {
    "stream", "stop_sequences", "temperature", "top_p", "top_k", "metadata", "service_tier", "container",
    "inference_geo", "diagnostics", "compaction", "fallbacks", "fallback_credit_token", "billing_policy", "thread",
}  # fmt: skip


def decode(body: bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from None
    if not isinstance(request, dict):
        raise invalid("Input should be a valid dictionary")
    return request


def check(request: dict[str, Any]) -> None:
    """Refused unless the API would answer this request of `POST /v1/messages`."""
    shape.fields(request, "", _REQUIRED, _OPTIONAL)
    max_tokens = shape.integer(request["max_tokens"], "max_tokens", least=1)
    if "stream" in request:
        shape.flag(request["stream"], "stream")
    _stop_sequences(request.get("stop_sequences"))
    _metadata(request.get("metadata"))
    model = _prompt(request)
    if max_tokens > model.max_tokens:
        raise invalid(
            f"max_tokens: {max_tokens} > {model.max_tokens}, which is the maximum allowed number of output tokens "
            f"for {request['model']}"
        )
    thinks = thinking_rules.check(request, model, max_tokens)
    _sampling(request, model, thinks=thinks)
    if request.get("tool_choice", {}).get("type") in ("any", "tool"):
        if not model.forced_tools:
            raise invalid('tool_choice: type "tool" and "any" are not supported for this model.')
        if (request.get("thinking") or {}).get("type") == "enabled":
            raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
    thinking_rules.check_blocks(request, model)


def check_count(request: dict[str, Any]) -> None:
    """The same for `POST /v1/messages/count_tokens`."""
    shape.fields(request, "", _COUNT_REQUIRED, _COUNTED)
    _prompt(request)


def _prompt(request: dict[str, Any]) -> Model:
    """What the model reads; the model itself comes last, as an unknown one is a 404."""
    name = shape.text(request["model"], "model")
    tool_rules.check_tools(request)
    content_rules.check_system(request.get("system", ""))
    messages = shape.array(request["messages"], "messages")
    content_rules.check_messages(messages)
    tool_rules.check_results(messages)
    cache_rules.check(request)
    model = models.find(name)
    content_rules.check_turns(messages, model)
    return model


def _stop_sequences(sequences: Any) -> None:
    if sequences is None:
        return
    for number, sequence in enumerate(shape.array(sequences, "stop_sequences")):
        if not shape.text(sequence, f"stop_sequences.{number}").strip():
            raise invalid("stop_sequences: each stop sequence must contain non-whitespace")


def _metadata(metadata: Any) -> None:
    if metadata is None:
        return
    shape.fields(shape.mapping(metadata, "metadata"), "metadata", (), ("user_id",))
    if metadata.get("user_id") is not None:
        shape.text(metadata["user_id"], "metadata.user_id")


def _sampling(request: dict[str, Any], model: Model, *, thinks: bool) -> None:
    temperature, top_p, top_k = (request.get(name) for name in ("temperature", "top_p", "top_k"))
    if temperature is not None:
        shape.fraction(temperature, "temperature")
    if top_p is not None:
        shape.fraction(top_p, "top_p")
    if top_k is not None:
        shape.integer(top_k, "top_k", least=0)
    if model.sampling == "none":
        given = {
            "temperature": temperature not in (None, 1),
            "top_p": top_p not in (None, 1),
            "top_k": top_k is not None,
        }
        for name, is_given in given.items():
            if is_given:
                raise invalid(f"`{name}` is deprecated for this model.")
    if model.sampling == "one" and temperature is not None and top_p is not None:
        raise invalid("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if thinks and temperature not in (None, 1):
        raise invalid("`temperature` may only be set to 1 when thinking is enabled.")
    if thinks and top_p is not None and top_p < 0.95:
        raise invalid("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
    if thinks and top_k is not None:
        raise invalid("`top_k` must be unset when thinking is enabled.")
