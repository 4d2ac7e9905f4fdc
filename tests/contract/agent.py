"""A real agent that speaks A2A, by the SDK's own server, on loopback; what its tasks come to is told to it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from a2a.helpers import new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Task, TaskState, TaskStatus
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette


class Agent(AgentExecutor):
    """Works each message as it is told to.

    Args:
        comes_to: what its tasks come to: working, completed, failed, rejected, canceled, input_required, auth_required.
    """

    def __init__(self, comes_to: str) -> None:
        self.comes_to = comes_to
        self.messages: list[dict[str, Any]] = []

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        self.messages.append(MessageToDict(context.message))
        id, within = context.task_id or "", context.context_id or ""
        await event_queue.enqueue_event(
            Task(id=id, context_id=within, status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED))
        )
        updater = TaskUpdater(event_queue, id, within)
        await updater.start_work()
        while self.comes_to == "working":
            await asyncio.sleep(0.02)
        said = updater.new_agent_message([new_text_part("did it \x1b with sk-0123456789abcdefghij")])
        state: Any = TaskState.Value(f"TASK_STATE_{self.comes_to.upper()}")
        await updater.update_status(state, message=said)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


@contextmanager
def serving_agent(agent: Agent, elsewhere: str | None = None) -> Iterator[str]:
    """The agent's address; its card leads `elsewhere` where that is given."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    card = AgentCard(
        name="Architect",
        description="Repairs.",
        version="1",
        supported_interfaces=[
            AgentInterface(url=elsewhere or f"{url}/a2a", protocol_binding="JSONRPC", protocol_version="1.0")
        ],
        capabilities=AgentCapabilities(),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="repair", name="repair", description="Repairs.", tags=["repair"])],
    )
    handler = DefaultRequestHandler(agent_executor=agent, task_store=InMemoryTaskStore(), agent_card=card)
    app = Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/a2a")])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield url
    finally:
        agent.comes_to = "completed"
        server.should_exit = True
        thread.join(5)
        listening.close()
