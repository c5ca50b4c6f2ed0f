"""The models that the stand-in answers for, and what sets them apart in a request."""

from __future__ import annotations

from typing import Any

import msgspec

from claude_code_api.stand_in.errors import Refused, invalid


class Model(msgspec.Struct, frozen=True):
    """One model.

    `thinking`: which kinds it takes ("budget", "both", "adaptive"); `thinking_off`: when it can be switched off ("any"
    effort, up to "high", "between_tools" instead, "never"); `binds_thinking`: whether thinking counts only in the
    place where it was thought. `efforts`: the levels that it knows. `forced_tools`: whether a request may force a call.
    `sampling`: how many of temperature and top_p a request may set ("both", "one", "none"). `prefill`: whether the
    last message may be the assistant's. `system_turns`: whether a system message may stand between the turns.
    `max_tokens`: the longest answer.
    """

    id: str
    display_name: str
    created_at: str
    thinking: str = "adaptive"
    thinking_off: str = "any"
    binds_thinking: bool = False
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    forced_tools: bool = True
    sampling: str = "none"
    prefill: bool = False
    system_turns: bool = True
    max_tokens: int = 128_000
    aliases: tuple[str, ...] = ()

    @property
    def thinks_unasked(self) -> bool:
        """Whether it thinks where a request does not say."""
        return self.thinking == "adaptive" and not self.id.startswith("claude-opus-4-")

    @property
    def shows_thinking(self) -> bool:
        """Whether the text of its thinking comes where a request does not say."""
        return self.thinking != "adaptive"

    def card(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "created_at": self.created_at,
            "lifecycle": "active",
            "max_tokens": self.max_tokens,
        }


def _of_5_5(
    model: str, display_name: str, created_at: str, thinking_off: str = "never", *, forced: bool = False
) -> Model:
    return Model(model, display_name, created_at, thinking_off=thinking_off, binds_thinking=True, forced_tools=forced)


def _of_4_6(model: str, display_name: str, created_at: str) -> Model:
    efforts = ("low", "medium", "high", "max")
    return Model(model, display_name, created_at, "both", efforts=efforts, sampling="one", system_turns=False)


def _older(model: str, display_name: str, created_at: str, *, sampling: str = "one", max_tokens: int = 64_000) -> Model:
    family = model[: -len("-20250101")]
    alias = family if family.count("-") == 3 else f"{family}-0"  # claude-opus-4-20250514 is claude-opus-4-0
    return Model(
        model,
        display_name,
        created_at,
        "budget",
        efforts=("low", "medium", "high") if family == "claude-opus-4-5" else (),
        sampling=sampling,
        prefill=True,
        system_turns=False,
        max_tokens=max_tokens,
        aliases=(alias,),
    )


# Newest first, as the API lists them. Which model takes what follows what Claude Code sends to it; the
# dates of the newest are not known and only put them in order.
MODELS = (
    _of_5_5("claude-opus-5-5", "Claude Opus 5.5", "2026-09-20T00:00:00Z"),
    _of_5_5("claude-fable-5-2", "Claude Fable 5.2", "2026-09-10T00:00:00Z"),
    _of_5_5("claude-sonnet-5-5", "Claude Sonnet 5.5", "2026-08-20T00:00:00Z", "between_tools"),
    _of_5_5("claude-haiku-5-5", "Claude Haiku 5.5", "2026-08-10T00:00:00Z", "high", forced=True),
    _of_5_5("claude-fable-5-1", "Claude Fable 5.1", "2026-07-20T00:00:00Z"),
    Model("claude-opus-5", "Claude Opus 5", "2026-07-10T00:00:00Z", thinking_off="high"),
    Model("claude-sonnet-5", "Claude Sonnet 5", "2026-06-20T00:00:00Z"),
    Model("claude-fable-5", "Claude Fable 5", "2026-06-10T00:00:00Z", thinking_off="never"),
    Model("claude-opus-4-8", "Claude Opus 4.8", "2026-05-28T00:00:00Z"),
    Model("claude-opus-4-7", "Claude Opus 4.7", "2026-04-14T00:00:00Z", system_turns=False),
    _of_4_6("claude-sonnet-4-6", "Claude Sonnet 4.6", "2026-02-17T00:00:00Z"),
    _of_4_6("claude-opus-4-6", "Claude Opus 4.6", "2026-02-04T00:00:00Z"),
    _older("claude-opus-4-5-20251101", "Claude Opus 4.5", "2025-11-24T00:00:00Z"),
    _older("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-15T00:00:00Z"),
    _older("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "2025-09-29T00:00:00Z"),
    _older("claude-opus-4-1-20250805", "Claude Opus 4.1", "2025-08-05T00:00:00Z", max_tokens=32_000),
    _older("claude-opus-4-20250514", "Claude Opus 4", "2025-05-22T00:00:00Z", sampling="both", max_tokens=32_000),
    _older("claude-sonnet-4-20250514", "Claude Sonnet 4", "2025-05-22T00:00:00Z", sampling="both"),
)
_BY_NAME = {name: model for model in MODELS for name in (model.id, *model.aliases)}


def find(name: str) -> Model:
    """The model of an id or an alias; Refused (404) for an unknown one."""
    model = _BY_NAME.get(name)
    if model is None:
        raise Refused(404, "not_found_error", f"model: {name}")
    return model


def page(limit: int = 20, after_id: str | None = None, before_id: str | None = None) -> dict[str, Any]:
    """A page of the list, in the API's paged form."""
    if not 1 <= limit <= 1000:
        raise invalid("limit: Input should be between 1 and 1000")
    ids = [model.id for model in MODELS]
    for cursor in (after_id, before_id):
        if cursor is not None and cursor not in ids:
            raise invalid(f"Unknown cursor: {cursor}")
    if before_id is not None:
        end = ids.index(before_id)
        start = max(0, end - limit)
        more = start > 0
    else:
        start = ids.index(after_id) + 1 if after_id is not None else 0
        end = min(len(ids), start + limit)
        more = end < len(ids)
    shown = MODELS[start:end]
    return {
        "data": [model.card() for model in shown],
        "has_more": more,
        "first_id": shown[0].id if shown else None,
        "last_id": shown[-1].id if shown else None,
    }
