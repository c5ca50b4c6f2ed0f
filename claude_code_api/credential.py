"""What stands behind an API key: an OAuth token or an Anthropic API key, and how to tell them apart."""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from claude_code_api.errors import InvalidRequest
from claude_code_api.secret import Secret


class CredentialKind(StrEnum):
    OAUTH = "oauth"
    API_KEY = "api_key"


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as an engine needs it. `id` is stable over a replaced token (it names its directory)."""

    id: str
    name: str
    kind: CredentialKind
    token: Secret


_FORMS = {
    CredentialKind.OAUTH: re.compile(r"sk-ant-oat01-[A-Za-z0-9_-]{20,500}"),
    CredentialKind.API_KEY: re.compile(r"sk-ant-api[0-9]{2}-[A-Za-z0-9_-]{20,500}"),
}


def kind_of(token: Secret) -> CredentialKind:
    """The kind that a token's form says it is (policy T5); InvalidRequest with the forms where it has neither.

    The message never repeats the token.
    """
    for kind, form in _FORMS.items():
        if form.fullmatch(token.reveal()):
            return kind
    raise InvalidRequest(
        "This is neither a Claude OAuth token (sk-ant-oat01-…, from `claude setup-token`) "
        "nor an Anthropic API key (sk-ant-api…), or a part of it is missing.",
        code="invalid_credential_format",
        param="token",
    )
