"""The straight line: key → model → credential → engine → events, with what each answer tells of the credential."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

import structlog
from msgspec import structs

from claude_code_api.access import Access, ApiKey
from claude_code_api.access.names import GATEWAY
from claude_code_api.audit import Refusals
from claude_code_api.conversation import Conversation, Event, Finished, RateLimitStatus
from claude_code_api.credential import Credential
from claude_code_api.engines.claude_code import ClaudeCode
from claude_code_api.errors import CredentialRefused, NotFound, PermissionDenied, Unauthenticated
from claude_code_api.gateway import remote_images
from claude_code_api.gateway.concurrency import Concurrency
from claude_code_api.gateway.models import DEFAULT_NAMES, Catalogue, Model, allowed
from claude_code_api.gateway.request import Request
from claude_code_api.gateway.suspicions import Suspicions
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings
from claude_code_api.usage.record import Tally
from claude_code_api.usage.recorder import Recorder

log = structlog.get_logger(__name__)

NOTES_TIMEOUT = 5.0  # seconds
MOST_NOTES = 100  # at once; a database that does not answer must not gather them


class Gateway:
    """One for each server. It knows neither HTTP nor any wire format."""

    def __init__(self, settings: Settings, access: Access, engine: ClaudeCode, recorder: Recorder) -> None:
        self._settings = settings
        self._aliases = settings.model_aliases
        self._access = access
        self._engine = engine
        self._concurrency = Concurrency()
        self._recorder = recorder
        self._refusals = Refusals(access.audit, GATEWAY, "key.refused")
        self._suspicions = Suspicions(access.alerts, settings.alert_addresses)
        self._notes: set[asyncio.Task[None]] = set()

    def ready(self) -> bool:
        """Whether a request would be taken now."""
        return self._engine.ready and self._access.database.answers

    async def authenticate(self, presented: Secret | None, address: str) -> ApiKey:
        """The key that a client presented. Unauthenticated: the same for none, an unknown and a revoked one.

        A refused one is counted for its address, which is shortened.
        """
        if presented is None:
            raise Unauthenticated("No API key was given. Send one as `Authorization: Bearer sk-…`.")
        try:
            key = await self._access.keys.verify(presented)
        except Unauthenticated:
            self._refusals.count(address)
            self._suspicions.tried(presented, address)
            raise
        self._suspicions.used(key.id, address)
        return key

    def note_limited(self, key: ApiKey) -> None:
        """A limit of the key's own has refused a request."""
        self._suspicions.limited(key.id)

    def changes(self) -> int:
        """Another number than before once a key or credential has changed."""
        return self._access.database.generation.current

    async def is_live(self, key: ApiKey) -> bool:
        """Whether a key that was valid still is."""
        return (await self._access.keys.get(key.id)).is_live

    async def models(self, key: ApiKey) -> list[Model]:
        """The models that a key may use, as Claude Code lists them for its credential."""
        return (await self._catalogue(key)).listed(key.models)

    async def model(self, key: ApiKey, model_id: str) -> Model:
        """One of them; NotFound with the code `model_not_found`."""
        return (await self._catalogue(key)).find(model_id, key.models)

    async def answer(self, key: ApiKey, conversation: Conversation, request: Request) -> AsyncGenerator[Event, None]:
        """The events of one answer. Raises a RequestFailure; closing the generator ends the call upstream.

        What it took is written down before `Finished` goes out, or with the failure.
        """
        limit = key.max_concurrent or self._settings.max_concurrent_per_key
        with (
            self._concurrency.one(key.id, limit),
            self._recorder.recording(
                key_id=key.id, request_id=request.id, endpoint=request.endpoint, stream=request.stream
            ) as tally,
        ):
            conversation, credential = await self._ready_to_ask(key, conversation, tally)
            try:
                async with aclosing(self._engine.answer(conversation, credential, tenant=key.id)) as events:
                    async for event in events:  # generators inside one another would each cost every token its part
                        if isinstance(event, RateLimitStatus):
                            self._note(self._access.credentials.note_limit(credential.id, event))
                            continue
                        if isinstance(event, Finished):
                            self._note(self._access.credentials.note_working(credential.id))
                        tally.read(event)
                        yield event
            except CredentialRefused:
                self._note(self._note_refused(credential))
                raise

    async def _ready_to_ask(
        self, key: ApiKey, conversation: Conversation, tally: Tally
    ) -> tuple[Conversation, Credential]:
        """The conversation as the engine takes it, and whom it asks with."""
        model = await self._resolve(key, conversation.model)
        if not allowed(key.models, conversation.model, model):
            raise PermissionDenied(
                f"This API key may not use the model `{conversation.model}`.", code="model_not_allowed", param="model"
            )
        conversation = structs.replace(await remote_images.fetch(conversation, self._settings), model=model)
        credential = await self._access.credentials.unlock(key.credential_id)
        tally.ask(model, credential.id, known=model in DEFAULT_NAMES)
        return conversation, credential

    async def close(self) -> None:
        """Waits until everything that was learned is noted."""
        if self._notes:
            await asyncio.wait(self._notes, timeout=NOTES_TIMEOUT)
        await self._refusals.close()

    def _note(self, work: Coroutine[Any, Any, None]) -> None:
        """Notes something beside the answer, which it can neither delay nor spoil; nothing while too much waits."""
        if len(self._notes) >= MOST_NOTES:
            work.close()
            return
        task = asyncio.create_task(work)
        self._notes.add(task)
        task.add_done_callback(self._noted)

    def _noted(self, task: asyncio.Task[None]) -> None:
        self._notes.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            log.warning("what Anthropic said of a credential was not noted", exc_info=fault)

    async def _note_refused(self, credential: Credential) -> None:
        """Unless another token was put in its place meanwhile."""
        if (await self._access.credentials.unlock(credential.id)).token == credential.token:
            await self._access.credentials.note_refused(credential.id)

    async def _resolve(self, key: ApiKey, name: str) -> str:
        """The name for Claude Code, without asking it where that can be told without."""
        try:
            return Catalogue(aliases=self._aliases).resolve(name)
        except NotFound:
            return (await self._catalogue(key)).resolve(name)

    async def _catalogue(self, key: ApiKey) -> Catalogue:
        credential = await self._access.credentials.unlock(key.credential_id)
        return Catalogue.of(await self._engine.models(credential, key.id), self._aliases)
