"""What the surface asks of the gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Protocol

from claude_code_api.conversation import Conversation, Event
from claude_code_api.gateway.models import Model
from claude_code_api.gateway.request import Request
from claude_code_api.secret import Secret

if TYPE_CHECKING:  # the surface needs no database
    from claude_code_api.access import ApiKey


class Gateway(Protocol):
    async def authenticate(self, presented: Secret | None, address: str) -> ApiKey:
        """The key that was presented; Unauthenticated, with one message for every reason. `address` is shortened."""
        ...

    def note_limited(self, key: ApiKey) -> None:
        """A limit of the key's own has refused a request."""
        ...

    async def models(self, key: ApiKey) -> list[Model]: ...

    async def model(self, key: ApiKey, model_id: str) -> Model:
        """One of `models`; NotFound with the code `model_not_found`."""
        ...

    def answer(self, key: ApiKey, conversation: Conversation, request: Request) -> AsyncGenerator[Event, None]:
        """The events of one answer. Closing or cancelling it ends the work upstream."""
        ...

    def changes(self) -> int:
        """Another number than before once a key or credential has changed."""
        ...

    async def is_live(self, key: ApiKey) -> bool:
        """Whether a key that was valid still is."""
        ...

    def ready(self) -> bool:
        """Whether a request would be answered now."""
        ...
