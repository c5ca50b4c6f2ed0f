"""The Claude Code program: where it is, and how each process of it is started.

The arguments and the environment are the first half of what keeps a process harmless: no tools, no settings of
anybody's, no session files, no telemetry, nothing of our environment. The second half is `launch.py`.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path

import claude_agent_sdk
import msgspec
from yarl import URL

from claude_code_api import environment
from claude_code_api.engines.claude_code import client_tools, sandbox
from claude_code_api.engines.claude_code.sandbox import Sandbox
from claude_code_api.errors import OperatorFailure
from claude_code_api.settings import Settings, temporary_directory

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
        # nor said anything of beside them, such as how many tokens may be left
        "CLAUDE_CODE_DISABLE_ATTACHMENTS",
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
    "CLAUDE_CODE_MAX_MCP_DESCRIPTION_LENGTH": "100000000",  # longer ones would be cut off
    "MCP_TOOL_TIMEOUT": "100000000",
    "CLAUDE_CODE_SDK_MCP_TOOL_IDLE_TIMEOUT": "0",
    "ENABLE_TOOL_SEARCH": "false",
    "CLAUDE_CODE_MAX_RETRIES": "0",  # retries are the engine's: left alone the program tries for minutes
    # it would keep a log of the client's tools there, and of what they failed with
    "XDG_CACHE_HOME": os.devnull,
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_AGENT_SDK_VERSION": claude_agent_sdk.__version__,
}


CONFIG = ".claude.json"
"""In a home: the program's configuration, its device identity among it."""
NAME_SERVERS = 53


def bundled_program() -> Path:
    """The program inside the SDK's wheel."""
    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """How to start one.

    `homes` holds a lasting private directory for each credential, `scratch` a passing one for each process;
    `workplace` is empty and stays so. `user` (its number and its group's) is whom it runs as, None for the gateway's
    own; `ports` are those that it may connect to, None where no sandbox locks it in.
    """

    path: Path
    homes: Path
    workplace: Path
    scratch: Path
    environment: dict[str, str]
    user: tuple[int, int] | None = None
    ports: tuple[int, ...] | None = None

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
            homes=homes(settings),
            workplace=temporary_directory() / f"w-{name}",
            scratch=temporary_directory() / f"t-{name}",
            environment={**environment.inherited(), **QUIET, **{k: v for k, v in given.items() if v}},
            user=user_numbers(settings.claude_code_user),
            ports=_ports(settings, path),
        )

    def prepare(self) -> None:
        """Makes the directories; OperatorFailure where somebody else could write to the workplace, or where the user
        that the program runs as cannot reach them.
        """
        self.homes.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self.workplace, self.scratch):
            self.make_private(directory)
            status = directory.lstat()
            owners = (os.geteuid(), self.user[0] if self.user else os.geteuid())
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid in owners and not status.st_mode & 0o077
            if not ours or (directory is self.workplace and any(directory.iterdir())):
                raise OperatorFailure(f"{directory} must be an empty directory of this user's own; remove it.")
        if self.user:
            for directory in (self.homes.parent, self.homes):
                directory.chmod(0o711)  # to be passed, and neither listed nor read
            self.require_way()

    def make_private(self, directory: Path) -> None:
        """Makes a directory for the program alone, where there is none."""
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            if self.user:
                os.chown(directory, *self.user)

    def require_way(self) -> None:
        """OperatorFailure where the user that the program runs as cannot reach it, or its home."""
        user, group = self.user or (os.geteuid(), os.getegid())
        for path in (self.path, *self.path.parents, *self.homes.parents):
            status = path.stat()
            bit = stat.S_IXUSR if status.st_uid == user else stat.S_IXGRP if status.st_gid == group else stat.S_IXOTH
            if not status.st_mode & bit:
                raise OperatorFailure(f"The user of the setting claude_code_user may not pass {path}: chmod it +x.")

    def tidy(self, known: set[str]) -> None:
        """Removes the homes of credentials that are no more, and what killed processes left behind."""
        for leftover in self.scratch.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
        for home in self.homes.iterdir():
            if home.name not in known:
                shutil.rmtree(home, ignore_errors=True)
            for leftover in (*(home / "sessions").glob("*"), *home.glob(f"{CONFIG}.tmp*")):
                leftover.unlink(missing_ok=True)

    def remove_leftovers(self, home: Path, pid: int) -> None:
        """Removes what one process left in its home, which it could not tidy up itself when it was killed.

        By their names: `glob` would remember a pattern for each process.
        """
        for directory, beginning in ((home / "sessions", f"{pid}."), (home, f"{CONFIG}.tmp.{pid}.")):
            with suppress(OSError):
                for leftover in directory.iterdir():
                    if leftover.name.startswith(beginning):
                        leftover.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes what lies outside the data directory."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        with suppress(OSError):
            self.workplace.rmdir()

    def home(self, credential_id: str) -> Path:
        """The one lasting directory of a credential. It holds its device identity, and nobody else's."""
        return self.homes / credential_id

    def command(self, parent: int, home: Path, scratch: Path) -> list[str]:
        """`launch.py` under a bare interpreter, which becomes the program and ends with `parent` (a process id)."""
        launcher = Path(__file__).with_name("launch.py")
        user = f"{self.user[0]}:{self.user[1]}" if self.user else ""
        locked = self.sandbox(home, scratch)
        return [
            *(sys.executable, "-I", "-S", str(launcher), str(parent), user, locked.encoded() if locked else ""),
            *(str(self.path), *ARGUMENTS),
        ]

    def sandbox(self, home: Path, scratch: Path) -> Sandbox | None:
        """What one process may do: read and write in its own directories alone, and connect to Anthropic."""
        if self.ports is None:
            return None
        authorities = self.environment.get("SSL_CERT_FILE")
        return Sandbox(
            read=(str(self.workplace), *([authorities] if authorities else [])),
            write=(str(home), str(scratch)),
            run=(str(self.path),),
            ports=self.ports,
        )

    def environment_of(self, home: Path, scratch: Path) -> dict[str, str]:
        """`scratch` is where it puts what would else lie in the directory for everybody's temporary files, a socket
        among it, whose path must be short.
        """
        own = {"HOME": home, "CLAUDE_CONFIG_DIR": home, "CLAUDE_CODE_TMPDIR": scratch, "PWD": self.workplace}
        return {**self.environment, **{name: str(path) for name, path in own.items()}}


def homes(settings: Settings) -> Path:
    """Where the credentials' lasting directories are."""
    return settings.data_dir.absolute() / "claude"


def user_numbers(name: str | None) -> tuple[int, int] | None:
    """The numbers of a user and its group."""
    if name is None:
        return None
    if os.geteuid() != 0:
        raise OperatorFailure("The setting claude_code_user needs a gateway that is started as root.")
    try:
        known = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise OperatorFailure(f"The setting claude_code_user is {name!r}, and there is no such user.") from None
    return known.pw_uid, known.pw_gid


def _ports(settings: Settings, program: Path) -> tuple[int, ...] | None:
    """Where the sandbox lets the program connect to, by TCP: Anthropic, the proxy, name servers. None: no sandbox."""
    if settings.sandbox == "off":
        return None
    if hindrance := _hindrance(program):
        if settings.sandbox == "require":
            raise OperatorFailure(f"The setting sandbox is 'require', but {hindrance}.")
        return None
    urls = (settings.anthropic_base_url, settings.https_proxy)
    return (*(port for url in urls if url and (port := URL(url).port)), NAME_SERVERS)


def _hindrance(program: Path) -> str | None:
    """Why the program cannot be locked in."""
    if not sandbox.version():
        return "this system has no Landlock (Linux 5.13 or later)"
    with program.open("rb") as file:
        if file.read(2) == b"#!":
            return f"{program} is a script, which runs other programs"
    return None
