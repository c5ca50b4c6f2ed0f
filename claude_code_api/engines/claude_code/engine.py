"""Answers through the real Claude Code: a process, a history of native turns, one question, its events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from secrets import token_hex
from typing import Any

import structlog
from msgspec import structs

from claude_code_api.conversation import Accepted, Conversation, Event, Message, RateLimitStatus, Sampling, Text
from claude_code_api.credential import Credential
from claude_code_api.engines.claude_code.capacity import affordable
from claude_code_api.engines.claude_code.faults import Faults
from claude_code_api.engines.claude_code.places import Places
from claude_code_api.engines.claude_code.pool import Load, Pool
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.engines.claude_code.session import Owner, Session
from claude_code_api.engines.claude_code.turns import Digested
from claude_code_api.errors import Overloaded, RequestFailure, UpstreamError
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.5  # seconds before the first retry; each further one doubles it
READY_AT_START = 2  # credentials
LISTINGS = 1000  # of credentials, remembered; about 5 kB each

Listing = list[dict[str, Any]]
"""What Claude Code says of the models that an account may use: `value`, `resolvedModel`, `displayName`, …"""


class ClaudeCode:
    """The engine. `start` before the first answer, `stop` after the last; both in the same event loop."""

    def __init__(self, settings: Settings, program: Program | None = None) -> None:
        self.faults = Faults()
        self._program = program or Program.of(settings)
        self._pool = Pool(
            self._program,
            Places(
                settings.max_processes or affordable(),
                patience=settings.queue_timeout,
                longest=settings.max_waiting,
            ),
            spares=settings.spare_processes,
            parked_timeout=settings.parked_timeout,
            max_memory=settings.max_process_memory,
            reuse=settings.reuse_processes,
            faults=self.faults,
        )
        self._retries = settings.retries
        self._idle_timeout = settings.idle_timeout
        self._ignore_unsupported = settings.unsupported_parameters == "ignore"
        self._listings: dict[str, tuple[Secret, Listing]] = {}
        self.ready = False

    @property
    def load(self) -> Load:
        """What its processes do at this moment."""
        return self._pool.load

    async def start(self, credential_ids: Sequence[str]) -> None:
        """Prepares the directories, and has spares started. `credential_ids`: all, the newest last."""
        if self._program.ports is None:
            log.warning("claude code is not locked in: it could read whatever the gateway's user may")
        await asyncio.to_thread(self._program.prepare)
        await asyncio.to_thread(self._program.tidy, set(credential_ids))
        self._pool.open()
        for credential_id in credential_ids[-READY_AT_START:]:  # the others get theirs with their first request
            self._pool.keep_ready(credential_id)
        self.ready = True

    async def stop(self) -> None:
        """Ends every process; none is left."""
        self.ready = False
        await self._pool.close()
        await asyncio.to_thread(self._program.clear)

    async def answer(
        self, conversation: Conversation, credential: Credential, tenant: str
    ) -> AsyncGenerator[Event, None]:
        """See `engines.Engine`. A call is tried again only as long as the client has seen nothing of an answer."""
        asked = Digested.of(conversation)
        async with self._pool.place(tenant):
            yield Accepted()
            failed = 0
            while True:
                told = False
                try:
                    async with self._attempt(asked, credential, tenant) as events:
                        async for event in events:
                            told = told or not isinstance(event, RateLimitStatus)
                            yield event
                    return
                except RequestFailure as failure:
                    if told:
                        raise
                    if self._ignore_unsupported and refuses_sampling(failure, asked.sampling):
                        sampling = structs.replace(asked.sampling, **{str(failure.param): None})
                        asked = structs.replace(asked, sampling=sampling)
                        continue
                    if failed == self._retries or not is_passing(failure):
                        raise
                    pause = FIRST_PAUSE * 2**failed * (1 + random.random() / 4)  # noqa: S311 - no secret
                    failed += 1
                    log.info("trying again", reason=failure.code, attempt=failed, pause=round(pause, 2))
                    await asyncio.sleep(pause)

    async def models(self, credential: Credential, tenant: str) -> Listing:
        """What Claude Code lists for this credential; asked once, and again with every process that is opened."""
        if (known := self._listing(credential)) is not None:
            return known
        async with self._pool.place(tenant):
            if (known := self._listing(credential)) is not None:  # asked by another one meanwhile
                return known
            nothing = Digested(model="default", messages=(), digests=())
            owner = Owner.of(nothing, credential, tenant)
            async with self._pool.session(owner, nothing, credential) as session:
                return await self._open(session, owner, credential, nothing)

    @asynccontextmanager
    async def _attempt(
        self, conversation: Digested, credential: Credential, tenant: str
    ) -> AsyncIterator[AsyncGenerator[Event, None]]:
        owner = Owner.of(conversation, credential, tenant)
        async with self._pool.session(owner, conversation, credential) as session:
            if session.owner is None:
                await self._open(session, owner, credential, conversation)
            async with aclosing(session.answer(conversation, self._idle_timeout)) as events:
                yield events

    async def _open(
        self, session: Session, owner: Owner, credential: Credential, conversation: Conversation
    ) -> Listing:
        opened = await session.open(owner, credential, conversation)
        listing: Listing = opened.get("models") or []
        self._listings.pop(credential.id, None)
        self._listings[credential.id] = (credential.token, listing)
        if len(self._listings) > LISTINGS:
            del self._listings[next(iter(self._listings))]
        return listing

    def _listing(self, credential: Credential) -> Listing | None:
        token, listing = self._listings.get(credential.id, (None, None))
        return listing if token == credential.token else None


def is_passing(failure: RequestFailure) -> bool:
    """Whether the same call may go well in a moment: an overload, or a fault on the way."""
    return type(failure) in (Overloaded, UpstreamError)


def refuses_sampling(failure: RequestFailure, sampling: Sampling) -> bool:
    """Whether this model has nothing for a sampling parameter that was given (Claude's newest take none)."""
    return failure.param in ("temperature", "top_p") and getattr(sampling, failure.param) is not None


async def probe(settings: Settings, credential: Credential) -> None:
    """Asks Anthropic, through Claude Code, whether it takes this credential: the smallest call there is.

    Raises the failure that came back, such as CredentialRefused.
    """
    # Its own workplace, since a gateway may be running on the same data directory and use the usual one.
    program = await asyncio.to_thread(Program.of, settings, token_hex(6))
    await asyncio.to_thread(program.prepare)
    engine = ClaudeCode(settings.model_copy(update={"spare_processes": 0, "retries": 0}), program)
    greeting = Conversation(
        model="haiku",
        messages=(Message("user", (Text("Hi"),)),),
        sampling=Sampling(max_tokens=64),  # a greeting fits: what is cut off, Claude Code may ask to go on with
    )
    try:
        async with aclosing(engine.answer(greeting, credential, "probe")) as events:
            async for _ in events:
                pass
    finally:
        await engine.stop()
