"""One running Claude Code process: its pipes, its control requests, its end.

It is the transport of an SDK client, which keeps the control protocol (and, for tools, the in-process MCP
bridge). What the program says of a turn does not pass through the SDK: it is read here and handed on as it is.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from typing import Any

import msgspec
import structlog
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, CLIConnectionError, Transport

from claude_code_api.credential import Credential, CredentialKind
from claude_code_api.engines.claude_code.client_tools import SERVER, ClientTools
from claude_code_api.engines.claude_code.faults import Faults
from claude_code_api.engines.claude_code.lines import Output, decoded
from claude_code_api.engines.claude_code.mailbox import Mailbox, Message
from claude_code_api.engines.claude_code.program import CONFIG, Program
from claude_code_api.engines.claude_code.thinking import Thinking
from claude_code_api.errors import Overloaded, RequestFailure, UpstreamError, UpstreamTimeout

log = structlog.get_logger(__name__)

_OF_A_TURN = frozenset({"assistant", "user", "result", "rate_limit_event"})
_PIECES = frozenset({"content_block_delta", "content_block_stop", "message_stop"})  # none of them ends an answer
REST = 0.05
"""Seconds between two looks at a fast stream: every wake-up costs 0.2 ms of processor time, and as much on the other
side of the pipe. Nobody sees the difference."""
REST_SINCE = 5 * REST  # of an answer: its end comes later by a fifth at most
BUFFERED_MESSAGES = 256  # then the pipe is left unread: a slow client slows its own process only
CONTROL_TIMEOUT = 30.0  # seconds; a control request is answered in milliseconds, on a loaded machine in seconds
IDENTITY_TIMEOUT = 10.0
PIPES_TIMEOUT = 1.0
PIPES = 8  # as many as the start of a process takes for a moment, and some more
_IDENTITY_SIZE = 64 * 1024  # bytes, and more than the program writes
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})
RETRY_AFTER = 10  # seconds; what is used up is freed when answers end


class Process(Transport):
    """Started by `start`, made ready for one conversation by `open`, ended with its whole group by `end`."""

    def __init__(self, program: Program, credential_id: str, faults: Faults | None = None) -> None:
        self.credential_id = credential_id
        self.faults = Faults() if faults is None else faults
        self.home = program.home(credential_id)
        self._scratch = program.scratch / token_hex(4)
        self.said = Mailbox()
        self.stderr: deque[str] = deque(maxlen=20)
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._client: ClaudeSDKClient | None = None
        self._system = ""
        self._control: asyncio.Queue[Message | None] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Message]] = {}
        self._requests = itertools.count()
        self._output = Output(self._take)
        self._loop = asyncio.get_running_loop()
        self.may_rest = False
        """Whether the end of this answer may be seen `REST` seconds late."""
        self._answers_since = 0.0
        self._last_delta = 0.0
        self._reaping: asyncio.Task[None] | None = None
        self._ended = False
        self._killed = False
        self._silent = False  # it will say no more

    # --- its life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the program in a process group of its own; it does nothing until `open`."""
        try:
            await asyncio.to_thread(self._make_directories)
            _require_descriptors()
            stdout = self._output.open()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._program.command(os.getpid(), self.home, self._scratch),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=stdout,
                    stderr=asyncio.subprocess.PIPE,
                    env=self._program.environment_of(self.home, self._scratch),
                    cwd=self._program.workplace,
                    start_new_session=True,
                )
            finally:
                os.close(stdout)
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            self._ended = True
            self._output.close()
            with suppress(OSError):
                self._scratch.rmdir()
            raise self._not_started(error) from error
        self._output.ended.add_done_callback(lambda _: self._fall_silent())
        self._errors = asyncio.create_task(self._read_stderr())
        self._watch = asyncio.create_task(self._watch_end())

    def _make_directories(self) -> None:
        for directory in (self.home, self._scratch):
            self._program.make_private(directory)

    def _not_started(self, error: OSError | RuntimeError) -> RequestFailure:
        self.faults["start"] += 1
        log.warning("claude code cannot be started", error=str(error))
        if isinstance(error, RuntimeError) or error.errno in _NO_ROOM:
            why = error.strerror if isinstance(error, OSError) else os.strerror(errno.EAGAIN)
            return Overloaded(f"There is no room for another process: {why}.", retry_after=RETRY_AFTER)
        return UpstreamError(f"The Claude Code program cannot be started: {error.strerror}.")

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def alive(self) -> bool:
        return (
            not (self._ended or self._killed or self._silent)
            and self._process is not None
            and self._process.returncode is None
        )

    async def identity(self) -> None:
        """Waits until the home has a device identity: processes that start before would each make their own."""
        try:
            await asyncio.to_thread(self._try_to_write)
        except (OSError, RuntimeError) as error:
            raise self._not_started(error) from error
        with suppress(TimeoutError):
            async with asyncio.timeout(IDENTITY_TIMEOUT):
                while self.alive and not await has_identity(self.home):  # noqa: ASYNC110 - nothing tells us of it
                    await asyncio.sleep(0.01)

    def _try_to_write(self) -> None:
        """The program says nothing where it cannot, and would be another device each time."""
        with TemporaryFile(dir=self.home) as file:
            file.write(bytes(_IDENTITY_SIZE))

    def end(self) -> Awaitable[None]:
        """Ends the process and all of its group at once; what it gives waits until nothing of it is left.

        That goes on if nobody waits for it. May be called twice.
        """
        self._ended = True
        if self._process is None:
            return asyncio.sleep(0)
        self.kill()
        self.forget()
        if self._reaping is None:
            self._reaping = asyncio.create_task(self._reap())
        return asyncio.shield(self._reaping)

    @property
    def gone(self) -> bool:
        """Whether it was ended, or never came to be, and nothing of it is left."""
        return self._reaping.done() if self._reaping else self._ended and self._process is None

    def kill(self) -> None:
        """Ends the process and its group at once; `end` must follow."""
        self._killed = True
        if self._running.returncode is None:  # a number that is free again may be somebody else's
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _watch_end(self) -> None:
        """Both pipes are read to their ends, which a stray child of the program could keep open after it."""
        await self._running.wait()
        with suppress(ProcessLookupError):  # what is left of its group
            os.killpg(self.pid, signal.SIGKILL)
        await asyncio.wait([self._output.ended, self._errors], timeout=PIPES_TIMEOUT)
        self._output.close()
        self._errors.cancel()
        self._fall_silent()

    async def _reap(self) -> None:
        await self._watch
        client, self._client = self._client, None
        try:
            if client is not None:
                await client.disconnect()
        except Exception:  # whatever the SDK has to say: the process has ended, and what is left of it goes
            log.warning("the SDK did not let go of a process", exc_info=True)
        if self._running.stdin is not None:
            self._running.stdin.close()
        await asyncio.to_thread(self._remove_leftovers)

    def _remove_leftovers(self) -> None:
        """What the program keeps of a running session; killed, it could not tidy up itself."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._process is None:
            return
        self._program.remove_leftovers(self.home, self.pid)

    # --- what is asked of it ----------------------------------------------------------------------------

    async def open(self, credential: Credential, system: str, tools: ClientTools | None = None) -> Message:
        """Gives it the token and the system prompt over standard input, and starts the protocol.

        Gives what `initialize` answered: `models`, `account`. It comes before any settings, since a model that they
        name would stand in its list.
        """
        token = credential.token.reveal()
        if credential.kind is CredentialKind.OAUTH:
            self.send({"type": "update_environment_variables", "variables": {"CLAUDE_CODE_OAUTH_TOKEN": token}})
        else:  # sent like a token, it would not be taken
            self.request("apply_flag_settings", settings={"env": {"ANTHROPIC_API_KEY": token}})
        self._system = system
        servers = {SERVER: (tools or ClientTools(())).configuration()}
        options = ClaudeAgentOptions(verbatim_prompts=True, mcp_servers=dict(servers))
        client = self._client = ClaudeSDKClient(options, transport=self)
        try:
            with self._patient(CONTROL_TIMEOUT):
                async with asyncio.timeout(CONTROL_TIMEOUT):
                    await client.connect()
        except (UpstreamError, UpstreamTimeout):
            raise
        except Exception as error:  # the SDK raises bare ones for a refused or unanswered control request
            raise self.failure() from error
        return await client.get_server_info() or {}

    async def apply(self, thinking: Thinking, settings: Message | None) -> None:
        """How much it thinks from the next turn on, and Claude Code's own settings (`model`, `env`, …) where they are
        to change. It answers within a millisecond, if it lives.
        """
        # Left alone, models that can do without thinking would be sent a budget of 31,999 tokens.
        requests = [self.request("set_max_thinking_tokens", **thinking.as_asked())]
        if settings is not None:  # measured: Claude Code then takes 10 ms more, even where nothing changes
            requests.append(self.request("apply_flag_settings", settings=settings))
        with self._patient(CONTROL_TIMEOUT):
            async with asyncio.timeout(CONTROL_TIMEOUT):
                await asyncio.gather(*requests)
        self.forget()

    def request(self, subtype: str, **fields: Any) -> asyncio.Future[Message]:
        """A control request of ours beside the SDK's. The future holds the answer, or UpstreamError."""
        number = f"gateway-{next(self._requests)}"
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        if not self.alive:
            answer.set_exception(UpstreamError("The Claude Code process ended."))
        self.send({"type": "control_request", "request_id": number, "request": {"subtype": subtype, **fields}})
        return answer

    def send(self, message: Message) -> None:
        """Writes one line; what the pipe does not take yet waits in memory (see `drain`)."""
        if self.alive and (pipe := self._running.stdin) is not None:
            pipe.write(msgspec.json.encode(message) + b"\n")

    async def drain(self, patience: float) -> None:
        """Waits until the pipe has taken what was sent. UpstreamTimeout after `patience` seconds."""
        with suppress(ConnectionError), self._patient(patience):
            async with asyncio.timeout(patience):
                if (pipe := self._running.stdin) is not None:
                    await pipe.drain()

    @contextmanager
    def _patient(self, patience: float) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise self._impatient(patience) from None

    def _impatient(self, patience: float) -> UpstreamTimeout:
        self.faults["silent"] += 1
        return UpstreamTimeout(f"Claude Code did nothing for {patience:.0f} seconds.")

    async def message(self, patience: float) -> Message:
        """The next message of the turn. UpstreamError when the process is gone, UpstreamTimeout when it is silent
        for `patience` seconds."""
        try:
            message = await self.said.take(patience)
        except TimeoutError:
            raise self._impatient(patience) from None
        if message is None:
            raise self.failure()
        if self._output.held and len(self.said) < BUFFERED_MESSAGES // 2:
            self._output.hold(False)
        return message

    def forget(self) -> None:
        """Drops what it has said: nothing that was said before a turn is part of it."""
        self.said.clear()
        self._output.hold(False)

    def failure(self) -> UpstreamError:
        """Why it cannot go on. The log has the program's own last words; the client does not need them."""
        code = self._process.returncode if self._process else None
        log.warning("claude code ended", pid=self.pid, exit_code=code, stderr=list(self.stderr))
        return UpstreamError("The Claude Code process ended before the answer was whole; try again.")

    # --- what it says -----------------------------------------------------------------------------------

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the process was not started")
        return self._process

    def _fall_silent(self) -> None:
        if self._silent:
            return
        if self._output.unreadable:
            self.faults["unreadable"] += 1
            self.kill()
        self._silent = True
        if not self._killed:
            self.faults["died"] += 1
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(UpstreamError("The Claude Code process ended."))
        self._control.put_nowait(None)
        self.said.close()

    def _take(self, line: bytes) -> float | None:
        """See `Output`."""
        message = decoded(line)
        if message is None:
            log.warning("claude code wrote no message", pid=self.pid, size=len(line))
            return None
        kind = message.get("type")
        if kind == "stream_event":
            event = message["event"].get("type")
            rest = self._rest_after(event)
            self._say(message, piece=event in _PIECES and not rest)
            return rest
        if kind in _OF_A_TURN:
            self._say(message)
        elif kind == "control_response":
            self._take_answer(message)
        elif kind in ("control_request", "control_cancel_request"):
            self._control.put_nowait(message)
        return None

    def _say(self, message: Message, *, piece: bool = False) -> None:
        if not self._ended:
            self.said.put(message, piece=piece)
        if len(self.said) >= BUFFERED_MESSAGES:
            self._output.hold(True)

    def _rest_after(self, event: str) -> float | None:
        """Of a slow stream each delta is awaited: to look in between would be one wake-up more."""
        now = self._loop.time()
        if event == "message_start":
            self._answers_since = now
        elif event == "content_block_delta" and self.may_rest:
            fast = now - self._last_delta < REST
            self._last_delta = now
            if fast and now - self._answers_since >= REST_SINCE:
                return REST
        return None

    def _take_answer(self, message: Message) -> None:
        response = message["response"]
        waiting = self._answers.pop(response.get("request_id", ""), None)
        if waiting is None:
            self._control.put_nowait(message)
        elif not waiting.done():
            if response.get("subtype") == "success":
                given = response.get("response")
                waiting.set_result(given if isinstance(given, dict) else {})
            else:
                waiting.set_exception(UpstreamError("Claude Code refused a control request."))

    async def _read_stderr(self) -> None:
        pipe = self._running.stderr
        while pipe is not None and (chunk := await pipe.read(1 << 16)):
            for line in chunk.decode(errors="replace").splitlines():
                if line.strip():
                    self.stderr.append(line[:500])
                    log.debug("claude code stderr", pid=self.pid, line=line[:500])

    # --- the SDK's transport ----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Nothing is left to do: the process is started ahead."""

    async def write(self, data: str) -> None:
        message = msgspec.json.decode(data)
        if message.get("type") == "control_request" and message["request"].get("subtype") == "initialize":
            # The SDK has no field for it; without one Claude Code sends its own agent prompt of 30 kB.
            message["request"]["systemPrompt"] = self._system
        self.send(message)
        await self.drain(CONTROL_TIMEOUT)

    async def read_messages(self) -> AsyncIterator[Message]:
        while (message := await self._control.get()) is not None:
            yield message
        if not self._ended:  # what the SDK waits for will not come; otherwise nobody waits
            raise CLIConnectionError("the Claude Code process ended")

    async def close(self) -> None:
        """The SDK lets go of it; `end` ends it."""

    async def end_input(self) -> None:
        """Never: standard input stays open as long as the process lives."""

    def is_ready(self) -> bool:
        return self.alive


def _require_descriptors() -> None:
    """OSError where there are too few to start a process: uvloop then leaves those open that it got (measured)."""
    pipes: list[int] = []
    try:
        for _ in range(PIPES):
            pipes += os.pipe()
    finally:
        for descriptor in pipes:
            os.close(descriptor)


async def has_identity(home: Path) -> bool:
    """Whether Claude Code has made itself a device identity in this home."""
    try:
        config = await asyncio.to_thread((home / CONFIG).read_bytes)
        return bool(msgspec.json.decode(config).get("userID"))
    except (OSError, msgspec.DecodeError, AttributeError):
        return False
