"""How to get an answer: one small protocol, one package for each way.

An engine knows conversations and credentials. It knows no API key, no limit and no database.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from claude_code_api.conversation import Conversation, Event
from claude_code_api.credential import Credential


class Engine(Protocol):
    def answer(self, conversation: Conversation, credential: Credential, tenant: str) -> AsyncGenerator[Event, None]:
        """The events of one answer, in the order that `conversation.Event` tells.

        `tenant` is whom the answer is for; nothing of it is ever used for another one. Raises a
        `RequestFailure` where there is no answer or no whole one; closing the generator ends the call upstream.
        """
        ...
