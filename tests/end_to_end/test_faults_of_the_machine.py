"""A machine that runs out of something: one clear error for those who ask now, and an end of it when there is more."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from gateways import GatewayProcess

from claude_code_api.stand_in import script

MakeProcess = Callable[..., GatewayProcess]


def ask(client: openai.OpenAI, text: str, **fields: Any) -> Any:
    return client.chat.completions.create(model="haiku", messages=[{"role": "user", "content": text}], **fields)


def works(client: openai.OpenAI) -> bool:
    """Whether a system prompt that no process has met is answered."""
    try:
        return bool(ask(client, script(text="Fine")).choices[0].message.content == "Fine")
    except openai.InternalServerError:
        return False


class TestDescriptors:
    def test_answers_go_on_and_new_ones_are_told_to_come_back(self, gateway_process: MakeProcess) -> None:
        gateway = gateway_process(reuse_processes=False)
        with gateway.started(), gateway.client(gateway.key()) as client:
            assert works(client)  # every connection that is needed is there
            with ask(client, f"Go {script(tokens=100, pause=0.02)}", stream=True) as chunks:
                first = next(chunk for chunk in chunks if chunk.choices[0].delta.content)
                with limited(gateway.pid, resource.RLIMIT_NOFILE, psutil.Process(gateway.pid).num_fds() + 3):
                    with gateway.client(gateway.key()) as other, pytest.raises(openai.InternalServerError) as raised:
                        ask(other, "Hello")
                    assert (raised.value.status_code, raised.value.code) == (503, "overloaded")
                    assert "Too many open files" in raised.value.message
                    assert raised.value.response.headers["retry-after"]
                    rest = [choice for chunk in chunks for choice in chunk.choices]
                assert rest[-1].finish_reason == "stop"
                assert first
            assert works(client)
        assert not list(gateway.temporary.iterdir())


@contextmanager
def limited(pid: int, what: int, soft: int) -> Iterator[None]:
    """A limit that a running process has for the moment."""
    before = resource.prlimit(pid, what, (soft, resource.prlimit(pid, what)[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


class TestDisk:
    def test_a_home_that_cannot_be_written_is_a_clear_error_and_no_other_device(
        self, gateway_process: MakeProcess
    ) -> None:
        gateway = gateway_process()
        with gateway.started(), gateway.client(gateway.key()) as client:
            homes = gateway.settings.data_dir / "claude"
            moved = homes.rename(homes.with_name("elsewhere"))
            homes.write_text("in the way")
            with pytest.raises(openai.InternalServerError) as raised:
                ask(client, "Hello")
            assert (raised.value.status_code, raised.value.code) == (502, "upstream_error")
            assert str(homes) not in raised.value.message
            homes.unlink()
            moved.rename(homes)
            assert works(client)

    def test_one_that_is_full_is_a_clear_error_until_there_is_room(self, gateway_process: MakeProcess) -> None:
        gateway = gateway_process()
        mount = ["unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c"]
        if subprocess.run([*mount, "mount -t tmpfs none /mnt"], check=False, capture_output=True).returncode:
            pytest.skip("this machine gives no file system of one's own")
        homes = gateway.settings.data_dir / "claude"
        homes.mkdir(mode=0o700, parents=True)
        command = [*mount, 'mount -t tmpfs -o size=1m none "$0" && exec "$@"', str(homes), *gateway.command()]
        gateway.command = lambda: command  # type: ignore[method-assign]
        key = gateway.key()
        with gateway.started(), gateway.client(key) as client:
            disk = Path(f"/proc/{gateway.pid}/root{homes}")  # as the gateway sees it
            fill(disk / "filler")
            with pytest.raises(openai.InternalServerError) as raised:
                ask(client, "Hello")
            assert (raised.value.status_code, raised.value.code) == (503, "overloaded")
            assert "No space left on device" in raised.value.message
            (disk / "filler").unlink()
            assert works(client)


def fill(path: Path) -> None:
    """Writes until there is no room."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


class TestProcessIds:
    def test_none_left_is_told_and_passes(self, gateway_process: MakeProcess) -> None:
        if os.geteuid() == 0:
            pytest.skip("the superuser may start as many as it likes; engines/test_faults.py has the error itself")
        gateway = gateway_process(reuse_processes=False)
        with gateway.started(), gateway.client(gateway.key()) as client:
            assert works(client)
            with limited(gateway.pid, resource.RLIMIT_NPROC, 1), pytest.raises(openai.InternalServerError) as raised:
                ask(client, "Hello")
            assert (raised.value.status_code, raised.value.code) == (503, "overloaded")
            assert works(client)
