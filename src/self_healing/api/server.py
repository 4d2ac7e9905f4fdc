"""Listening: opens the ports, serves on a thread of its own, and closes in time.

The loop of the service works in turns, each of which may take a while; senders wait for none of them.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import datetime
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from self_healing.api import events, looking, ofrep, otlp
from self_healing.api.answers import PROBLEMS
from self_healing.api.bodies import Room
from self_healing.api.conversion import Conversion
from self_healing.api.doorkeeper import Doorkeeper
from self_healing.api.lingering import Lingering
from self_healing.api.sessions import Sessions
from self_healing.api.taking import Submit, Taking
from self_healing.api.tokens import Tokens
from self_healing.api.unusable import Unusable
from self_healing.api.v1.app import PATH, make_app
from self_healing.api.v1.source import Source
from self_healing.config import ServerSettings
from self_healing.dashboard import login
from self_healing.dashboard.changes import Changes
from self_healing.dashboard.pages import Explain, Pages
from self_healing.dashboard.refusing import handlers
from self_healing.errors import ConfigError
from self_healing.labelling import HEADER, label
from self_healing.model import Snapshot
from self_healing.telemetry.query.files import Places

BACKLOG: Final = 128
SWITCH_S: Final = 0.0005
"""How long a thread keeps the interpreter from another that wants it. A request gives it away each time that something
is read, written or passed on, and by Python's own 5 ms would wait for the loop that folds each time so long."""

STOP_S: Final = 5
"""How long requests under way may take when the service ends."""


class Server:
    """What the service listens on.

    Args:
        settings: which ports, on which address, and the token.
        submit: stores what comes in.
        conversion: makes of it what can be stored.
        ask: asks the service one of its commands; awaited on the server's own thread.
        explain: explains a trigger; called on threads of its own, for it may take a while.
        verify: whether the audit log is whole; called like that.
        places: where events are that somebody asks for.
        changes: what is new, for those who follow.
        now: the present instant, as the service has it.
        snapshot: the directives that were published last.
        environment: which of several fleets this is; on each page, and a header of every answer.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        submit: Submit,
        conversion: Conversion,
        ask: looking.Ask,
        explain: Explain,
        verify: Callable[[], dict[str, Any]],
        places: Places,
        changes: Changes,
        now: Callable[[], datetime],
        snapshot: Callable[[], Snapshot] = dict,
        environment: str = "",
    ) -> None:
        self.addresses: dict[str, str] = {}  # what is listened on, by the name of its setting
        self._settings, self._environment = settings, environment
        self._changes = changes
        self._tokens = Tokens(settings, os.environ)
        self._sessions = Sessions(now)
        self._unusable = Unusable(now)
        self._taking = Taking(submit, Room(), conversion, self._unusable)
        self._mcp = _mcp(ask)
        source = Source(ask=ask, explain=explain, verify=verify, places=places, changes=changes, now=now)
        ways = [*otlp.routes(self._taking), *events.routes(self._taking)]
        self.apps = {
            "otlp_http_port": Starlette(routes=ways, exception_handlers=PROBLEMS),
            "port": Starlette(
                routes=[
                    *ways,
                    *looking.routes(ask),
                    *ofrep.routes(snapshot, now),
                    Mount(PATH, make_app(source)),
                    *(() if self._mcp is None else self._mcp.routes),
                    *login.routes(self._tokens, self._sessions),
                    *Pages(ask, explain, verify, changes, now, places, environment).routes(),
                ],
                exception_handlers=handlers(environment),
            ),
        }
        self._serving: dict[str, asyncio.Task[object]] = {}
        self._ended: dict[str, str] = {}  # what answers no more though nobody stopped it, and why
        self._stopping = False
        self._sockets = ExitStack()
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._started: Future[Callable[[], object]] = Future()  # what ends it, once it is there

    def door(self, setting: str) -> Doorkeeper:
        """What a port serves, behind its door."""
        return Doorkeeper(self.apps[setting], self._settings, self._tokens, self._sessions, self._taking.turned_away)

    def start(self) -> None:
        """Open the ports and begin to answer.

        Raises:
            ConfigError: a port cannot be opened; none stays open then.
        """
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.stop()
            raise

    @property
    def refused(self) -> Mapping[str, int]:
        """How many requests with telemetry were refused whole since the start, by reason."""
        return self._taking.refused

    @property
    def problems(self) -> list[str]:
        """Which ports answer no more though nobody stopped them, and what is sent that cannot be used, for people."""
        return self._unusable.problems + [
            f"server.{setting}: {self.addresses[setting]} answers no more: {why}; start the service again"
            for setting, why in self._ended.items()
        ]

    def stop(self) -> None:
        """Let requests under way finish, within a bound, and close the ports; safe to call twice."""
        self._stopping = True
        self._changes.end()
        if self._thread.is_alive():
            if self._started.exception() is None:
                self._started.result()()
            self._thread.join(STOP_S + 1)
        self._sockets.close()

    def _run(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)  # whoever waits for the start must hear of it, whatever it is
            elif self._stopping:
                raise
            else:  # told as a problem of each port, since nobody waits for this thread
                self._ended = dict.fromkeys(self.addresses, f"its thread ended with {_said(error)}")

    async def _serve(self) -> None:
        """Everything on the thread, until it is told to end."""
        loop, ending = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as open_now:
            for setting in self.apps:
                await open_now.enter_async_context(self._http(setting))
            await open_now.enter_async_context(self._grpc())
            # After the ports: it has a group of tasks, which would wrap what is wrong with one of them.
            if self._mcp is not None:
                await open_now.enter_async_context(self._mcp.router.lifespan_context(self._mcp))
            self._started.set_result(lambda: loop.is_closed() or loop.call_soon_threadsafe(ending.set))
            await ending.wait()

    @asynccontextmanager
    async def _http(self, setting: str) -> AsyncIterator[None]:
        port: int | None = getattr(self._settings, setting)
        if port is None:
            yield
            return
        listening = self._sockets.enter_context(listen(self._settings.host, port, setting))
        self.addresses[setting] = "http://" + _address(self._settings.host, listening.getsockname()[1])
        server = uvicorn.Server(
            uvicorn.Config(
                Lingering(self.door(setting)),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                headers=[(HEADER, each) for each in label(self._environment).values()],
                timeout_graceful_shutdown=STOP_S,
            )
        )
        serving = self._watched(setting, server.serve([listening]))
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.wait({serving})

    @asynccontextmanager
    async def _grpc(self) -> AsyncIterator[None]:
        port = self._settings.otlp_grpc_port
        if port is None or importlib.util.find_spec("grpc") is None:
            yield
            return
        from self_healing.api.otlp_grpc import make_server

        if port:  # what gRPC finds wrong with a port it writes to stderr in words of its own
            listen(self._settings.host, port, "otlp_grpc_port").close()
        server = make_server(self._taking, self._tokens)
        try:
            bound = server.add_insecure_port(_address(self._settings.host, port))
        except RuntimeError as error:
            raise _not_opened("otlp_grpc_port", port, self._settings.host, "it is taken, or may not be used") from error
        self.addresses["otlp_grpc_port"] = _address(self._settings.host, bound)
        await server.start()
        waiting = self._watched("otlp_grpc_port", server.wait_for_termination())
        try:
            yield
        finally:
            await server.stop(STOP_S)
            await asyncio.wait({waiting})

    def _watched(self, setting: str, serving: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """A task that serves a port; that it ended before it was told to is a problem."""

        def ended(task: asyncio.Task[object]) -> None:
            error = None if task.cancelled() else task.exception()
            if not self._stopping:
                self._ended[setting] = "what serves it ended" + ("" if error is None else f" with {_said(error)}")

        task = self._serving[setting] = asyncio.create_task(serving)
        task.add_done_callback(ended)
        return task


def _mcp(ask: looking.Ask) -> Starlette | None:
    """The MCP server, where its library is installed; it answers while its lifespan is entered."""
    if importlib.util.find_spec("mcp") is None:
        return None
    from self_healing.api.mcp_server import make_app

    return make_app(ask)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A socket that listens on `host` and `port`; on any free port when that is 0.

    Raises:
        ConfigError: it cannot be opened; names the setting.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno is not None and error.errno < 0:  # of getaddrinfo, whose numbers are below zero
            why = "no host of that name is known here"
        else:  # not its own text, which names the address once more
            why = str(error) if error.errno is None else os.strerror(error.errno)
        raise _not_opened(setting, port, host, why) from error


def _not_opened(setting: str, port: int, host: str, why: str) -> ConfigError:
    return ConfigError([f"server.{setting}: {port}: cannot be opened on {host}: {why}; set another, or false for none"])


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
