"""What is wrong with a call of a tool, told in the words in which everything else here is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ConfigDict, ValidationError

from self_healing.problems import problems_of, unknown


class StrictTool(Tool):
    """A tool that takes the arguments which it names and no others."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Tool:
        """The tool that calls `function`, whose docstring and annotations describe it."""
        tool = cls.from_function(function)

        class Arguments(tool.fn_metadata.arg_model):  # type: ignore[name-defined,misc] # made from the function's own
            model_config = ConfigDict(extra="forbid", title=f"arguments of {tool.name}")

        tool.fn_metadata.arg_model = Arguments
        tool.parameters = Arguments.model_json_schema(by_alias=True)
        return tool

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        """As the library has it, but for its own words on arguments. Raises ToolError."""
        try:
            self.fn_metadata.validate_arguments(arguments)
        except ValidationError as error:
            told = problems_of(error, lambda _: f"tool {self.name}", self.fn_metadata.arg_model)
            raise ToolError("\n".join(told)) from error
        return await super().run(arguments, context, convert_result)


class StrictServer(MCPServer):
    """A server that says which tools it has to whoever calls another."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Context | None = None) -> Any:
        """As the library has it. Raises ToolError."""
        names = [tool.name for tool in await self.list_tools()]
        if name not in names:
            raise ToolError(f"tool {name}: {unknown(name, names)}")
        return await super().call_tool(name, arguments, context)
