"""Marks in tokens, keys and prompts, a busy run with everything that can go wrong, and a search: none is anywhere."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import openai
import pytest
from canaries import Search, Watch, canary, encodings
from gateways import GatewayProcess, until

from claude_code_api.stand_in import StandIn, script

pytestmark = [pytest.mark.policy("T1"), pytest.mark.policy("T4"), pytest.mark.policy("L2")]

# Their own last four characters are what may be shown of tokens and keys.
HINT = 4


class BusyRun:
    """A gateway that logs all it can, and everything that happens to it. `bodies` are the errors that it answered."""

    def __init__(self, gateway: GatewayProcess, stand_in: StandIn, png: str) -> None:
        self.gateway, self.stand_in, self.png = gateway, stand_in, png
        self.marks: dict[str, str] = {}
        self.bodies: list[bytes] = []
        self.commands: list[bytes] = []
        self.known = {name: canary() for name in ("a key's name", "a request's id", "an environment")}
        gateway.environment["KNOWN"] = self.known["an environment"]
        token = f"sk-ant-oat01-{self.mark('token in the environment')}_{canary()}"
        gateway.environment["CLAUDE_CODE_OAUTH_TOKEN"] = token

    def mark(self, name: str) -> str:
        self.marks[name] = canary()
        return self.marks[name]

    # --- before it starts: the operator's commands ----------------------------------------------------------

    keys: dict[str, str]

    def prepare(self) -> None:
        accounts = {"anna": "", "bert": "refused", "carla": "revoked"}
        for name, what in accounts.items():
            token = "sk-ant-oat01-" + what + self.mark(f"token of {name}") + "-" + self.mark(f"rest of {name}") + "_AA9"
            self._command("credentials", "add", name, given=token)
        self.keys = {}
        for name in accounts:
            made = self._command("keys", "create", self.known["a key's name"], "--credential", name, shown=False)
            self.keys[name] = json.loads(made)["key"]
            self.marks[f"key of {name}"] = self.keys[name][len("sk-") : -HINT]
        self.admin_token = json.loads(self._command("admin", "tokens", "create", "prometheus", shown=False))["token"]
        self.marks["an admin token"] = self.admin_token[len("adm-") : -HINT]

    def _command(self, *arguments: str, given: str = "", shown: bool = True) -> bytes:
        command = [sys.executable, "-m", "claude_code_api", *arguments, "--data-dir"]
        done = subprocess.run(
            [*command, str(self.gateway.settings.data_dir), "--json"],
            input=given.encode(), env=self.gateway.environment, cwd=self.gateway.directory, capture_output=True,
            timeout=60, check=True,
        )  # fmt: skip
        self.commands.append(done.stderr + (done.stdout if shown else b""))  # a new key is shown this once
        return done.stdout

    def metrics(self) -> bytes:
        """What Prometheus is told."""
        headers = {"authorization": f"Bearer {self.admin_token}"}
        tls = self.gateway.tls()
        return httpx2.get(f"{self.gateway.https_url}/metrics", headers=headers, verify=tls).raise_for_status().content

    # --- while it runs --------------------------------------------------------------------------------------

    def run(self) -> None:
        self.answers()
        self.upstream_errors()
        self.crashes()
        self.wrong_requests()
        self.broken_requests()

    def ask(self, client: openai.OpenAI, what: str, **fields: Any) -> Any:
        """A conversation with a mark in every place; what is answered is a mark as well."""
        streamed = fields.pop("stream", False)
        answer = fields or {"text": self.mark(f"answer to {what}")}
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{self.png}"}}
        question = f"{self.mark(f'question of {what}')} {script(**answer)}"
        messages: Any = [
            {"role": "system", "content": self.mark(f"system prompt of {what}")},
            {"role": "user", "content": self.mark(f"history of {what}")},
            {"role": "assistant", "content": self.mark(f"past answer of {what}")},
            {"role": "user", "content": [{"type": "text", "text": question}, image]},
        ]
        try:
            answered = client.chat.completions.create(
                model="haiku", messages=messages, stream=streamed, user=self.mark(f"user of {what}"),
                extra_headers={
                    "x-client-request-id": self.known["a request's id"], "x-mine": self.mark(f"head of {what}"),
                },
                extra_query={"q": self.mark(f"query of {what}")}, metadata={"note": self.mark(f"metadata of {what}")},
            )  # fmt: skip
            return list(answered) if streamed else answered
        except openai.APIStatusError as error:
            self.bodies.append(error.response.content)
            raise
        except openai.APIError as error:
            self.bodies.append(json.dumps(error.body).encode() + error.message.encode())
            raise

    def answers(self) -> None:
        with self.gateway.client(self.keys["anna"]) as client:
            assert self.ask(client, "a whole answer").choices
            assert self.ask(client, "a stream", stream=True)

    def upstream_errors(self) -> None:
        with self.gateway.client(self.keys["anna"]) as client:
            for fault in ({"status": 400}, {"status": 429}, {"status": 529}, {"nonsense": True}):
                with pytest.raises(openai.APIStatusError):
                    self.ask(client, f"an error {fault}", **fault)
            with pytest.raises(openai.APIError):
                self.ask(client, "a broken stream", stream=True, tokens=5, pause=0.01, cut=2)
        for name in ("bert", "carla"):
            with self.gateway.client(self.keys[name]) as client, pytest.raises(openai.APIStatusError):
                self.ask(client, f"the credential of {name}")

    def crashes(self) -> None:
        """A Claude Code process ends in the middle: killed, and by a fault of its own, which it tells in its way."""
        for number in (signal.SIGKILL, signal.SIGSEGV):
            with self.gateway.client(self.keys["anna"]) as client, ThreadPoolExecutor(1) as thread:
                self.stand_in.clear()
                doomed = thread.submit(self.ask, client, f"a crash by {number.name}", delay=60)
                until(lambda: self.stand_in.requests)
                for claude in self.gateway.claudes():
                    claude.send_signal(number)
                assert isinstance(doomed.exception(20), openai.InternalServerError)

    def wrong_requests(self) -> None:
        """Told by the dialect or before it; a mark stands where the fault is."""
        mark = self.mark
        chat = {"model": "haiku", "messages": [{"role": "user", "content": mark("content beside a fault")}]}
        # A wrong role or type is told to the one who sent it, and to nobody else: these two bear no mark.
        faults: list[Any] = [
            mark("a text for a body"),
            chat | {"messages": mark("messages")},
            chat | {"messages": [{"role": "narrator", "content": mark("content of no role")}]},
            chat | {"messages": [{"role": "user", "content": [{"type": "smell", "text": mark("text of no type")}]}]},
            chat | {"temperature": mark("temperature")},
            chat | {"stop": [mark("stop"), 1]},
            chat | {"seed": mark("seed")},
            chat | {"audio": {"voice": mark("tool")}},
            chat | {"response_format": {"type": "smell", "name": mark("format")}},
            chat | {mark("a field's name"): {mark("another"): 1}, "n": 2},
            *(
                chat | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
                for url in (
                    f"data:image/png;base64,{b64encode(mark('picture').encode()).decode()}",
                    f"data:image/{mark('media type')};base64,AAAA",
                    f"https://{mark('host')}.example/{mark('path')}.png",
                    mark("no url"),
                )
            ),
        ]
        for fault in faults:
            assert self.post(json.dumps(fault).encode()) == 400
        assert self.post(f'{{"messages": ["{mark("cut off")}'.encode()) == 400
        assert self.post(mark("no json").encode(), **{"content-type": "text/plain"}) == 415
        assert self.post(mark("not packed").encode(), **{"content-encoding": "gzip"}) == 400
        assert self.post(b'{"a": "' + mark("too large").encode() + b"x" * 70_000 + b'"}') == 413
        body = json.dumps(chat).encode()
        assert self.post(body, authorization=f"Bearer sk-{mark('an unknown key')}{canary()}") == 401
        assert self.post(body, authorization=f"Basic {mark('a password')}") == 401
        assert self.post(body, authorization=mark("nothing known")) == 401
        assert self.post(body, **{"x-api-key": f"sk-ant-oat01-{mark('a token for a key')}{canary()}"}) == 401

    def post(self, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> int:
        """The status of the answer; its body is kept where it is an error."""
        fields = {"content-type": "application/json", "authorization": f"Bearer {self.keys['anna']}"}
        if "x-api-key" in headers:
            del fields["authorization"]
        connection = http.client.HTTPConnection(urlsplit(self.gateway.http_url).netloc, timeout=20)
        connection.request("POST", path, body, fields | headers)
        answer = connection.getresponse()
        self.bodies.append(answer.read())
        connection.close()
        return answer.status

    def broken_requests(self) -> None:
        """What is no HTTP, or not all of it."""
        address = urlsplit(self.gateway.http_url)
        begin = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\n"
        begin += f"authorization: Bearer {self.keys['anna']}\r\n"
        for name, sent in {
            "garbage": f"\x16\x03 {self.mark('garbage')}\r\n\r\n",
            "a wrong head": f"{begin}x-\x01{self.mark('a wrong head')}: y\r\n\r\n",
            "a long head": f"{begin}x-long: {self.mark('a long head') * 4000}\r\n\r\n",
            "wrong chunks": f"{begin}transfer-encoding: chunked\r\n\r\n{self.mark('wrong chunks')}\r\n",
            "half a body": f'{begin}content-length: 500\r\n\r\n{{"messages": "{self.mark("half a body")}',
        }.items():
            with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
                with suppress(ConnectionError):
                    connection.sendall(sent.encode())
                    connection.shutdown(socket.SHUT_WR)
                    while part := connection.recv(65536):
                        self.bodies.append(part)
                assert name in self.marks


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canaries")


@pytest.fixture(scope="module")
def busy_run(_stand_in_server: StandIn, tmp: Path, png: str) -> tuple[BusyRun, Search, Search, Watch]:
    """The run, what was found of its canaries, and what was found of marks that are known to be there."""
    gateway = GatewayProcess(
        tmp / "gateway", _stand_in_server.url, log_level="debug", spare_processes=1, stop_grace=1, max_body_bytes=65_536
    )
    run = BusyRun(gateway, _stand_in_server, png)
    run.prepare()
    directories = [gateway.directory]
    with gateway.started():
        # The run makes further marks; those that matter to a process or a file while it runs are the lasting ones.
        lasting = Search(run.marks)
        known = Search(run.known | {"a command line": "claude_code_api"})
        with Watch(lasting, gateway.pid, directories), Watch(known, gateway.pid, directories) as watch:
            run.run()
            search = Search(run.marks)
            search.look_into(directories)
            with Watch(search, gateway.pid, directories), gateway.client(run.keys["anna"]) as client:
                run.ask(client, "a last answer")
            metrics = run.metrics()
        assert gateway.end() == 0
    search.found |= lasting.found
    search.look_into(directories)
    assert b"claude_code_api_answers_total" in metrics
    for looking in (search, known):
        looking.look(metrics, "the metrics")
    for body in run.bodies:
        search.look(body, "an error's body")
    for output in run.commands:
        search.look(output, "a command's output")
    known.look_into(directories)
    return run, search, known, watch


@pytest.mark.policy("T3")
def test_no_canary_is_anywhere(busy_run: tuple[BusyRun, Search, Search, Watch]) -> None:
    run, search, _, _ = busy_run
    assert len(run.marks) > 100
    assert len(run.bodies) > 30
    assert search.found == set()


def test_the_search_finds_what_is_there(busy_run: tuple[BusyRun, Search, Search, Watch]) -> None:
    run, _, known, watch = busy_run
    data = run.gateway.settings.data_dir
    assert ("a request's id", str(run.gateway.errors)) in known.found
    assert {where for name, where in known.found if name == "a key's name"} >= {str(data / "gateway.db")}
    # What begins each metric's name, and none that anybody gave.
    assert {name for name, where in known.found if where == "the metrics"} == {"a command line"}
    assert ("an environment", "environ") in known.found or os.geteuid() != 0  # kept from all but root
    assert ("a command line", "cmdline") in known.found
    assert len(watch.children) > 10  # a process for each answer


@pytest.mark.parametrize("number", range(9))
def test_the_search_knows_the_encoding(number: int, tmp: Path) -> None:
    mark = canary()
    files = tmp / f"planted-{number}"
    files.mkdir()
    around = (b"...", b"ab") if number < 6 else (b"", b"")
    (files / "file").write_bytes(around[0] + encodings(mark[:12])[number] + around[1])
    search = Search({"planted": mark})
    search.look_into([files])
    assert search.found == {("planted", str(files / "file"))}


def test_the_encodings_are_those_of_longer_texts() -> None:
    mark = canary()
    for before in ("", "x", "xy", "xyz"):
        whole = f"{before}{mark}tail".encode()
        for encoded in (whole, whole.hex().encode(), b64encode(whole), quote(whole, safe="").encode()):
            search = Search({"planted": mark})
            search.look(encoded, "here")
            assert search.found
