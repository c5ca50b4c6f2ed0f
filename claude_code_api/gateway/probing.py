"""Whether Anthropic takes a credential: asked through Claude Code, and what it says is kept with the credential."""

from __future__ import annotations

from claude_code_api.access import Access, CredentialRecord
from claude_code_api.engines.claude_code import probe
from claude_code_api.errors import CredentialRefused
from claude_code_api.settings import Settings


async def test_credential(settings: Settings, access: Access, id_or_name: str) -> CredentialRecord:
    """The credential after Anthropic took it; CredentialRefused, or what else came back, otherwise."""
    credential = await access.credentials.unlock(id_or_name)
    try:
        await probe(settings, credential)
    except CredentialRefused:
        await access.credentials.note_refused(credential.id)
        raise
    await access.credentials.note_working(credential.id)
    return await access.credentials.get(credential.id)
