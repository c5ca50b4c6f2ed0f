"""The web interface: pages over the actions, made on the server, that work without any script."""

from __future__ import annotations

from typing import Final

from claude_code_api.admin.pages import (
    account,
    administrators,
    audit,
    credentials,
    keys,
    overview,
    playground,
    settings,
    sign_in,
    tokens,
    usage,
)
from claude_code_api.admin.pages.visit import View

VIEWS: Final[list[View]] = [
    each
    for part in (
        sign_in,
        overview,
        keys,
        credentials,
        usage,
        playground,
        audit,
        administrators,
        settings,
        account,
        tokens,
    )
    for each in vars(part).values()
    if isinstance(each, View)
]
"""Every page and form that there is."""
