"""Names of models: which there are, what Claude Code is to be told for each, and which an API key may use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self

import msgspec

from claude_code_api.errors import NotFound


class Model(msgspec.Struct, frozen=True):
    """One entry of `/v1/models`. `created` is in seconds since the epoch, 0 where nobody tells it."""

    id: str
    created: int
    owned_by: str


DEFAULT_NAMES = ("default", "sonnet", "opus", "haiku")
"""What every Claude Code understands; listed until one has told what its account may use."""

OPENAI_NAMES = (
    (re.compile(r"(gpt-\d|o\d|chatgpt|codex)\S*-(mini|nano)(-\S*)?|gpt-3\.5\S*"), "haiku"),
    (re.compile(r"gpt-\d\S*-pro(-\S*)?|o\d(-\S*)?"), "opus"),
    (re.compile(r"(gpt-\d|chatgpt-|codex-)\S*"), "sonnet"),
)
"""OpenAI's names by family, the first that fits counts: small ones are haiku, the ones that think longest opus."""

_FULL_NAME = re.compile(r"claude-[a-z0-9][a-z0-9.@-]*(\[1m\])?")


class Catalogue(msgspec.Struct, frozen=True):
    """The models of one account.

    `names` are those that Claude Code lists, in its order; `aliases` are the operator's own, from a name to any other
    name that is known here. They come first: an alias may stand for another model than the name would say.
    """

    names: tuple[str, ...] = DEFAULT_NAMES
    aliases: Mapping[str, str] = {}

    @classmethod
    def of(cls, listed: Iterable[Mapping[str, Any]], aliases: Mapping[str, str]) -> Self:
        """From `models` in Claude Code's answer to `initialize` (`[{"value": "sonnet", "displayName": …}, …]`)."""
        values = (entry.get("value") for entry in listed)
        names = tuple(dict.fromkeys(value for value in values if isinstance(value, str) and value))
        return cls(names=names or DEFAULT_NAMES, aliases=aliases)

    def resolve(self, name: str) -> str:
        """The name for Claude Code. NotFound (`model_not_found`) for one that nobody knows.

        Full names (`claude-…`) pass as they are: whether there is such a model is for Anthropic to say.
        """
        target = self._target(name)
        if target is None:
            raise _unknown(name)
        return target

    def listed(self, key_models: Collection[str] = ()) -> list[Model]:
        """What an API key limited to `key_models` (none: every model) can use: Claude Code's names, then aliases.

        OpenAI's own names are not listed, though they work: they would promise models that are not here.
        """
        names = dict.fromkeys((*self.names, *self.aliases))
        targets = {name: self._target(name) for name in names}
        return [_model(name) for name, target in targets.items() if target and allowed(key_models, name, target)]

    def find(self, name: str, key_models: Collection[str] = ()) -> Model:
        """The entry of any name that such a key can use, listed or not. NotFound for others."""
        if not allowed(key_models, name, self.resolve(name)):
            raise _unknown(name)
        return _model(name)

    def _target(self, name: str) -> str | None:
        target = self.aliases.get(name, name)
        if target in self.names or target in DEFAULT_NAMES or _FULL_NAME.fullmatch(target):
            return target
        return next((model for form, model in OPENAI_NAMES if form.fullmatch(target)), None)


def allowed(key_models: Collection[str], given: str, resolved: str) -> bool:
    """Whether an API key limited to `key_models` (none: every model) may use a model, by either of its names.

    Other names of the same model do not count: a limit to `gpt-4o` is none to `sonnet`.
    """
    return not key_models or given in key_models or resolved in key_models


def _model(name: str) -> Model:
    return Model(id=name, created=0, owned_by="anthropic")


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"The model `{name}` does not exist or you do not have access to it.", code="model_not_found", param="model"
    )
