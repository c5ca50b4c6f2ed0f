"""A request to `/v1/chat/completions` becomes a `Conversation`. Faults are `InvalidRequest` with the field's path."""

from __future__ import annotations

from typing import Literal

import msgspec

from claude_code_api.conversation import Conversation, Effort, Sampling
from claude_code_api.dialects.json_body import decode_json
from claude_code_api.dialects.openai_chat.faults import invalid_value
from claude_code_api.dialects.openai_chat.limits import Limits
from claude_code_api.dialects.openai_chat.output_format import read_output_format
from claude_code_api.dialects.openai_chat.schema import Request, unsupported_field
from claude_code_api.dialects.openai_chat.tools import read_tool_choice, read_tools
from claude_code_api.dialects.openai_chat.turns import read_messages
from claude_code_api.errors import InvalidRequest


class ChatRequest(msgspec.Struct, frozen=True):
    """What a client asks: a conversation, and how it wants the answer.

    `legacy_functions`: its tools came as `functions`, so that a call is answered as `function_call`.
    `show_thinking`: it asked for thinking, and gets to read it.
    """

    conversation: Conversation
    stream: bool
    include_usage: bool
    legacy_functions: bool = False
    show_thinking: bool = False


LEAST_TOP_P = 0.95
"""What Anthropic takes together with thinking."""

_decoder = msgspec.json.Decoder(Request)


def decode(body: bytes, limits: Limits) -> ChatRequest:
    """The request in `body`; InvalidRequest where it is wrong, over a limit, or asks for what is not supported.

    Faults of `messages` have the code `invalid_messages` and a message that begins `Invalid request format`
    (policy V1).
    """
    try:
        request = decode_json(body, _decoder, limits.max_depth)
    except InvalidRequest as fault:
        raise _as_messages_fault(fault) from None
    options = request.stream_options
    if options is not None and not request.stream:
        raise InvalidRequest(
            "`stream_options` is only allowed with `stream`.", code="invalid_value", param="stream_options"
        )
    if not limits.ignore_unsupported and (row := unsupported_field(request)):
        raise InvalidRequest(
            f"`{row.name}` is not supported; leave it out, or give {' or '.join(('null', *row.neutral))}.",
            code="unsupported_parameter",
            param=row.name,
        )
    tools = read_tools(request)
    tool_choice = read_tool_choice(request, tools)
    output_schema, instruction = read_output_format(request)
    effort: Effort | Literal["none"] | None = (
        "low" if request.reasoning_effort == "minimal" else request.reasoning_effort
    )
    temperature, top_p = _sampling(request, effort not in (None, "none"), limits)
    system, messages = read_messages(request.messages, limits)
    conversation = Conversation(
        model=request.model,
        messages=messages,
        system="\n\n".join(filter(None, (system, instruction))),
        tools=tools,
        sampling=Sampling(
            max_tokens=request.max_completion_tokens or request.max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop_sequences=_stop_sequences(request.stop, limits),
            tool_choice=tool_choice,
            output_schema=output_schema,
            effort=effort,
        ),
        end_user=request.user or None,
    )
    return ChatRequest(
        conversation,
        stream=bool(request.stream),
        include_usage=bool(options and options.include_usage),
        legacy_functions=bool(request.functions),
        show_thinking=effort not in (None, "none"),
    )


def _as_messages_fault(fault: InvalidRequest) -> InvalidRequest:
    param = fault.param or ""
    if fault.code == "invalid_value" and (param.partition(".")[0] in ("", "messages")):
        # a body that is no object has no messages
        return InvalidRequest(fault.message, code="invalid_messages", param=param or "messages")
    return fault


def _sampling(request: Request, thinks: bool, limits: Limits) -> tuple[float | None, float | None]:
    """`temperature` and `top_p`. Claude thinks at its own temperature only, like OpenAI's reasoning models."""
    temperature = None if request.temperature is None else min(request.temperature, 1.0)
    top_p = request.top_p
    if not thinks:
        return temperature, top_p
    for name, hampers, allowed in (
        ("temperature", temperature not in (None, 1.0), "1"),
        ("top_p", top_p is not None and top_p < LEAST_TOP_P, f"at least {LEAST_TOP_P}"),
    ):
        if hampers and not limits.ignore_unsupported:
            reason = f"together with `reasoning_effort` only {allowed} is supported"
            raise invalid_value(reason, name, code="unsupported_parameter")
    return None, top_p if top_p is not None and top_p >= LEAST_TOP_P else None


def _stop_sequences(stop: str | list[str] | None, limits: Limits) -> tuple[str, ...]:
    sequences = [stop] if isinstance(stop, str) else stop or []
    for index, sequence in enumerate(sequences):
        if not sequence.strip() and not limits.ignore_unsupported:
            param = "stop" if isinstance(stop, str) else f"stop.{index}"
            raise InvalidRequest(
                f"`{param}` is only whitespace, which Claude takes for no stop sequence.",
                code="unsupported_parameter",
                param=param,
            )
    return tuple(sequence for sequence in sequences if sequence.strip())
