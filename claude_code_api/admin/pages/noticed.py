"""What needs attention, in words: a badge, a sentence, and the page where something can be done about it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from claude_code_api.access.attention import Attention, Item, Kind
from claude_code_api.admin.caller import Caller
from claude_code_api.admin.pages.wording import ago, moment

KEYS, ADMINISTRATORS, AUDIT = "/admin/keys", "/admin/administrators", "/admin/audit"
OWN_ACCOUNT = "/admin/account"


class Notice(msgspec.Struct, frozen=True):
    """`kind` is the class of the badge. An empty `address` leads nowhere."""

    badge: str
    kind: str
    text: str
    hint: str = ""
    address: str = ""


_BADGES: Final[dict[Kind, tuple[str, str]]] = {
    "audit_broken": ("Audit log", "bad"),
    "credential_refused": ("Refused", "bad"),
    "credential_limited": ("Limit spent", "bad"),
    "certificate_ending": ("Certificate", "warn"),
    "alert": ("Alert", "warn"),
    "key_expiring": ("Ends soon", "warn"),
    "password_old": ("Password", "warn"),
    "key_unused": ("Unused", ""),
}
_LISTS: Final[dict[Kind, str]] = {
    "key_expiring": f"{KEYS}?state=live&sort=expires_at&descending=false",
    "key_unused": f"{KEYS}?state=unused&sort=last_used_at&descending=false",
    "password_old": ADMINISTRATORS,
    "alert": AUDIT,
}


def noticed(attention: Attention, reader: Caller) -> list[Notice]:
    """As whoever reads it is told: no address leads him to what he may not see, and his own password to his account."""
    found = [_told(item, reader) for item in attention.items]
    for kind, number in attention.more.items():
        badge, colour = _BADGES[kind]
        found.append(Notice(badge, colour, f"And {number:,} more", address=_open_to(reader, _LISTS.get(kind, ""))))
    return found


def _told(item: Item, reader: Caller) -> Notice:
    badge, colour = _BADGES[item.kind]
    text, hint, address = _words(item)
    if item.kind == "password_old" and item.id == reader.own_session().administrator.id:
        return Notice(badge, colour, "Your password is old", hint, OWN_ACCOUNT)
    return Notice(badge, colour, text, hint, _open_to(reader, address))


def _open_to(reader: Caller, address: str) -> str:
    return "" if address == ADMINISTRATORS and not reader.may("admin") else address


def _words(item: Item) -> tuple[str, str, str]:
    match item.kind:
        case "audit_broken":
            return "The audit log is not whole", item.name, AUDIT
        case "credential_refused":
            return f"Anthropic refuses the token of {item.name}", _how_long(item.since), f"/admin/credentials/{item.id}"
        case "credential_limited":
            resets = f"It resets {ago(item.until)}." if item.until else ""
            return f"The limit of {item.name} is spent", resets, f"/admin/credentials/{item.id}"
        case "certificate_ending":
            return "The certificate of HTTPS ends soon", f"On {moment(item.until)}." if item.until else "", ""
        case "alert":
            return item.name, ago(item.since) if item.since else "", ""
        case "key_expiring":
            return f"The key {item.name} ends {ago(item.until) if item.until else 'soon'}", "", f"{KEYS}/{item.id}"
        case "password_old":
            return (
                f"The password of {item.name} is old",
                f"Set {ago(item.since)}." if item.since else "",
                ADMINISTRATORS,
            )
        case "key_unused":
            return f"Nobody uses the key {item.name}", _how_long(item.since), f"{KEYS}/{item.id}"


def _how_long(at: datetime | None) -> str:
    told = ago(at) if at else ""
    return f"For {told.removesuffix(' ago')}." if told.endswith(" ago") else ""
