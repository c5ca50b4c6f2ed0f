"""Counters in Redis: exact while it answers, bounded and of this process alone while it does not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gateways import until
from limits.aio.storage import Storage
from redis_server import RedisServer
from structlog.testing import capture_logs

from claude_code_api.errors import WrongSetting
from claude_code_api.operations.alerts import Alerts
from claude_code_api.secret import Secret
from claude_code_api.settings import given_only
from claude_code_api.surface import shared_counters as module
from claude_code_api.surface.rate_limits import Allowance, RateLimits
from claude_code_api.surface.shared_counters import RETRY_AFTER, SharedCounters, place, shared_counters
from claude_code_api.surface.tls import load_certificate

pytestmark = pytest.mark.policy("N5")

RATES = "50/hour"
WHO = "key:key_1"
KEY = f"claude-code-api:LIMITER/{WHO}/50/1/hour"
AT_MOST = 10.0
"""Seconds within which whatever is bounded by half a second has ended, on the slowest machine."""


class Process:
    """What one gateway has of limits, with a clock that the test turns."""

    def __init__(self, url: str) -> None:
        self.alerts = Alerts()
        self.now = 0.0
        self.shared = SharedCounters(Secret(url), self.alerts, clock=lambda: self.now)
        self.limits = RateLimits(self.shared)

    async def charge(self, who: str = WHO, rates: str = RATES) -> Allowance:
        allowance = await self.limits.charge(rates, who)
        assert allowance
        return allowance

    async def remaining(self, who: str = WHO) -> int:
        return (await self.charge(who)).remaining

    @property
    def told(self) -> list[str]:
        return [alert.kind for alert in self.alerts.latest()]


Begin = Callable[..., Process]


@pytest.fixture
async def begin(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Begin]:
    """Begins processes on one Redis, and ends them after the test. They wait longer than others: no slow machine is to
    be taken for a Redis that does not answer.
    """
    monkeypatch.setattr(module, "TIMEOUT", 60.0)
    async with AsyncExitStack() as stack:

        def begin(url: str = "") -> Process:
            process = Process(url or redis.url)
            stack.push_async_callback(process.shared.close)
            return process

        yield begin


@pytest.fixture
def impatient(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are everywhere else."""
    monkeypatch.setattr(module, "TIMEOUT", 0.5)


@pytest.fixture
def process(begin: Begin) -> Process:
    return begin()


# --- while it answers -----------------------------------------------------------------------------------


async def test_gateways_count_a_key_together(begin: Begin) -> None:
    one, other = begin(), begin()
    assert [await each.remaining() for each in (one, other, other, one)] == [49, 48, 47, 46]
    assert await other.remaining("key:key_2") == 49


async def test_what_was_counted_outlives_the_process_that_has_counted(begin: Begin) -> None:
    first = begin()
    assert [await first.remaining() for _ in range(3)] == [49, 48, 47]
    await first.shared.close()
    assert await begin().remaining() == 46


async def test_of_requests_at_once_exactly_as_many_as_the_limit_get_through(begin: Begin) -> None:
    one, other = begin(), begin()
    counted = await asyncio.gather(*(each.charge() for _ in range(100) for each in (one, other)))
    assert [allowance.spent for allowance in counted].count(False) == 50
    assert sorted(allowance.remaining for allowance in counted if not allowance.spent) == list(range(50))
    assert one.told == other.told == []


async def test_each_window_counts_and_the_tightest_is_told(begin: Begin) -> None:
    one, other = begin(), begin()
    for process, spent in ((one, False), (other, False), (one, True)):
        allowance = await process.charge(rates="2/minute;9/hour")
        assert (allowance.limit, allowance.spent) == (2, spent)


async def test_to_look_is_not_to_count(process: Process, redis: RedisServer) -> None:
    for _ in range(2):
        assert await process.limits.peek(RATES, WHO) == Allowance(50, 50, 0)
    assert redis("KEYS", "*") == []
    await process.charge()
    peeked = await process.limits.peek(RATES, WHO)
    assert peeked
    assert (peeked.remaining, peeked.spent) == (49, False)


async def test_who_comes_back_when_told_is_not_too_early(process: Process, redis: RedisServer) -> None:
    await process.charge()
    redis("PEXPIRE", KEY, 29_400)
    assert (await process.charge()).reset == 30
    redis("PEXPIRE", KEY, 1)
    until(lambda: not redis("EXISTS", KEY))
    assert await process.remaining() == 49


async def test_without_a_limit_nothing_is_asked(process: Process, redis: RedisServer) -> None:
    assert await process.limits.charge("off", WHO) is None
    assert redis.clients() == 0


async def test_all_that_it_keeps_are_counters_that_end(process: Process, redis: RedisServer) -> None:
    await process.charge()
    await process.charge("ip:192.0.2.7", "10/second;100/minute")
    assert sorted(redis("KEYS", "*")) == [
        "claude-code-api:LIMITER/ip:192.0.2.7/10/1/second",
        "claude-code-api:LIMITER/ip:192.0.2.7/100/1/minute",
        KEY,
    ]
    assert 0 < redis("TTL", KEY) <= 3600


async def test_it_holds_few_connections_and_leaves_none(process: Process, redis: RedisServer) -> None:
    await asyncio.gather(*(process.charge() for _ in range(200)))
    assert 0 < redis.clients() <= module.CONNECTIONS
    await process.shared.close()
    until(lambda: redis.clients() == 0)


async def test_clients_that_leave_in_the_middle_mix_up_no_answers(process: Process, redis: RedisServer) -> None:
    for number in range(1, 200):
        charges = [asyncio.create_task(process.charge(f"key:{n}")) for n in range(4)]
        for _ in range(number % 7):
            await asyncio.sleep(0)
        for charge in charges[:3]:
            charge.cancel()
        *_, last = await asyncio.gather(*charges, return_exceptions=True)
        assert isinstance(last, Allowance)
        assert (last.remaining, last.limit) == (max(0, 50 - number), 50)
    assert process.told == []
    assert redis.clients() <= module.CONNECTIONS


async def test_what_is_flushed_begins_anew(process: Process, redis: RedisServer) -> None:
    assert [await process.remaining() for _ in range(2)] == [49, 48]
    redis("FLUSHALL")
    redis("SCRIPT", "FLUSH")
    assert [await process.remaining() for _ in range(2)] == [49, 48]
    assert process.told == []


async def test_a_redis_that_began_anew_between_two_requests_is_not_missed(process: Process, redis: RedisServer) -> None:
    await asyncio.gather(*(process.charge() for _ in range(20)))
    await asyncio.to_thread(redis.end)  # beside the loop, which hears of it
    await asyncio.to_thread(redis.start)
    assert await process.remaining() == 49
    assert process.told == []


# --- while it does not ----------------------------------------------------------------------------------


async def test_without_it_each_process_goes_by_its_own_count_and_says_so_once(begin: Begin, redis: RedisServer) -> None:
    one, other = begin(), begin()
    for process in (one, one, other):
        await process.charge()
    redis.end()
    with capture_logs() as logs:
        assert [await one.remaining() for _ in range(2)] == [47, 46]
        assert await other.remaining() == 48
        for process in (one, other):
            process.now += RETRY_AFTER
        assert (await one.remaining(), await other.remaining()) == (45, 47)
        counted = [await other.charge() for _ in range(48)]
    assert [allowance.spent for allowance in counted] == [False] * 47 + [True]
    assert one.told == other.told == ["limits_not_shared"]
    warned = [(line["alert"], line["redis"]) for line in logs if line["log_level"] == "warning"]
    assert warned == [("limits_not_shared", f"127.0.0.1, port {redis.port}")] * 2
    assert redis.password not in str(logs)


async def test_when_it_is_back_it_counts_again(begin: Begin, redis: RedisServer) -> None:
    one, other = begin(), begin()
    redis.end()
    assert (await one.remaining(), await other.remaining()) == (49, 49)
    redis.start()
    assert await one.remaining() == 48  # it is not asked yet
    assert redis.clients() == 0
    one.now = other.now = RETRY_AFTER
    with capture_logs() as logs:
        assert [await each.remaining() for each in (one, other, one)] == [49, 48, 47]
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("info", "Redis answers again: limits are shared")
    ] * 2


@pytest.mark.usefixtures("impatient")
async def test_a_redis_that_hangs_holds_each_request_once_and_then_none(process: Process, redis: RedisServer) -> None:
    await process.charge()
    redis.hang()
    began = time.monotonic()
    counted = await asyncio.gather(*(process.charge(rates="300/hour") for _ in range(500)))
    assert time.monotonic() - began < AT_MOST
    assert [allowance.spent for allowance in counted].count(False) == 300
    assert process.told == ["limits_not_shared"]

    asked = 0

    async def question(storage: Storage) -> int:
        nonlocal asked
        asked += 1
        return await storage.incr("key", 60)

    assert await asyncio.gather(*(process.shared.ask(question) for _ in range(50))) == [None] * 50
    assert asked == 0
    process.now += RETRY_AFTER
    assert await asyncio.gather(*(process.shared.ask(question) for _ in range(50))) == [None] * 50
    assert asked == 1
    redis.go_on()
    process.now += RETRY_AFTER
    assert await process.shared.ask(question) is not None
    assert len(await asyncio.gather(*(process.shared.ask(question) for _ in range(50)))) == 50
    assert asked == 52


@pytest.mark.usefixtures("impatient")
async def test_who_leaves_while_trying_leaves_the_next_one_to_try(process: Process, redis: RedisServer) -> None:
    redis.hang()
    await process.charge()
    process.now += RETRY_AFTER
    trying = asyncio.create_task(process.charge())
    await asyncio.sleep(0)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    redis.go_on()
    process.now += RETRY_AFTER
    await process.charge()
    assert await process.shared.ask(lambda storage: storage.get("nothing")) == 0


class Held:
    """A question that is answered when the test says so, and fails where it says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.answered = asyncio.Event()

    async def __call__(self, _: Storage) -> str:
        self.asked += 1
        await self.answered.wait()
        if self.fails:
            raise ConnectionError
        return "answer"

    async def by(self, process: Process, number: int) -> list[asyncio.Task[str | None]]:
        """So many who ask it: all turns are taken, the others wait."""
        asking = [asyncio.create_task(process.shared.ask(self)) for _ in range(number)]
        while self.asked < module.CONNECTIONS:
            await asyncio.sleep(0)
        return asking


async def test_who_waited_for_a_turn_does_not_ask_what_failed_meanwhile(process: Process) -> None:
    question = Held()
    asking = await question.by(process, 40)
    question.fails = True
    question.answered.set()
    assert await asyncio.gather(*asking) == [None] * 40
    assert question.asked == module.CONNECTIONS


async def test_who_gets_no_turn_says_nothing_of_redis(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    question = Held()
    asking = await question.by(process, module.CONNECTIONS)
    monkeypatch.setattr(module, "TIMEOUT", 0.01)
    assert await process.remaining() == 49  # by its own count
    question.answered.set()
    assert await asyncio.gather(*asking) == ["answer"] * module.CONNECTIONS
    assert await process.shared.ask(question) == "answer"
    assert process.told == []


ERROR = "it answers with an error (ResponseError)"
REFUSALS: dict[str, tuple[list[str], list[str], str]] = {
    "full": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"], ERROR),
    "a replica": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"], ERROR),
    "without the right": (
        ["ACL SETUSER default -evalsha"], ["ACL SETUSER default +evalsha"], "it does not let this user count",
    ),
    "with something else there": ([f"DEL {KEY}", f"LPUSH {KEY} x"], [f"DEL {KEY}"], ERROR),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_redis_that_refuses_is_as_good_as_none(process: Process, redis: RedisServer, name: str) -> None:
    begun, ended, reason = REFUSALS[name]
    assert await process.remaining() == 49
    for command in begun:
        redis(*command.split())
    try:
        with capture_logs() as logs:
            assert [await process.remaining() for _ in range(2)] == [48, 47]
        assert [line["reason"] for line in logs] == [reason]
    finally:
        for command in ended:
            redis(*command.split())
    process.now += RETRY_AFTER
    redis("DEL", KEY)
    assert await process.remaining() == 49


async def test_another_redis_that_took_over_is_found(process: Process, redis: RedisServer) -> None:
    """The old one, which refuses now, keeps its connections; only new ones lead to the other."""
    await asyncio.gather(*(process.charge() for _ in range(20)))
    before = set(redis("CLIENT", "LIST").split())
    redis("REPLICAOF", "127.0.0.1", "1")
    await process.charge()
    redis("REPLICAOF", "NO", "ONE")
    process.now += RETRY_AFTER
    await process.charge()
    ids = {word for word in redis("CLIENT", "LIST").split() if word.startswith("id=")}
    assert not ids & before


NONSENSE: dict[str, bytes] = {
    "nothing": b"",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no number": b"+OK\r\n" * 3 + b":many\r\n" * 9,
    "other answers": b"+OK\r\n" * 40,
    "a length below nothing": b"+OK\r\n" * 3 + b"$-7\r\n" * 9,
    "a depth without end": b"+OK\r\n" * 3 + b"*1\r\n" * 50_000,
    "a line without end": b"+OK\r\n" * 3 + b"+" * 200_000,
    "a length without end": b"+OK\r\n" * 3 + b"$999999999\r\nxxx",
    "no text": bytes(range(256)) * 9,
}


@asynccontextmanager
async def answering(nonsense: bytes, **options: Any) -> AsyncIterator[int]:
    """A port where every connection is told this, and closed where that is nothing."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(nonsense)
        if not nonsense:
            writer.close()

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(answer, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", NONSENSE)
async def test_whatever_stands_in_its_place_no_request_fails(begin: Begin, name: str) -> None:
    async with answering(NONSENSE[name]) as port:
        process = begin(f"redis://:x@127.0.0.1:{port}/1")
        for remaining in (49, 48, 47):
            async with asyncio.timeout(AT_MOST):
                assert await process.remaining() == remaining
            process.now += RETRY_AFTER
        assert process.told == ["limits_not_shared"]
        await process.shared.close()


@pytest.mark.usefixtures("impatient")
async def test_a_name_that_is_looked_up_for_long_holds_up_nobody_else(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        found.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    process = begin("redis://cache.example:6379")
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    turning = asyncio.create_task(turn())
    try:
        async with asyncio.timeout(AT_MOST):
            assert await process.remaining() == 49
        assert turns > 3
    finally:
        turning.cancel()
        found.set()


# --- the start ------------------------------------------------------------------------------------------


async def fault(url: str) -> str:
    """What is told of this address at the start."""
    with pytest.raises(WrongSetting) as wrong:
        async with shared_counters(given_only(redis_url=url), Alerts()):
            raise AssertionError
    return wrong.value.message


async def test_a_redis_that_can_be_used_is_tried_at_the_start(redis: RedisServer) -> None:
    async with shared_counters(given_only(redis_url=redis.url), Alerts()) as counters:
        assert counters
        assert redis.clients() == 1
    until(lambda: redis.clients() == 0)
    assert redis("PTTL", "claude-code-api:start") <= 1000


async def test_a_socket_leads_to_it_too(begin: Begin, redis: RedisServer, tmp_path: Path) -> None:
    assert [await begin(url).remaining() for url in (redis.socket_url, redis.url, redis.socket_url)] == [49, 48, 47]
    assert place(Secret("unix://user:word@/run/redis%20one.sock?db=2")) == "the socket /run/redis one.sock"
    told = await fault(f"unix://:word@{tmp_path}/none.sock?db=1")
    assert told == f"The setting redis_url: Redis at the socket {tmp_path}/none.sock cannot be used: {NOTHING}."


NOTHING = "nothing listens there"


@pytest.mark.policy("T1")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url, redis: url.replace(str(redis.port), "1"), NOTHING),
        (lambda url, redis: url.replace("redis://:", "redis://:not"), "it refuses the password"),
        (lambda url, redis: url.replace("redis://:", "redis://nobody:"), "it refuses the password"),
        (lambda url, redis: f"redis://127.0.0.1:{redis.port}", "it refuses the password"),
        (lambda url, redis: url.replace("redis://", "rediss://"), "it does not answer in time"),
        (lambda url, redis: url.replace("127.0.0.1", "cache.invalid"), "its name is not known"),
        (lambda url, redis: url[:-1] + "99", ERROR),
    ],
)  # fmt: skip
async def test_one_that_cannot_is_told_without_its_password(
    redis: RedisServer, change: Callable[[str, RedisServer], str], reason: str
) -> None:
    url = change(redis.url, redis)
    told = await fault(url)
    assert told == f"The setting redis_url: Redis at {place(Secret(url))} cannot be used: {reason}."
    assert redis.password[:8] not in told


@pytest.mark.policy("T1")
async def test_one_that_repeats_the_password_is_not_repeated() -> None:
    async with answering(b"-ERR unknown command 'AUTH', with args beginning with: 'hidden'\r\n") as port:
        assert await fault(f"redis://:hidden@127.0.0.1:{port}") == (
            f"The setting redis_url: Redis at 127.0.0.1, port {port} cannot be used: {ERROR}."
        )


@pytest.mark.policy("T1")
@pytest.mark.parametrize("options", ["none_of_ours=hidden", "db=hidden", "retry=hidden", "ssl_ca_certs=hidden"])
async def test_options_that_are_none_or_wrong_are_told(options: str) -> None:
    told = await fault(f"redis://127.0.0.1:1?{options}")
    assert told == 'The setting redis_url: the options behind its "?" are none, or wrong.'


async def test_a_certificate_that_nobody_vouches_for_is_told(tmp_path: Path) -> None:
    load_certificate(given_only(data_dir=tmp_path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem")
    async with answering(b"+OK\r\n", ssl=context) as port:
        told = await fault(f"rediss://127.0.0.1:{port}")
    assert told.endswith("cannot be used: TLS fails (CERTIFICATE_VERIFY_FAILED).")


async def test_one_that_hangs_at_the_start_is_told(redis: RedisServer) -> None:
    redis.hang()
    assert (await fault(redis.url)).endswith("cannot be used: it does not answer in time.")


async def test_without_the_setting_nothing_of_redis_is_loaded() -> None:
    async with shared_counters(given_only(), Alerts()) as counters:
        assert counters is None
    loaded = "import sys, claude_code_api.application; print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
