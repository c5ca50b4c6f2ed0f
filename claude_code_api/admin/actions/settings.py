"""The settings in force, to be read: they are changed where the gateway is started."""

from __future__ import annotations

from typing import Any

import msgspec

from claude_code_api.admin.action import Nothing, Parts, action
from claude_code_api.admin.caller import Caller
from claude_code_api.secret import Secret
from claude_code_api.settings import Settings, allowed, environment_names, is_secret


class SettingInForce(msgspec.Struct, frozen=True, kw_only=True):
    """`value` as text, of a secret only whether it is given; `variables` are the environment's names for it."""

    name: str
    group: str
    help: str
    value: str
    is_default: bool
    is_secret: bool
    allowed: str
    variables: list[str]


class SettingList(msgspec.Struct, frozen=True):
    data: list[SettingInForce]


@action("GET", "/settings", "admin")
async def list_settings(parts: Parts, _: Caller, __: Nothing) -> SettingList:
    """List the settings in force, without secrets."""
    return SettingList([_in_force(name, getattr(parts.settings, name)) for name in Settings.model_fields])


def _in_force(name: str, value: Any) -> SettingInForce:
    field = Settings.model_fields[name]
    extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    secret = is_secret(field) or isinstance(value, Secret)
    return SettingInForce(
        name=name,
        group=str(extra.get("group", "")),
        help=field.description or "",
        value=("given" if value else "not given") if secret else shown(value),
        is_default=value == field.get_default(call_default_factory=True),
        is_secret=secret,
        allowed=allowed(field),
        variables=environment_names(name, field),
    )


def shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {each}" for name, each in value.items())
    if isinstance(value, tuple | list | set | frozenset):
        return ", ".join(map(str, value))
    return str(value)
