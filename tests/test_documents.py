"""The documents say what is so: their commands, links, settings and make targets exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from claude_code_api.cli import app
from claude_code_api.settings import Settings, environment_names

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / ".env.example", ROOT / "LICENSE"))
PAGES = [path for path in DOCUMENTS if path.suffix == ".md"]
EXPECTED = {"README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", ".env.example",
            "architecture.md", "configuration.md", "openai-chat.md", "operations.md", "performance.md", "usage.md",
            "vault.md"}  # fmt: skip

VARIABLES = {variable for name, field in Settings.model_fields.items() for variable in environment_names(name, field)}


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
every_document = pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


# --- reading --------------------------------------------------------------------------------------------


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code(text: str) -> Iterator[str]:
    """The lines of code blocks, and what stands between backticks."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from re.sub(r"\\\n\s*", "", block).splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def make_targets(text: str) -> set[str]:
    """What is made: `make demo` in code."""
    return {target for line in code(text) for target in re.findall(r"\bmake ([a-z]+)", line)}


def settings_named(text: str) -> set[str]:
    """What follows the word: "the setting `a`", "the settings `a`, `b` and `c`"."""
    runs = re.findall(r"\b[Ss]ettings?\s+((?:`\w+`(?:,\s+|\s+and\s+|\s+or\s+)?)+)", text)
    return {name for run in runs for name in re.findall(r"`(\w+)`", run)}


def commands(text: str) -> Iterator[list[str]]:
    """Each `claude-code-api …` in code, as arguments."""
    for line in code(text):
        for command in line.split("|"):
            words = shlex.split(command.partition("#")[0])
            if words[:1] == ["claude-code-api"]:
                yield words[1:]


def anchors(text: str) -> set[str]:
    """The headings, as links name them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fault_of(words: list[str], command: TyperGroup | TyperCommand) -> str | None:
    """Why these arguments are none of this command, None where they are."""
    options = {name: option for option in command.params if isinstance(option, TyperOption) for name in option.opts}
    while words:
        word, *words = words
        if word == "--help":
            return None
        if word.startswith("-"):
            option = options.get(word.partition("=")[0])
            if option is None:
                return f"{command.name} has no option {word}"
            if not option.is_flag and "=" not in word:
                words = words[1:]
        elif isinstance(command, TyperGroup) and word.islower():  # in capitals it stands for any
            found = command.commands.get(word)
            if not isinstance(found, TyperGroup | TyperCommand):
                return f"{command.name} has no command {word}"
            return fault_of(words, found)
    return None


def command_tree() -> TyperGroup:
    tree = typer.main.get_command(app)
    assert isinstance(tree, TyperGroup)
    return tree


# --- what the documents must keep -----------------------------------------------------------------------


def test_the_documents_that_everybody_looks_for_are_there() -> None:
    assert {path.name for path in DOCUMENTS} >= EXPECTED


@every_page
def test_every_make_target_exists(page: Path) -> None:
    there = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert make_targets(text_of(page)) - there == set()


def test_every_make_target_is_told_to_contributors() -> None:
    public = set(re.findall(r"^([a-z]+):.*## ", text_of(ROOT / "Makefile"), re.MULTILINE)) - {"help"}
    assert public - make_targets(text_of(ROOT / "CONTRIBUTING.md")) == set()


@every_page
def test_every_link_within_the_tree_leads_somewhere(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists() or (anchor and anchor not in anchors(text_of(path))):
            lost.append(target)
    assert lost == []


@every_document
def test_every_setting_exists(page: Path) -> None:
    assert settings_named(text_of(page)) - set(Settings.model_fields) == set()
    assert set(re.findall(r"\bCCAPI_\w*[A-Z]", text_of(page))) - VARIABLES == set()


def test_every_setting_is_documented() -> None:
    page = text_of(ROOT / "docs" / "configuration.md")
    assert [name for name in Settings.model_fields if f"`{name}`" not in page] == []


@every_page
def test_every_command_exists_with_its_options(page: Path) -> None:
    tree = command_tree()
    assert [fault for words in commands(text_of(page)) if (fault := fault_of(words, tree))] == []


def test_the_readme_shows_the_commands_of_real_use() -> None:
    shown = [" ".join(words) for words in commands(text_of(ROOT / "README.md"))]
    for command in ("serve", "credentials add", "keys create"):
        assert any(words.startswith(command) for words in shown), command


@every_document
def test_a_document_speaks_of_the_project_alone(page: Path) -> None:
    """No numbers of issues, which say nothing elsewhere, and no paths of whoever wrote it."""
    text = text_of(page)
    assert re.findall(r"(?i)(?<![\w&])#\d+\b|\bissues?\s+\d+|/issues/\d+", text) == []
    theirs = {
        "v1",
        "health",
        "proc",
        "etc",
        "var",
        "run",
        "admin",
        "auth",
        "metrics",
        "docs",
        "openapi",
        "path",
        "command",
    }
    assert set(re.findall(r"(?<![\w.:/…{}~<>*)-])/([a-z]\w+)", text)) - theirs == set()


# --- the reading itself ---------------------------------------------------------------------------------

SAMPLE = """
# What is *this*?

Run `make nothing`, or see the settings `port`, `prot` and
`host`. The setting `log_level` too.

```sh
make demo     # and make tea
claude-code-api keys create a \\
  --credentail b   # wrong
echo x | claude-code-api credentials ad main
```
"""


def test_what_is_wrong_would_be_found() -> None:
    tree = command_tree()
    assert make_targets(SAMPLE) == {"nothing", "demo", "tea"}
    assert settings_named(SAMPLE) == {"port", "prot", "host", "log_level"}
    assert anchors(SAMPLE) == {"what-is-this"}
    found = [fault_of(words, tree) for words in commands(SAMPLE)]
    assert found == ["create has no option --credentail", "credentials has no command ad"]
