"""Every action that there is: the table from which the admin API, its description and the census of routes come."""

from __future__ import annotations

from typing import Any, Final

from claude_code_api.admin.action import Action
from claude_code_api.admin.actions import (
    account,
    administrators,
    attention,
    audit,
    credentials,
    keys,
    playground,
    settings,
    tokens,
    usage,
)

ACTIONS: Final[list[Action[Any, Any]]] = [
    each
    for part in (attention, keys, credentials, usage, audit, administrators, tokens, account, settings, playground)
    for each in vars(part).values()
    if isinstance(each, Action)
]
