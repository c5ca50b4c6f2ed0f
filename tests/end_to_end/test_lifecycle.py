"""The end of a gateway, of a client and of a Claude Code process: what was begun ends well, and nothing is left."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shlex
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import psutil
import pytest
from gateways import Gateway, GatewayProcess, has_ended, is_claude, until

from claude_code_api.engines.claude_code.program import bundled_program
from claude_code_api.settings import load
from claude_code_api.stand_in import StandIn, script
from claude_code_api.surface.tls import load_certificate

MakeProcess = Callable[..., GatewayProcess]
WORDS = "river stone light window garden paper winter morning "
LONG = script(tokens=2000, pause=0.05)


def question(text: str) -> dict[str, Any]:
    return {"model": "haiku", "messages": [{"role": "user", "content": text}]}


@contextmanager
def answering(gateway: Gateway, text: str) -> Iterator[Any]:
    """A stream whose answer has begun."""
    with (
        gateway.client(gateway.key()) as client,
        client.chat.completions.create(**question(text), stream=True) as chunks,
    ):
        for chunk in chunks:
            if chunk.choices[0].delta.content:
                break
        yield chunks


def rest(chunks: Any) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def ask(client: openai.OpenAI, text: str) -> Any:
    return client.chat.completions.create(**question(text))


def answers(gateway: Gateway) -> bool:
    with gateway.client(gateway.key()) as client:
        answer = ask(client, script(text="Here"))
    return bool(answer.choices[0].message.content == "Here")


class TestKill:
    def test_no_claude_code_process_outlives_a_killed_gateway(self, gateway_process: MakeProcess) -> None:
        gateway = gateway_process(spare_processes=2)
        gateway.key()
        with gateway.started():
            until(lambda: len(gateway.claudes()) == 2)
            with answering(gateway, LONG) as chunks:
                claudes = gateway.claudes()
                assert len(claudes) >= 2  # one answers, the other is a spare
                assert gateway.end(signal.SIGKILL) == -signal.SIGKILL
                until(lambda: all(map(has_ended, claudes)), 2)
                with pytest.raises(openai.APIError):
                    rest(chunks)
        with gateway.started():  # and the next one is not in its way
            assert answers(gateway)

    def test_none_outlives_one_that_is_killed_before_it_is_used(self, gateway_process: MakeProcess) -> None:
        gateway = gateway_process(spare_processes=1)
        gateway.key()
        with gateway.started():
            claudes = until(gateway.claudes)
            gateway.end(signal.SIGKILL)
            until(lambda: all(map(has_ended, claudes)), 2)


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_running_answer_ends_first(self, gateway_process: MakeProcess, number: signal.Signals) -> None:
        gateway = gateway_process(spare_processes=1)
        with gateway.started(), answering(gateway, script(tokens=16, pause=0.05)) as chunks:
            assert gateway.process
            children = psutil.Process(gateway.pid).children(recursive=True)
            gateway.process.send_signal(number)
            assert ("river " + rest(chunks)).strip() == (WORDS * 2).strip()
            assert gateway.process.wait(10) == 0
        assert all(map(has_ended, children))
        assert list(gateway.temporary.iterdir()) == []

    def test_one_that_takes_too_long_ends_with_an_error_and_not_in_silence(self, gateway_process: MakeProcess) -> None:
        gateway = gateway_process(stop_grace=1)
        with gateway.started(), answering(gateway, LONG) as chunks:
            assert gateway.process
            children = psutil.Process(gateway.pid).children(recursive=True)
            gateway.process.send_signal(signal.SIGTERM)
            asked = time.monotonic()
            with pytest.raises(openai.APIError) as raised:
                rest(chunks)
            assert time.monotonic() - asked > 0.9, "it gets the grace first"
            assert raised.value.code == "overloaded"
            assert gateway.process.wait(5) == 0
        assert all(map(has_ended, children))
        assert list(gateway.temporary.iterdir()) == []

    def test_nothing_is_left_of_a_busy_day(self, gateway_process: MakeProcess, stand_in: StandIn) -> None:
        gateway = gateway_process(spare_processes=1)
        with gateway.started():
            pid = gateway.pid
            assert answers(gateway)
            with answering(gateway, LONG):
                pass
            assert gateway.end() == 0
        assert not psutil.pid_exists(pid)
        assert not [process for process in psutil.process_iter() if str(gateway.directory) in _environment(process)]
        assert list(gateway.temporary.iterdir()) == []
        assert not list((gateway.settings.data_dir / "claude").glob("*/sessions/*"))
        assert until(lambda: all(request.disconnected for request in stand_in.requests[1:]))

    def test_a_second_one_on_the_same_data_directory_is_refused_in_one_line(self, gateway_process: MakeProcess) -> None:
        first, second = gateway_process(), gateway_process("second")
        second.settings = first.settings
        with first.started():
            second.run()
            assert second.process
            assert second.process.wait(20) == 1
            (line,) = second.errors.read_text().splitlines()
            assert f"process {first.pid}" in line
            assert second.output.read_text() == ""
            assert answers(first)


def _environment(process: psutil.Process) -> str:
    try:
        return str(process.environ()) if process.pid != os.getpid() else ""
    except psutil.Error:
        return ""


class TestClient:
    def test_one_that_leaves_ends_the_call_upstream_within_a_second(self, gateway: Gateway, stand_in: StandIn) -> None:
        with answering(gateway, LONG) as chunks:
            chunks.close()
            until(lambda: stand_in.requests[-1].disconnected)

    def test_one_that_leaves_before_the_answer_begins_does_so_too(self, gateway: Gateway, stand_in: StandIn) -> None:
        client = http.client.HTTPConnection(urlsplit(gateway.http_url).netloc)
        asked = json.dumps(question(script(delay=60, text="Never")))
        headers = {"Authorization": f"Bearer {gateway.key()}", "Content-Type": "application/json"}
        client.request("POST", "/v1/chat/completions", asked, headers)
        until(lambda: stand_in.requests)
        client.close()
        until(lambda: stand_in.requests[-1].disconnected)

    async def test_one_that_leaves_while_it_waits_in_the_queue_costs_nothing(
        self, start_gateway: Any, stand_in: StandIn
    ) -> None:
        with start_gateway(max_processes=1) as gateway:
            async with gateway.async_client(gateway.key()) as client:
                busy = asyncio.create_task(client.chat.completions.create(**question(script(delay=2, text="First"))))
                while not stand_in.requests:
                    await asyncio.sleep(0.01)
                with pytest.raises(openai.APITimeoutError):
                    await client.chat.completions.create(**question("I leave"), timeout=0.3)
                assert (await busy).choices[0].message.content == "First"
                assert (await client.chat.completions.create(**question(script(text="Next")))).choices
        assert "I leave" not in str([request.body for request in stand_in.requests])

    def test_one_that_waits_too_long_for_a_process_is_told_when_to_come_back(self, start_gateway: Any) -> None:
        with (
            start_gateway(max_processes=1, queue_timeout=0.3) as gateway,
            answering(gateway, LONG),
            gateway.client(gateway.key()) as client,
            pytest.raises(openai.InternalServerError) as raised,
        ):
            client.chat.completions.create(**question("Hello"), stream=True)
        assert (raised.value.status_code, raised.value.code) == (503, "overloaded")
        assert int(raised.value.response.headers["retry-after"]) > 0


@pytest.mark.policy("K3")
def test_a_revoked_key_ends_what_runs_under_it_and_the_call_upstream(gateway: Gateway, stand_in: StandIn) -> None:
    with answering(gateway, LONG) as chunks:
        key = gateway.access(lambda access: access.keys.list())[-1]
        gateway.access(lambda access: access.keys.revoke(key.id))
        with pytest.raises(openai.APIError) as raised:
            rest(chunks)
        assert raised.value.code == "invalid_api_key"
        until(lambda: stand_in.requests[-1].disconnected)


@pytest.mark.policy("N2")
def test_sighup_has_the_certificate_read_again_while_an_answer_goes_on(
    gateway_process: MakeProcess, tmp_path: Path
) -> None:
    used = tmp_path / "tls"
    load_certificate(load(data_dir=tmp_path))
    gateway = gateway_process(cert=used / "certificate.pem", key=used / "key.pem")
    with gateway.started(), answering(gateway, script(tokens=16, pause=0.05)) as chunks:
        where = urlsplit(gateway.https_url)

        def shown() -> str:
            return ssl.get_server_certificate((str(where.hostname), where.port or 0))

        before = shown()
        (used / "key.pem").unlink()
        load_certificate(load(data_dir=tmp_path))  # makes the pair anew, in its place
        assert gateway.process
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: shown() != before)
        assert ("river " + rest(chunks)).strip() == (WORDS * 2).strip()


class TestProcess:
    def test_one_that_is_killed_fails_its_one_request_and_no_other(
        self, gateway_process: MakeProcess, stand_in: StandIn
    ) -> None:
        gateway = gateway_process()
        with gateway.started(), gateway.client(gateway.key()) as client, ThreadPoolExecutor(2) as threads:
            doomed = threads.submit(ask, client, script(delay=30, text="Never"))
            (claude,) = until(gateway.claudes)
            until(lambda: stand_in.requests)
            other = threads.submit(ask, client, script(delay=1, text="I live"))
            until(lambda: len(stand_in.requests) == 2)
            claude.kill()
            failure = doomed.exception(10)
            assert isinstance(failure, openai.InternalServerError)
            assert (failure.status_code, failure.code) == (502, "upstream_error")
            assert other.result(10).choices[0].message.content == "I live"
            assert answers(gateway)

    def test_one_that_is_killed_in_the_middle_of_an_answer_ends_it_with_an_error(
        self, gateway_process: MakeProcess
    ) -> None:
        gateway = gateway_process()
        with gateway.started(), answering(gateway, LONG) as chunks:
            (claude,) = gateway.claudes()
            claude.kill()
            with pytest.raises(openai.APIError) as raised:
                rest(chunks)
            assert raised.value.code == "upstream_error"

    def test_what_it_started_ends_with_it(self, gateway_process: MakeProcess, tmp_path: Path) -> None:
        noted = tmp_path / "child"
        program = tmp_path / "claude"
        program.write_text(
            "#!/bin/sh\n"
            f"sleep 600 > /dev/null 2>&1 & echo $! > {shlex.quote(str(noted))}\n"
            f'exec {shlex.quote(str(bundled_program()))} "$@"\n'
        )
        program.chmod(0o700)
        gateway = gateway_process(claude_code_path=program)
        with gateway.started(), answering(gateway, LONG) as chunks:
            (child,) = [psutil.Process(int(pid)) for pid in noted.read_text().split()]
            assert not has_ended(child)
            (claude,) = [found for found in gateway.claudes() if is_claude(found)]
            claude.kill()
            with pytest.raises(openai.APIError):
                rest(chunks)
            until(lambda: has_ended(child), 2)
