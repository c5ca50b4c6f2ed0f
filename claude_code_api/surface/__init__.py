"""HTTP: connections, headers, limits, routes and streams. What a message means is for the dialects to say."""

from claude_code_api.surface.app import App
from claude_code_api.surface.gateway import Gateway
from claude_code_api.surface.server import Server

__all__ = ["App", "Gateway", "Server"]
