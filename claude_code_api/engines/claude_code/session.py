"""A live process and the conversation that it holds: a cache of one prefix, for one owner.

A conversation is a value that comes whole with every request. What a process already holds of it need not be sent
again; what it holds beyond is stepped back from, turn by turn, and leaves no trace.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from hashlib import blake2b
from typing import Any

import msgspec

from claude_code_api.conversation import (
    Conversation,
    Event,
    Finished,
    Message,
    Sampling,
    ToolResult,
)
from claude_code_api.credential import Credential
from claude_code_api.engines.claude_code.answer import AnswerReader
from claude_code_api.engines.claude_code.client_tools import ClientTools, is_carried
from claude_code_api.engines.claude_code.history import CACHED_FOR, Line, assistant_line, flag_settings, user_line
from claude_code_api.engines.claude_code.process import Process
from claude_code_api.engines.claude_code.thinking import always_thinking, thinking_of
from claude_code_api.engines.claude_code.turns import Collected, Digested, Turn, digest_of
from claude_code_api.errors import Overloaded, RequestFailure, UpstreamError

OLDEST = 3600.0  # seconds; measured: a process grows from 115 to about 300 MB in 35 turns
MOST_TURNS = 40
_WHOLE = frozenset({"end_turn", "stop_sequence"})
_CUT = frozenset({"max_tokens", "model_context_window_exceeded", "pause_turn"})
RESUME_TIMEOUT = 5.0  # seconds; measured: 3 ms a turn
SETTLE_TIMEOUT = 2.0  # seconds; measured: 12 ms


class Owner(msgspec.Struct, frozen=True):
    """Whom and what a process was opened for. It never serves another owner."""

    tenant: str
    end_user: str | None
    credential_id: str
    secrets: bytes
    """A digest of the token, the system prompt and the tools: with another one it is another owner."""

    @classmethod
    def of(cls, conversation: Conversation, credential: Credential, tenant: str) -> Owner:
        digest = blake2b(credential.token.reveal().encode(), digest_size=16)
        digest.update(b"\0" + conversation.system.encode())
        digest.update(b"\0" + msgspec.json.encode(conversation.tools, order="sorted"))
        return cls(tenant, conversation.end_user, credential.id, digest.digest())


class Session:
    """One process: `open` or `resume`, then `answer`, then `settle`, for each request of its owner."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.owner: Owner | None = None
        self.idle_since = time.monotonic()
        self.turns: list[Turn] = []
        self._born = time.monotonic()
        self._model = ""
        self._sampling: Sampling | None = None  # as it was last told
        self._always_thinking: frozenset[str] = frozenset()
        self._cached_for = ""
        self._served = 0
        self._open_turn: str | None = None  # asked, and not yet one of `turns`
        self._running = False
        self._waiting: frozenset[str] = frozenset()  # calls of client tools that the process is parked on
        self._tools = ClientTools(())

    @property
    def alive(self) -> bool:
        return self.process.alive

    @property
    def parked(self) -> bool:
        """Whether it waits for results of the client's tools."""
        return bool(self._waiting)

    def shared(self, conversation: Digested) -> int:
        """How many turns of a conversation's past this process holds, from its beginning, and can go on from."""
        if self._model != conversation.model:  # changed between turns, Claude Code would say so in the conversation
            return 0
        count = self._held(conversation)
        if count == len(self.turns) and (not self._waiting or self._brought_by(conversation)):
            return count
        count = min(count, len(self.turns) - 1) if self._waiting else count
        while count < len(self.turns) and self.turns[count].uuid is None:
            count -= 1
        return count

    def is_about(self, conversation: Digested, shared: int) -> bool:
        """Whether the turns shared are those of one conversation: all that it holds, or an answer of its own among
        them, or the same question behind them. Else they may be examples that many conversations begin with.
        """
        if self._waiting and self._held(conversation) == len(self.turns):
            return True  # its calls are answered there
        if not shared:
            return False
        if shared == len(self.turns) or not all(turn.written for turn in self.turns[:shared]):
            return True
        at_the_end = 2 * shared + 1 == len(conversation.messages)
        return at_the_end and self.turns[shared].asked == conversation.digests[-1]

    @property
    def answers(self) -> int:
        """How many of its turns were answered here."""
        return sum(not turn.written for turn in self.turns)

    def _held(self, conversation: Digested) -> int:
        past = conversation.digests[:-1]
        count = 0
        for turn, pair in zip(self.turns, zip(past[::2], past[1::2], strict=False), strict=False):
            if (turn.asked, turn.answered) != pair:
                break
            count += 1
        return count

    def _brought_by(self, conversation: Conversation) -> tuple[ToolResult, ...]:
        """The results that a conversation ends with, if they can be brought to the waiting calls and are all that is
        said.
        """
        last = conversation.messages[-1].content
        results = tuple(block for block in last if isinstance(block, ToolResult))
        whole = len(results) == len(last) and {result.tool_use_id for result in results} == self._waiting
        return results if whole and all(map(is_carried, results)) else ()

    async def open(self, owner: Owner, credential: Credential, conversation: Conversation) -> dict[str, Any]:
        """Makes a process that holds nothing the owner's. Gives what `initialize` answered."""
        self.owner = owner
        self._tools = ClientTools(conversation.tools)
        self._cached_for = CACHED_FOR[credential.kind]
        opened = await self.process.open(credential, conversation.system, self._tools)
        self._always_thinking = always_thinking(opened.get("models") or ())
        await self._tell(conversation, credential)
        return opened

    async def resume(self, conversation: Digested, credential: Credential) -> bool:
        """Makes a process that was used before ready for its owner's next conversation: back to what the two share,
        with the settings of this turn. False where it cannot be.
        """
        count = self.shared(conversation)
        try:
            async with asyncio.timeout(RESUME_TIMEOUT):
                if self._waiting and len(self.turns) > count:
                    await self._interrupt()
                    self._waiting = frozenset()
                while len(self.turns) > count:
                    if (uuid := self.turns.pop().uuid) is not None and not await self._rewind(uuid):
                        return False
                await self._tell(conversation, credential)
        except TimeoutError:
            self.process.faults["silent"] += 1
            return False
        except RequestFailure:
            return False
        return True

    async def _tell(self, conversation: Conversation, credential: Credential) -> None:
        """The settings of this turn, where they are others than before; always how much to think, which only a process
        that lives answers.
        """
        thinking = thinking_of(
            conversation.model,
            conversation.sampling,
            resumes_unthought=self._resumes_unthought(conversation),
            always_thinking=self._always_thinking,
        )
        told = (conversation.model, conversation.sampling)
        changed = told != (self._model, self._sampling)
        settings = flag_settings(conversation, credential, thinking.effort) if changed else None
        await self.process.apply(thinking, settings)
        self._model, self._sampling = told

    def _resumes_unthought(self, conversation: Conversation) -> bool:
        """Whether the last turn brings results of calls that no thinking goes before in this process."""
        *past, last = conversation.messages or (None,)
        if last is None or not any(isinstance(block, ToolResult) for block in last.content):
            return False
        return not (self.turns and 2 * len(self.turns) == len(past) and self.turns[-1].thought)

    async def answer(self, conversation: Digested, patience: float) -> AsyncGenerator[Event, None]:
        """Writes what is missing of the past, asks the last turn, and gives the events of its answer.

        The turns held must be a beginning of the conversation's past. `patience` is in seconds of silence.
        """
        self._served += 1
        asked = conversation.messages[-1]
        # One that is cut off, or calls what there is not, must be seen at once: Claude Code then goes on by itself.
        self.process.may_rest = conversation.sampling.max_tokens is None and not conversation.tools
        if self._waiting:
            uuid = self._begin(asked, "")
            for result in self._brought_by(conversation):
                self._tools.bring(result)
            self._waiting = frozenset()
        else:
            await self._write(conversation, patience)
            question = user_line(asked, ask=True)
            uuid, self._running = self._begin(asked, question["uuid"]), True
            self.process.send(question)
            await self.process.drain(patience)
        answer = Collected()
        reader = AnswerReader()
        while not reader.finished:
            message = await self.process.message(patience)
            self._running = self._running and message["type"] != "result"
            for event in self._read(reader, message):
                answer.add(event)
                if isinstance(event, Finished):
                    goes_on_alone = event.stop_reason in _CUT or reader.called - self._tools.names
                    if goes_on_alone and self._running:
                        self.process.kill()  # at once: it is about to ask the model to go on
                    self._keep(uuid, conversation.digests[-1], answer, event, thought=reader.thought)
                yield event

    def _read(self, reader: AnswerReader, message: Line) -> list[Event]:
        try:
            return reader.read(message)
        except RequestFailure as failure:
            if isinstance(failure, UpstreamError | Overloaded):
                self.process.faults["upstream"] += 1
            if self._running:
                self.process.kill()  # it goes on with another request than ours, and holds what that one says
            raise

    async def settle(self) -> bool:
        """Makes it ready for the owner's next request; False where it must be ended.

        An answer that was left, cut or refused is interrupted and stepped back from: nothing of it remains.
        """
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT):
                if self._running and not self._waiting:
                    await self._interrupt()
                if self._open_turn is not None:
                    while self.turns and self.turns[-1].uuid is None:
                        self.turns.pop()
                    if self.turns and self.turns[-1].uuid == self._open_turn:
                        self.turns.pop()
                    if not await self._rewind(self._open_turn):
                        return False
        except TimeoutError:
            self.process.faults["silent"] += 1
            return False
        except RequestFailure:
            return False
        self._open_turn = None
        self.idle_since = time.monotonic()
        return self.alive and 0 < self._served < MOST_TURNS and self.idle_since - self._born < OLDEST

    def end(self) -> Awaitable[None]:
        """See `Process.end`: it begins at once."""
        return self.process.end()

    async def _write(self, conversation: Digested, patience: float) -> None:
        """The past turns that it does not hold yet, as they were, natively.

        Their end is marked for Anthropic's cache. Claude Code marks the newest turn alone, which will not be the same
        again in another process; Anthropic takes four marks, and three are Claude Code's.
        """
        free = not any(turn.marked for turn in self.turns)
        *past, _ = zip(conversation.messages, conversation.digests, strict=True)
        missing = past[2 * len(self.turns) :]
        for (asked, question), (answered, answer) in zip(missing[::2], missing[1::2], strict=True):
            marked = free and answered is conversation.messages[-2]
            line = user_line(asked, ask=False)
            uuid, self._running = self._begin(asked, line["uuid"]), True
            self.process.send(line)
            await self._result(patience)  # without waiting for it the turns come out in the wrong order
            cached_for = self._cached_for if marked else None
            self.process.send(assistant_line(answered, conversation.model, cached_for=cached_for))
            self.turns.append(Turn(uuid=uuid, asked=question, answered=answer, written=True, marked=marked))
            self._open_turn = None

    def _begin(self, asked: Message, uuid: str) -> str | None:
        """Holds a turn for open until it is answered; gives its handle. What led to calls is as open again as their
        results are: left now, all of it is stepped back from.
        """
        if any(isinstance(block, ToolResult) for block in asked.content):
            self._open_turn = next(turn.uuid for turn in reversed(self.turns) if turn.uuid is not None)
            return None
        self._open_turn = uuid
        return uuid

    async def _interrupt(self) -> None:
        """Ends the turn. What it still says is read meanwhile: the answer to a request stands behind it in the pipe."""
        await asyncio.gather(self._stop_turn(), self._result(SETTLE_TIMEOUT))

    async def _stop_turn(self) -> None:
        while (await self.process.request("interrupt")).get("still_queued"):
            pass  # it came before the question was begun, which would now be answered to its end

    async def _result(self, patience: float) -> None:
        while (await self.process.message(patience))["type"] != "result":
            pass
        self._running = False

    async def _rewind(self, uuid: str) -> bool:
        answer = await self.process.request("rewind_conversation", target_message_uuid=uuid)
        return bool(answer.get("rewound"))

    def _keep(self, uuid: str | None, asked: bytes, answer: Collected, end: Finished, *, thought: bool) -> None:
        """Remembers a turn that the process now holds whole; one with calls waits for their results."""
        waits = end.stop_reason == "tool_use"
        whole = end.stop_reason in _WHOLE and bool(answer.text) and not self._running
        if (waits or whole) and (said := answer.message()) is not None:
            self.turns.append(Turn(uuid=uuid, asked=asked, answered=digest_of(said), thought=thought))
            self._waiting = frozenset(answer.calls) if waits else frozenset()
            self._open_turn = None
