from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio
from making import chat, oauth
from msgspec import structs

from claude_code_api.engines.claude_code import pool as pool_module
from claude_code_api.engines.claude_code import spares as spares_module
from claude_code_api.engines.claude_code.faults import Faults
from claude_code_api.engines.claude_code.places import Places, QueueFull
from claude_code_api.engines.claude_code.pool import Pool
from claude_code_api.engines.claude_code.process import Process
from claude_code_api.engines.claude_code.program import Program
from claude_code_api.engines.claude_code.session import Owner, Session
from claude_code_api.engines.claude_code.turns import Digested
from claude_code_api.errors import UpstreamError
from claude_code_api.settings import Settings

MakePool = Callable[..., Pool]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def make_pool(settings: Callable[..., Settings]) -> AsyncIterator[MakePool]:
    program = Program.of(settings())
    program.prepare()
    pools: list[Pool] = []

    def make(*, limit: int = 4, spares: int = 0) -> Pool:
        places = Places(limit, patience=5.0, longest=10)
        pool = Pool(program, places, spares=spares, parked_timeout=60.0, max_memory=2**30, reuse=True, faults=Faults())
        pool.open()
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        await pool.close()
    program.clear()


@asynccontextmanager
async def one(pool: Pool, name: str) -> AsyncIterator[Session]:
    conversation, credential = Digested.of(chat("Hello")), oauth(name)
    owner = Owner.of(conversation, credential, "tenant")
    async with pool.place("tenant"), pool.session(owner, conversation, credential) as session:
        yield session


@asynccontextmanager
async def held(pool: Pool, *names: str) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(one(pool, name))).process for name in names]


async def test_a_spare_is_started_ahead_and_taken(make_pool: MakePool) -> None:
    pool = make_pool(spares=2)
    pool.keep_ready("cred-anna")
    await until(lambda: pool.spares.ready == 2)
    waiting = {spare.process.pid for spare in pool.spares._in_use["cred-anna"].ready}
    async with held(pool, "anna") as (process,):
        assert process.pid in waiting
    await until(lambda: pool.spares.ready == 2)


async def test_a_pool_that_is_closed_starts_nothing_for_those_who_wait(make_pool: MakePool) -> None:
    pool = make_pool(limit=1)
    async with held(pool, "anna"):
        waiting = asyncio.create_task(held(pool, "bert").__aenter__())
        await asyncio.sleep(0)
        await pool.close()
    with pytest.raises(QueueFull):
        await waiting


async def test_a_process_that_was_never_opened_is_not_kept(make_pool: MakePool) -> None:
    pool = make_pool(spares=1)
    pids = set()
    for _ in range(3):
        async with held(pool, "anna") as (process,):
            pids.add(process.pid)
        assert not process.alive
    assert len(pids) == 3


async def test_a_spare_never_serves_another_credential(make_pool: MakePool) -> None:
    pool = make_pool(spares=1)
    pool.keep_ready("cred-anna")
    await until(lambda: pool.spares.ready == 1)
    async with held(pool, "bert") as (process,):
        assert process.home.name == "cred-bert"


async def test_a_spare_makes_way_for_a_request_of_another_credential(make_pool: MakePool) -> None:
    pool = make_pool(limit=2, spares=2)
    pool.keep_ready("cred-anna")
    await until(lambda: pool.spares.ready == 2)
    async with held(pool, "bert", "bert") as processes:
        assert all(process.alive for process in processes)
        assert pool.spares.ready == 0


async def test_spares_of_a_credential_that_is_no_longer_used_are_ended(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(spares=1)
    pool.keep_ready("cred-anna")
    await until(lambda: pool.spares.ready == 1)
    monkeypatch.setattr(spares_module, "KEPT", -1.0)
    pool.keep_ready("cred-bert")
    await until(lambda: not pool.spares.ready)


async def test_a_credential_that_is_no_longer_used_is_forgotten(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spares_module, "KEPT", -1.0)
    pool = make_pool()
    for number in range(1_000):
        pool.keep_ready(f"cred-{number}")
    async with held(pool, "anna"):
        pass
    await until(lambda: not pool.spares._in_use)
    assert not pool._live


async def test_a_program_that_cannot_be_started_leaves_no_spare_and_no_stop(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = 0

    async def start(process: Process) -> None:
        nonlocal started
        started += 1
        raise UpstreamError("no")

    monkeypatch.setattr(pool_module, "PAUSE_AFTER_FAILURE", 0.0)
    monkeypatch.setattr(Process, "start", start)
    pool = make_pool(spares=1)
    for expected in (1, 2):
        pool.keep_ready("cred-anna")
        await until(lambda expected=expected: started >= expected)
    assert pool.spares.ready == 0


async def test_the_load_tells_what_processes_do_and_who_waits(make_pool: MakePool) -> None:
    pool = make_pool(limit=1)
    assert structs.asdict(pool.load) == {
        "busy": 0, "idle": 0, "parked": 0, "spare": 0, "limit": 1, "started": 0, "waiting": 0,
    }  # fmt: skip
    async with one(pool, "anna"):
        second = asyncio.create_task(_serve(pool, "anna"))
        await until(lambda: pool.load.waiting)
        load = pool.load
    await second
    assert (load.busy, load.started, load.waiting) == (1, 1, 1)
    assert (pool.load.busy, pool.load.waiting) == (0, 0)
    ready = make_pool(spares=1)
    ready.keep_ready("cred-anna")
    await until(lambda: ready.load.spare)
    assert (ready.load.busy, ready.load.started) == (0, 1)


async def _serve(pool: Pool, name: str) -> None:
    async with one(pool, name):
        pass
