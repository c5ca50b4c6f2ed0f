"""The Claude Code program: where it is, and how each process of it is started.

The arguments and the environment are the first half of what keeps a process harmless: no tools, no settings of
anybody's, no session files, no telemetry, nothing of our environment. The second half is `launch.py`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path

import claude_agent_sdk
import msgspec

from claude_code_api.engines.claude_code import client_tools
from claude_code_api.errors import OperatorFailure
from claude_code_api.settings import Settings, inherited_environment, temporary_directory

ARGUMENTS = (
    "--input-format", "stream-json",
    "--output-format", "stream-json",
    "--verbose",
    "--include-partial-messages",
    "--setting-sources=",
    "--tools", "",
    "--strict-mcp-config",
    "--mcp-config", client_tools.CONFIGURATION,
    "--allowedTools", f"mcp__{client_tools.SERVER}",
    "--no-session-persistence",
)  # fmt: skip

QUIET = dict.fromkeys(
    (
        # no telemetry, no updates, nothing but the Messages API
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        # prompts are data: a second lock beside `client_composed`
        "CLAUDE_CODE_DISABLE_FILE_MENTIONS",
        "CLAUDE_CODE_DISABLE_CLAUDE_MDS",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY",
        # one request, one answer: no call of its own choice, and no other model than the one asked for
        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK",
        "CLAUDE_CODE_DISABLE_REFUSAL_RETRY",
        "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK",
        "CLAUDE_CODE_DISABLE_MODEL_ACCESS_FALLBACK",
        "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP",
        "CLAUDE_CODE_NO_MODEL_FALLBACK",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
        "CLAUDE_CODE_DISABLE_CRON",
        # a history is the client's: never summarised
        "DISABLE_AUTO_COMPACT",
        "DISABLE_COMPACT",
    ),
    "1",
) | {
    # what a client's tool brings is passed on whole, whenever it comes
    "MAX_MCP_OUTPUT_TOKENS": "100000000",
    "MCP_TOOL_TIMEOUT": "100000000",
    "CLAUDE_CODE_SDK_MCP_TOOL_IDLE_TIMEOUT": "0",
    "ENABLE_TOOL_SEARCH": "false",
    "CLAUDE_CODE_MAX_RETRIES": "0",  # retries are the engine's: left alone the program tries for minutes
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_AGENT_SDK_VERSION": claude_agent_sdk.__version__,
}


def bundled_program() -> Path:
    """The program inside the SDK's wheel."""
    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """How to start one.

    `homes` holds a lasting private directory for each credential, `scratch` a passing one for each process;
    `workplace` is empty and stays so.
    """

    path: Path
    homes: Path
    workplace: Path
    scratch: Path
    environment: dict[str, str]

    @classmethod
    def of(cls, settings: Settings, name: str = "") -> Program:
        """`name` tells two users of the same data directory apart."""
        path = settings.claude_code_path or bundled_program()
        if not path.is_file():
            raise OperatorFailure(f"There is no Claude Code program at {path}; install claude-agent-sdk anew.")
        given = {
            "ANTHROPIC_BASE_URL": settings.anthropic_base_url,
            "HTTPS_PROXY": settings.https_proxy,
            "NO_PROXY": settings.no_proxy,
            "NODE_EXTRA_CA_CERTS": settings.ssl_cert_file and str(settings.ssl_cert_file),
            "SSL_CERT_FILE": settings.ssl_cert_file and str(settings.ssl_cert_file),
        }
        data = settings.data_dir.absolute()
        # Claude is told this name: it says nothing, and it is the same after a restart (prompt caching).
        name = hashlib.sha256(f"{data}{name}".encode(errors="surrogateescape")).hexdigest()[:12]
        return cls(
            path=path,
            homes=data / "claude",
            workplace=temporary_directory() / f"w-{name}",
            scratch=temporary_directory() / f"t-{name}",
            environment={**inherited_environment(), **QUIET, **{k: v for k, v in given.items() if v}},
        )

    def prepare(self) -> None:
        """Makes the directories; OperatorFailure where somebody else could write to the workplace."""
        self.homes.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self.workplace, self.scratch):
            with suppress(FileExistsError):
                directory.mkdir(mode=0o700)
            status = directory.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
            if not ours or (directory is self.workplace and any(directory.iterdir())):
                raise OperatorFailure(f"{directory} must be an empty directory of this user's own; remove it.")

    def tidy(self, known: set[str]) -> None:
        """Removes the homes of credentials that are no more, and what killed processes left behind."""
        for leftover in self.scratch.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
        for home in self.homes.iterdir():
            if home.name not in known:
                shutil.rmtree(home, ignore_errors=True)
            for leftover in (*(home / "sessions").glob("*"), *home.glob(".claude.json.tmp*")):
                leftover.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes what lies outside the data directory."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        with suppress(OSError):
            self.workplace.rmdir()

    def home(self, credential_id: str) -> Path:
        """The one lasting directory of a credential. It holds its device identity, and nobody else's."""
        return self.homes / credential_id

    def command(self, parent: int) -> list[str]:
        """`launch.py` under a bare interpreter, which becomes the program and ends with `parent` (a process id)."""
        launcher = Path(__file__).with_name("launch.py")
        return [sys.executable, "-I", "-S", str(launcher), str(parent), str(self.path), *ARGUMENTS]

    def environment_of(self, home: Path, scratch: Path) -> dict[str, str]:
        """`scratch` is where it puts what would else lie in the directory for everybody's temporary files, a socket
        among it, whose path must be short.
        """
        own = {"HOME": home, "CLAUDE_CONFIG_DIR": home, "CLAUDE_CODE_TMPDIR": scratch, "PWD": self.workplace}
        return {**self.environment, **{name: str(path) for name, path in own.items()}}
