"""How programs are told of the gateway: lines to be copied, in which the key itself never stands."""

from __future__ import annotations

from typing import Any

from claude_code_api.admin.pages.rendering import plain_text
from claude_code_api.admin.pages.visit import Visit

KINDS = ("environment", "curl", "python", "node")


def snippets(visit: Visit) -> dict[str, Any]:
    """What `snippets.html` asks for."""
    settings = visit.parts.settings
    base_url = f"{visit.origin}/v1"
    return {
        "snippets": {kind: plain_text(f"snippets/{kind}.txt", base_url=base_url) for kind in KINDS},
        "base_url": base_url,
        "self_signed": settings.cert is None and settings.public_url is None,
        "certificate": settings.data_dir / "tls" / "certificate.pem",
    }
