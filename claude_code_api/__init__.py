"""Claude Code API: an OpenAI-compatible gateway to the real Claude Code."""

__version__ = "0.1.0"
