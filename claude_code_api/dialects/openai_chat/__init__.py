"""OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat), both ways.

`docs/openai-chat.md` tells every field of a request and what happens to it.
"""

from claude_code_api.dialects.openai_chat.answer import Answer, completion
from claude_code_api.dialects.openai_chat.errors import error
from claude_code_api.dialects.openai_chat.limits import Limits
from claude_code_api.dialects.openai_chat.listing import model_card, model_list
from claude_code_api.dialects.openai_chat.request import ChatRequest, decode

__all__ = ["Answer", "ChatRequest", "Limits", "completion", "decode", "error", "model_card", "model_list"]
