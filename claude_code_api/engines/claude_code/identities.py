"""Device identities: what Claude Code made for each credential at its first start, and tells Anthropic.

A backup carries them, so that a restored gateway is not a new device to Anthropic. All else in the directories stays.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from claude_code_api.engines.claude_code.program import CONFIG, homes, user_numbers
from claude_code_api.settings import Settings


class _Config(msgspec.Struct):
    user_id: str | None = msgspec.field(default=None, name="userID")


def identities(settings: Settings) -> dict[str, str]:
    """Each credential's, by its id; those that have none yet are left out."""
    found = {}
    for path in homes(settings).glob(f"*/{CONFIG}"):
        try:
            config = msgspec.json.decode(path.read_bytes(), type=_Config)
        except (OSError, msgspec.DecodeError):
            continue
        if config.user_id:
            found[path.parent.name] = config.user_id
    return found


def lay_out(settings: Settings, identities: dict[str, str], directory: Path) -> dict[str, Path]:
    """Makes a home with its identity for each credential, below `directory`; by name, the places where they belong.

    A credential that has a home already keeps what it has.
    """
    user = user_numbers(settings.claude_code_user)
    places = {}
    for credential_id, user_id in identities.items():
        place = homes(settings) / credential_id
        if place.exists() or Path(credential_id).name != credential_id:
            continue
        home = directory / credential_id
        home.mkdir(mode=0o700, parents=True)
        config = home / CONFIG
        config.touch(0o600)
        config.write_bytes(msgspec.json.encode({"userID": user_id}))
        for path in (home, config) if user else ():
            os.chown(path, *user)  # type: ignore[misc]
        places[credential_id] = place
    return places
