"""The settings in force, to be read."""

from __future__ import annotations

from itertools import groupby

import msgspec

from claude_code_api.admin.actions.settings import SettingInForce, list_settings
from claude_code_api.admin.pages.visit import Answer, Shown, Visit, view
from claude_code_api.settings import TITLES


class Group(msgspec.Struct, frozen=True):
    id: str
    title: str
    rows: list[SettingInForce]


@view("GET", "/admin/settings", "admin")
async def listed(visit: Visit) -> Answer:
    rows = (await visit.do(list_settings)).data
    by_group = {name: list(given) for name, given in groupby(sorted(rows, key=_group), key=_group)}
    groups = [
        Group("group-" + name.replace(" ", "-"), title, by_group[name])
        for name, title in TITLES.items()
        if name in by_group
    ]
    return Shown("settings.html", "settings", {"groups": groups})


def _group(row: SettingInForce) -> str:
    return row.group
