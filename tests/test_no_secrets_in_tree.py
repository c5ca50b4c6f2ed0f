"""No secret is in the tree, and none gets in by a careless `git add` (policy D2)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.access import key_text
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, environment_names, is_secret

pytestmark = pytest.mark.policy("D2")

ROOT = Path(__file__).parent.parent

FORMS = {
    "a token or key of Anthropic's": re.compile(r"sk-ant-[a-z]{2,8}[0-9]{2}-[A-Za-z0-9_-]{20,}"),
    "an administrator's token": re.compile(r"(?<![A-Za-z0-9])adm-[A-Za-z0-9]{20,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40,}"),
    "a token of GitHub's": re.compile(r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,})"),
    "a key of AWS's": re.compile(r"(?<![A-Za-z0-9])AKIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
}
OUR_KEY = re.compile(r"(?=(sk-[0-9A-Za-z]{48}))")


def secrets_in(text: str) -> list[str]:
    """What secrets a text holds: their kinds, never themselves."""
    found = [kind for kind, form in FORMS.items() if form.search(text)]
    if any(key_text.is_well_formed(Secret(match[1])) for match in OUR_KEY.finditer(text)):
        found.append("an API key of a gateway")
    return found


# --- the tree -------------------------------------------------------------------------------------------


@cache
def ignore_rules() -> list[str]:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def is_ignored(name: str, *, directory: bool = False) -> bool:
    """Whether .gitignore covers a file or directory of this name anywhere; the last rule that fits counts."""
    ignored = False
    for rule in ignore_rules():
        pattern = rule.removeprefix("!")
        if fnmatch(name, pattern.removesuffix("/")) and (directory or not pattern.endswith("/")):
            ignored = not rule.startswith("!")
    return ignored


def would_be_committed() -> Iterator[Path]:
    """Every file that `git add --all` would take, found without git, which not everybody has."""
    for directory, subdirectories, files in os.walk(ROOT):
        subdirectories[:] = [name for name in subdirectories if name != ".git" and not is_ignored(name, directory=True)]
        yield from (Path(directory, name) for name in files if not is_ignored(name))


def committed() -> list[Path]:
    """What git has already, ignored or not; nothing where the tree is no checkout."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return []
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_of_the_tree_holds_a_secret() -> None:
    files = {path for path in (*would_be_committed(), *committed()) if path.is_file()}
    assert {ROOT / "README.md", ROOT / ".env.example", Path(__file__)} <= files
    found = {str(path.relative_to(ROOT)): secrets_in(path.read_text(errors="replace")) for path in files}
    assert {path: kinds for path, kinds in found.items() if kinds} == {}


def test_nothing_is_committed_that_is_to_be_ignored() -> None:
    assert [path for path in committed() if is_ignored(path.name)] == []
    parents = {part for path in committed() for part in path.relative_to(ROOT).parent.parts}
    assert [part for part in sorted(parents) if is_ignored(part, directory=True)] == []


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", ".env.production", "master.key", "key.pem", "certificate.pem", "claude-code-api.toml"],
)
def test_files_that_hold_secrets_are_ignored(name: str) -> None:
    assert is_ignored(name)


def test_data_directories_are_ignored() -> None:
    assert is_ignored(Settings.model_fields["data_dir"].default.name, directory=True)
    assert not is_ignored("claude_code_api", directory=True)


# --- .env.example ---------------------------------------------------------------------------------------


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_the_example_is_committed() -> None:
    assert not is_ignored(".env.example")


def test_the_example_names_only_settings() -> None:
    known = {variable for name, field in Settings.model_fields.items() for variable in environment_names(name, field)}
    assert example().keys() <= known


def test_the_example_gives_no_value_to_a_secret() -> None:
    secret = {
        variable
        for name, field in Settings.model_fields.items()
        if is_secret(field)
        for variable in environment_names(name, field)
    }
    given_secrets = {name: value for name, value in example().items() if name in secret}
    assert "CLAUDE_CODE_OAUTH_TOKEN" in given_secrets
    assert not any(given_secrets.values())


# --- the search itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "sk-ant-" + "oat01-" + "x" * 80,
        "sk-ant-" + "api03-" + "Ab_-" * 20,
        "sk-ant-" + "admin01-" + "x" * 80,
        "adm-" + "a1B2" * 10,
        "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIB" * 16,
        "-----BEGIN EC " + "PRIVATE KEY-----\n" + "MHcC" * 16,
        "ghp_" + "a1" * 18,
        "AKIA" + "A1B2C3D4E5F6G7H8",
    ],
)
def test_the_search_finds_each_form(text: str) -> None:
    assert secrets_in(f'before "{text}" after')
    assert secrets_in(f"TOKEN={text}\n")


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_search_finds_any_api_key_wherever_it_stands(before: str, after: str) -> None:
    assert secrets_in(before + key_text.generate().reveal() + after) == ["an API key of a gateway"]


def test_the_search_leaves_the_forms_as_documents_write_them() -> None:
    assert not secrets_in("sk-ant-oat01-…, sk-ant-api03-…, sk-…, adm-…, -----BEGIN PRIVATE KEY-----")
    assert not secrets_in("sk-" + "0" * 48)
