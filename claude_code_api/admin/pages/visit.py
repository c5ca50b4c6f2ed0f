"""One visit of a page: who comes, with what, and the kinds of answer that there are."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from claude_code_api.access.administrator import Role
from claude_code_api.admin.action import Action, Input
from claude_code_api.admin.api import taken
from claude_code_api.admin.caller import Caller
from claude_code_api.admin.pages.rendering import Form, Frame
from claude_code_api.admin.pages.wording import DONE
from claude_code_api.errors import (
    Conflict,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    PreconditionFailed,
    RateLimited,
    RequestFailure,
    Unauthenticated,
)
from claude_code_api.surface.asgi import Fields
from claude_code_api.surface.exchange import Exchange

if TYPE_CHECKING:
    from claude_code_api.admin import Admin

MENDED = (InvalidRequest, Conflict, Overloaded, PermissionDenied, PreconditionFailed, RateLimited)
"""What whoever filled in a form can do something about: the form is shown again, with what was wrong."""

_OWN_PAGE = re.compile(r"/admin(/[\w.-]+)*(\?[\w.%=&+-]*)?", re.ASCII)

I = TypeVar("I", bound=Input)  # noqa: E741 - the input
O = TypeVar("O")  # noqa: E741 - the output


class Shown(msgspec.Struct, frozen=True):
    """A page. `section` is its entry in the menu; `values` are what its template asks for."""

    template: str
    section: str
    values: dict[str, Any]
    status: int = 200


class Elsewhere(msgspec.Struct, frozen=True):
    """Another page of ours is where it goes on."""

    address: str
    headers: Fields = []


class Answered(msgspec.Struct, frozen=True):
    """The page has answered by itself."""


Answer = Shown | Elsewhere | Answered


class Visit:
    """`path`, `query` and `form` are fields as they were sent; those that were empty are not there."""

    def __init__(
        self,
        exchange: Exchange,
        admin: Admin,
        origin: str,
        caller: Caller | None,
        *,
        path: dict[str, str],
        query: dict[str, str],
        form: dict[str, str],
    ) -> None:
        self.exchange, self.admin, self.parts, self.origin = exchange, admin, admin.parts, origin
        self.path, self.query, self.form = path, query, form
        self._caller = caller

    @property
    def caller(self) -> Caller:
        if self._caller is None:
            raise Unauthenticated("Nobody is signed in.", code="not_signed_in")
        return self._caller

    def may(self, role: Role) -> bool:
        return self.caller.may(role)

    async def do(self, action: Action[I, O], /, **given: Any) -> O:
        """Does what the admin API does, for the same role and with the same checks."""
        return await action(self.parts, self.caller, taken(given, action.takes, strict=False))

    def frame(self, section: str) -> Frame:
        done = DONE.get(self.query.get("done", ""), "")
        if self._caller is None:
            return Frame(section=section, done=done)
        session = self._caller.own_session()
        return Frame(
            section=section,
            name=session.administrator.name,
            role=self._caller.role,
            csrf_token=session.csrf_token.reveal(),
            done=done,
        )

    def failed_form(self, name: str, failure: RequestFailure, *fields: str) -> Form:
        """The form as it was sent, with the failure at its field where it is of one of these, else on top."""
        at_field = failure.param in fields
        return Form(
            name,
            self.form,
            {str(failure.param): failure.message} if at_field else {},
            "" if at_field else failure.message,
        )


class View:
    """A page, or what one of its forms does. It takes `role`, or nobody who is signed in where that is None."""

    def __init__(self, run: Callable[[Visit], Awaitable[Answer]], method: str, path: str, role: Role | None) -> None:
        self.run, self.method, self.path, self.role = run, method, path, role


def view(method: str, path: str, role: Role | None) -> Callable[[Callable[[Visit], Awaitable[Answer]]], View]:
    def decorate(run: Callable[[Visit], Awaitable[Answer]]) -> View:
        return View(run, method, path, role)

    return decorate


def is_own_page(address: str) -> bool:
    """Whether it is good to be sent to: a page of ours, and never another host."""
    return len(address) <= 1000 and _OWN_PAGE.fullmatch(address) is not None
