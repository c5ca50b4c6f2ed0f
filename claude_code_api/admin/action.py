"""What an administrator may do: each action once, for the pages and for scripts alike, with the role that it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from claude_code_api.access import Access
from claude_code_api.access.administrator import Role
from claude_code_api.admin.caller import Caller
from claude_code_api.settings import Settings
from claude_code_api.surface.gateway import Gateway
from claude_code_api.surface.key_gate import KeyGate


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an action is given: the fields of its path, its query and its body. No other field is ever taken."""


class Nothing(Input, frozen=True, kw_only=True):
    """No fields."""


class Download(msgspec.Struct, frozen=True):
    """What an action gives as a file, piece by piece."""

    name: str
    content_type: bytes
    chunks: AsyncGenerator[bytes, None]


class Parts(msgspec.Struct, frozen=True):
    """What actions work with. `certificate_ends_at` tells when that in use ends; None before there is one."""

    settings: Settings
    access: Access
    gateway: Gateway
    keys: KeyGate
    certificate_ends_at: Callable[[], datetime | None]


I = TypeVar("I", bound=Input)  # noqa: E741 - the input
O = TypeVar("O")  # noqa: E741 - the output


class Action(Generic[I, O]):
    """One thing that can be done. `path` lies under `/admin/api/v1`; `{name}` in it is a field of the input.

    `files` are the content types of what it gives, where that is a Download.
    """

    def __init__(
        self,
        run: Callable[[Parts, Caller, I], Awaitable[O]],
        method: str,
        path: str,
        role: Role,
        status: int,
        files: tuple[str, ...],
    ) -> None:
        hints = get_type_hints(run)
        *_, self.takes = (kind for name, kind in hints.items() if name != "return")
        self.gives: Any = hints["return"]
        self.name = run.__name__
        self.summary = (run.__doc__ or "").partition("\n")[0].rstrip(".")
        self.method, self.path, self.role, self.status = method, path, role, status
        self.files = files
        self._run = run

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(field.name for field in msgspec.structs.fields(self.takes))

    async def __call__(self, parts: Parts, caller: Caller, given: I) -> O:
        """Does it. PermissionDenied where the caller's role does not allow it; what else fails, `access` tells."""
        caller.require(self.role)
        return await self._run(parts, caller, given)


def action(
    method: str, path: str, role: Role, status: int = 200, files: tuple[str, ...] = ()
) -> Callable[[Callable[[Parts, Caller, I], Awaitable[O]]], Action[I, O]]:
    def decorate(run: Callable[[Parts, Caller, I], Awaitable[O]]) -> Action[I, O]:
        return Action(run, method, path, role, status, files)

    return decorate
