"""The web interface: pages over the actions, made on the server, that work without any script."""

from __future__ import annotations

from typing import Final

from claude_code_api.admin.pages import credentials, keys, overview, sign_in
from claude_code_api.admin.pages.visit import View

VIEWS: Final[list[View]] = [
    each for part in (sign_in, overview, keys, credentials) for each in vars(part).values() if isinstance(each, View)
]
"""Every page and form that there is."""
