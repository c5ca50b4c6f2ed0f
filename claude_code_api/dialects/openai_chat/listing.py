"""Models in the shape of OpenAI's `/v1/models`: https://platform.openai.com/docs/api-reference/models."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from claude_code_api.gateway.models import Model


def model_list(models: Sequence[Model]) -> bytes:
    """`{"object": "list", "data": […]}` as JSON, in the order given."""
    return msgspec.json.encode({"object": "list", "data": [_card(model) for model in models]})


def model_card(model: Model) -> bytes:
    """One model as JSON: `{"id", "object", "created", "owned_by"}`."""
    return msgspec.json.encode(_card(model))


def _card(model: Model) -> dict[str, str | int]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}
