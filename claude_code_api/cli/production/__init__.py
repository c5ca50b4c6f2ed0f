"""`doctor --production`: the policy's two checklists (D6), before deployment and for maintenance."""

from __future__ import annotations

from claude_code_api.cli.production import deployment, maintenance
from claude_code_api.cli.production.item import Item, stored
from claude_code_api.errors import Failure
from claude_code_api.settings import Settings

__all__ = ["Item", "answers"]

CHECKLISTS = {"before deployment": deployment.CHECKS, "maintenance": maintenance.CHECKS}


def answers(settings: Settings) -> list[Item]:
    """All items in the policy's order. Changes nothing; a running gateway is asked for its headers."""
    kept = stored(settings)
    items = []
    for name, checks in CHECKLISTS.items():
        for item, check in checks.items():
            try:
                status, message, remedy = check(settings, kept)
            except Failure as failure:
                status, message, remedy = "fail", failure.message, "Mend that first."
            items.append(Item(name, item, status, message, remedy))
    return items
