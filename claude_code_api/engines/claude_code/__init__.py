"""The Claude Code engine: `engine.py` is its line, the other files are the stations on it."""

from claude_code_api.engines.claude_code.engine import ClaudeCode, probe

__all__ = ["ClaudeCode", "probe"]
