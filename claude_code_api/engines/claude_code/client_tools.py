"""Tools that the client runs, offered to Claude Code by an MCP server inside this process.

Claude Code calls; the call waits here until the client's next request brings its result. Meanwhile the process is
parked, at no cost but its memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

from claude_agent_sdk import McpSdkServerConfig
from mcp.server import Server
from mcp.types import CallToolResult, ListToolsResult, TextContent
from mcp.types import Tool as McpTool

from claude_code_api.conversation import Text, Tool, ToolResult

SERVER = "client"
PREFIX = f"mcp__{SERVER}__"
"""The model sees the tools of an MCP server under such names; clients never do."""

CONFIGURATION = f'{{"mcpServers": {{"{SERVER}": {{"type": "sdk", "name": "{SERVER}"}}}}}}'
LARGEST_RESULT = 100_000_000  # characters; requests have a limit of their own
_CALL_ID = "claudecode/toolUseId"


def is_carried(result: ToolResult) -> bool:
    """Whether a waiting call can be given this result, and the model reads it as it is.

    Measured: Claude Code puts words of its own in the place of nothing, draws images anew, writes files to the disk,
    and makes one text of an error's parts. As native history all of them arrive as they are.
    """
    texts = all(isinstance(block, Text) for block in result.content)
    return texts and (len(result.content) == 1 if result.is_error else bool(result.content))


class ClientTools:
    """The tools of one conversation, and the calls that wait for a result, by their ids."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.names = frozenset(PREFIX + tool.name for tool in tools)
        self._listed = [_offered(tool) for tool in tools]
        self._results: dict[str, asyncio.Future[ToolResult]] = {}

    def configuration(self) -> McpSdkServerConfig:
        """For the SDK, which carries the messages between Claude Code and the server."""
        server: Any = Server(SERVER, on_list_tools=self._list, on_call_tool=self._call)
        return McpSdkServerConfig(type="sdk", name=SERVER, instance=server)

    def bring(self, result: ToolResult) -> None:
        """The result of a call, whether Claude Code has made that call yet or not. A second one counts for nothing."""
        if not (waiting := self._result_of(result.tool_use_id)).done():
            waiting.set_result(result)

    def _result_of(self, call_id: str) -> asyncio.Future[ToolResult]:
        return self._results.setdefault(call_id, asyncio.get_running_loop().create_future())

    async def _list(self, _context: Any, _params: Any) -> ListToolsResult:
        return ListToolsResult(tools=self._listed)

    async def _call(self, _context: Any, params: Any) -> CallToolResult:
        call_id = str((params.meta or {}).get(_CALL_ID))
        try:
            result = await self._result_of(call_id)
        finally:  # left by the client, it is cancelled: its result would come to nobody
            del self._results[call_id]
        return CallToolResult.model_validate(
            {"content": list(map(_content, result.content)), "isError": result.is_error}
        )


def _offered(tool: Tool) -> McpTool:
    return McpTool.model_validate(
        {
            "name": tool.name,
            "description": tool.description,
            "inputSchema": tool.input_schema,
            # Without it, the calls of one answer would come one after another instead of at once.
            "annotations": {"readOnlyHint": True},
            # Without it, a large result would be written to disk, and the model shown its first 2 kB.
            "_meta": {"anthropic/maxResultSizeChars": LARGEST_RESULT},
        }
    )


def _content(block: Any) -> TextContent:
    return TextContent(type="text", text=block.text)
