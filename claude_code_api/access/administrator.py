"""An administrator as he is shown, and how names are compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import msgspec

from claude_code_api.access import names

Role = Literal["owner", "admin", "viewer"]
"""From the one who may most to the one who may least."""

REMIND_AFTER = timedelta(days=90)
"""A password of this age is pointed out (policy A5)."""
LONGEST_NAME_GIVEN = 8 * names.LONGEST
"""Characters before they are composed; a name that is longer is nobody's."""


class Administrator(msgspec.Struct, frozen=True, kw_only=True):
    """An administrator as it is shown.

    A session remembers the `sessions_valid_from` of the administrator that `check` gave for it, and is good only as
    long as that stays the same: so a changed password ends every session, one that is just being begun too.
    """

    id: str
    name: str
    role: Role
    password_set_at: datetime
    sessions_valid_from: datetime
    created_at: datetime
    created_by: str

    @property
    def actor(self) -> str:
        """What the audit log calls him where he does something."""
        return f"administrator {self.name}"[: names.LONGEST]

    @property
    def password_age(self) -> timedelta:
        return datetime.now(UTC) - self.password_set_at

    @property
    def is_reminded(self) -> bool:
        """Whether the password is so old that it should be changed."""
        return self.password_age > REMIND_AFTER


def grants(role: Role, wanted: Role) -> bool:
    """Whether this role may all that the wanted one may."""
    order = get_args(Role)
    return order.index(role) <= order.index(wanted)


def plain(name: str) -> str:
    """A name as names are compared."""
    return names.composed(names.composed(name).casefold())


def checked(name: str) -> str:
    """A new name, as it is kept; InvalidRequest for one that cannot be."""
    return names.checked(plain(name))
