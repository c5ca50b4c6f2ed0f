"""The environment that this process was given, and the way that secrets leave it (policy T3).

`/proc/PID/environ` shows what a program was started with as long as it runs, whatever it does to its variables. So the
gateway starts itself again, as the same process, without the secrets, which it hands on in a memory file: a file that
no directory has and no disk holds, read once and then gone. This is the only module that reads the environment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Set
from functools import cache

from claude_code_api.errors import OperatorFailure

HANDED_ON = "CLAUDE_CODE_API_HANDED_ON"
"""Tells the memory file, as "PROCESS:DESCRIPTOR". Of a parent's, a child inherits the variable, but not the file."""


def variables() -> Mapping[str, str]:
    """All that we were given: the environment, and the secrets that were taken out of it."""
    secrets = _handed_on()
    return {**os.environ, **secrets}


def inherited() -> Mapping[str, str]:
    """What a child process of ours may know of our environment: where programs are, and the language."""
    return {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}


def without(names: Set[str]) -> dict[str, str]:
    """The environment without these variables."""
    return {name: value for name, value in os.environ.items() if name not in {*names, HANDED_ON}}


def start_again_without(names: Set[str]) -> None:
    """Becomes the same program anew, with these variables handed on out of sight; returns where none is set.

    To be called before there are threads, connections or output: all but the process itself ends here.
    """
    secrets = {name: os.environ[name] for name in names if os.environ.get(name)}
    if not secrets:
        return
    descriptor = _memory_file(json.dumps(secrets).encode())
    environment = {**without(names), HANDED_ON: f"{os.getpid()}:{descriptor}"}
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - no shell, on purpose
    except OSError as error:
        os.close(descriptor)
        raise OperatorFailure(
            f"Python cannot be started again to take secrets out of the environment ({error.strerror}); "
            f"give them as files instead: {', '.join(f'{name}_FILE' for name in sorted(secrets))}."
        ) from None


@cache
def _handed_on() -> Mapping[str, str]:
    process, _, descriptor = os.environ.pop(HANDED_ON, "").partition(":")
    if process != str(os.getpid()):
        return {}
    with open(int(descriptor), "rb") as file:
        secrets: dict[str, str] = json.loads(file.read())
    return secrets


def _memory_file(content: bytes) -> int:
    """A descriptor that outlives `exec`, to read the content from."""
    if hasattr(os, "memfd_create"):  # Linux
        descriptor = os.memfd_create("secrets", 0)
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor
    descriptor, writing = os.pipe()  # which holds 16 KiB at least; secrets are small
    os.write(writing, content)
    os.close(writing)
    os.set_inheritable(descriptor, True)
    return descriptor
