"""A busy gateway under watch: `python busy_run.py namespace|polling` prints what went out of it, as JSON.

In a `namespace` (of network and mounts, made by `unshare`) nothing can leave the machine, the kernel counts what
tried to, and `/tmp` is the run's alone, unless the project lies there. By `polling`, the addresses of every socket are
looked at all the time.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import openai
import psutil
from gateways import ROOT, GatewayProcess, until

from claude_code_api.operations import logs
from claude_code_api.stand_in import StandIn, script

SIOCSIFFLAGS = 0x8914  # <linux/sockios.h>
IFF_UP_RUNNING = 0x41
OWN_TMP = Path("/tmp") not in {*ROOT.parents, *Path(sys.prefix).resolve().parents}
ELSEWHERE = [(socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")]  # for documents: nobody's


class Counters:
    """What the kernel counts in this namespace: packets that found no route, and datagrams (names are asked for by
    them, wherever the resolver is)."""

    def __init__(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
        if OWN_TMP and ctypes.CDLL(None).mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None):
            raise OSError("no /tmp of its own")

    def during(self, run: Callable[[], Any]) -> dict[str, int]:
        """By how much each has risen while `run` ran."""
        before = self._read()
        run()
        after = self._read()
        return {name: count - before[name] for name, count in after.items() if count != before[name]}

    def _read(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        lines = Path("/proc/net/snmp").read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            protocol, *rest = names.split()
            counts |= {protocol + name: int(value) for name, value in zip(rest, values.split()[1:], strict=True)}
        for line in Path("/proc/net/snmp6").read_text().splitlines():
            name, value = line.split()
            counts[name] = int(value)
        watched = ("Ip:OutNoRoutes", "Ip6OutNoRoutes", "Udp:OutDatagrams", "Udp6OutDatagrams")
        return {name: counts[name] for name in watched}


class Polling:
    """The addresses of others that this process and its children are connected to."""

    def during(self, run: Callable[[], Any]) -> dict[str, int]:
        """How often each was seen, those on loopback left out."""
        seen: dict[str, int] = {}
        ended = threading.Event()

        def poll() -> None:
            while not ended.wait(0.005):
                for address in self._foreign():
                    seen[address] = seen.get(address, 0) + 1

        with ThreadPoolExecutor(1) as threads:
            polling = threads.submit(poll)
            try:
                run()
            finally:
                ended.set()
            polling.result()
        return seen

    def _foreign(self) -> list[str]:
        addresses = []
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            with suppress(psutil.Error):  # it has ended
                addresses += [c.raddr.ip for c in process.net_connections("inet") if c.raddr]
        return [address for address in addresses if not ip_address(address).is_loopback]


def reach_out() -> None:
    """What must be seen: an attempt to connect, and a socket that has somebody elsewhere for its peer."""
    for family, address in ELSEWHERE:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family, kind) as attempt, suppress(OSError):
                attempt.settimeout(0.2)
                attempt.connect((address, 443))
                time.sleep(0.2)  # long enough to be seen


def busy(upstream: StandIn, gateway: GatewayProcess) -> None:
    """Answers, errors, a crash, and a while of nothing: some things are only done in the background."""
    key, refused = gateway.key(), gateway.key("refused")

    def ask(client: openai.OpenAI, **fields: Any) -> Any:
        messages: Any = [{"role": "user", "content": f"See https://example.com/ {script(**fields)}"}]
        return client.chat.completions.create(model="sonnet", messages=messages)

    with gateway.started(), gateway.client(key) as client:
        client.models.list()
        assert ask(client, text="Yes").choices[0].message.content == "Yes"
        for fault in ({"status": 500}, {"status": 429}, {"status": 401}, {"nonsense": True}, {"cut": 0}):
            with suppress(openai.APIStatusError):
                ask(client, **fault)
        with gateway.client(refused) as other, suppress(openai.APIStatusError):
            ask(other, text="No")
        upstream.clear()
        with ThreadPoolExecutor(1) as threads:
            doomed = threads.submit(ask, client, delay=60)
            until(lambda: upstream.requests)
            for claude in (crashed := gateway.claudes()):
                claude.send_signal(signal.SIGSEGV)
            assert isinstance(doomed.exception(20), openai.APIStatusError)
            until(
                lambda: not any(claude.is_running() for claude in crashed)
            )  # the gateway knows: it has waited for each
        assert ask(client, tokens=30, pause=0.05).choices[0].message.content
        assert gateway.end() == 0


def main(way: str) -> None:
    watch = Counters() if way == "namespace" else Polling()
    with tempfile.TemporaryDirectory() as directory, StandIn.in_thread() as upstream:
        gateway = GatewayProcess(Path(directory) / "gateway", upstream.url, spare_processes=1, stop_grace=1)
        control, went_out = watch.during(reach_out), watch.during(lambda: busy(upstream, gateway))
        left = [str(path) for path in gateway.temporary.rglob("*")]
        if way == "namespace" and OWN_TMP:
            left += [str(path) for path in Path("/tmp").iterdir() if path != Path(directory)]
    sys.stdout.write(json.dumps({"control": control, "busy": went_out, "left": left}))


if __name__ == "__main__":
    logs.configure("warning", "json", sys.stderr)  # standard output has the report
    main(sys.argv[1])
