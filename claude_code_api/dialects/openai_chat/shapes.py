"""The shapes of the answers, for the interface's description. A test holds real answers against them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from claude_code_api.dialects.openai_chat.answer import FinishReason


class Called(msgspec.Struct):
    """`arguments` is the text of a JSON object."""

    name: str
    arguments: str


class Call(msgspec.Struct, tag_field="type", tag="function"):
    id: str
    function: Called


class AnswerMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    """`reasoning_content` is there only where thinking was asked for."""

    content: str | None
    refusal: str | None
    annotations: list[Any]
    reasoning_content: str | UnsetType | None = UNSET
    tool_calls: list[Call] | UnsetType = UNSET
    function_call: Called | UnsetType = UNSET


class Choice(msgspec.Struct):
    index: int
    message: AnswerMessage
    logprobs: None
    finish_reason: FinishReason


class PromptTokens(msgspec.Struct):
    cached_tokens: int
    audio_tokens: int


class CompletionTokens(msgspec.Struct):
    """`reasoning_tokens` is left out where Anthropic does not tell it."""

    audio_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int
    reasoning_tokens: int | UnsetType = UNSET


class TokenUsage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens
    completion_tokens_details: CompletionTokens


class Completion(msgspec.Struct, tag_field="object", tag="chat.completion"):
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: TokenUsage
    system_fingerprint: None


class ModelCard(msgspec.Struct, tag_field="object", tag="model"):
    id: str
    created: int
    owned_by: str


class ModelList(msgspec.Struct, tag_field="object", tag="list"):
    data: list[ModelCard]


class Fault(msgspec.Struct):
    """`param` is the path of the field at fault, `code` what programs branch on."""

    message: str
    type: Literal[
        "invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "api_error"
    ]  # fmt: skip
    param: str | None
    code: str


class Error(msgspec.Struct):
    error: Fault
