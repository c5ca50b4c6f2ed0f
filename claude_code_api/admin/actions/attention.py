"""What somebody should look at."""

from __future__ import annotations

from claude_code_api.access.attention import Attention, attention
from claude_code_api.admin.action import Nothing, Parts, action
from claude_code_api.admin.caller import Caller


@action("GET", "/attention", "viewer")
async def show_attention(parts: Parts, _: Caller, __: Nothing) -> Attention:
    """Tell what needs attention, the most pressing first: refused credentials, keys about to end, alerts of late."""
    return await attention(parts.access, certificate_ends_at=parts.certificate_ends_at())
