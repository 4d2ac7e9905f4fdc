"""The service's socket: how commands ask the process that owns the state, on the same machine only.

One JSON object a line, there and back: ``{"command": ..., "arguments": {...}}`` is answered by ``{"result": {...}}`` or
``{"error": {"type", "message", "fields"}}``. Nobody but the owner of the state directory can open it.

Asking uses only the standard library, and of it little: ``status`` pays for this import each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from self_healing import errors
from self_healing.errors import SelfHealingError, StateBusy, StateError

if TYPE_CHECKING:
    import asyncio

Handle = Callable[[str, dict[str, Any]], dict[str, Any] | Awaitable[dict[str, Any]]]
"""Answers one command with its arguments, at once or later; the result is JSON. Raises SelfHealingError."""

SOCKET: Final = "socket"
"""The name of the socket in the state directory."""

MAX_REQUEST_BYTES: Final = 2**20
IDLE_S: Final = 30.0
"""A connection that asks nothing for so long, or does not take its answer, is closed."""

_LONGEST_ADDRESS = 100  # bytes; the kernel takes 107, some systems 103
_KINDS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, SelfHealingError)
}
_GONE = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)


# -- asking


def ask(
    state_dir: Path, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = 10.0
) -> dict[str, Any] | None:
    """What the service that owns `state_dir` answers; None when no service runs on it.

    Args:
        state_dir: the service's.
        command: its name, such as ``incidents``.
        arguments: by name, as JSON has them.
        timeout_s: how long to wait for the answer.

    Raises:
        SelfHealingError: what the service raised, as the class of :mod:`self_healing.errors` that it was there.
        StateError: a service is there but does not answer.
    """
    request = json.dumps({"command": command, "arguments": arguments or {}}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(timeout_s)
        try:
            with _address(state_dir / SOCKET) as address:
                asking.connect(address)
        except _GONE:
            return None
        except OSError as error:
            raise StateError(f"the service on {state_dir} cannot be reached: {error.strerror or error}") from error
        try:
            asking.sendall(request)
            with asking.makefile("rb") as answers:
                line = answers.readline()
        except TimeoutError as error:
            raise StateError(f"the service on {state_dir} did not answer {command!r} within {timeout_s:g} s") from error
        except OSError as error:
            raise StateError(f"the service on {state_dir} broke off: {error.strerror or error}") from error
    if not line.endswith(b"\n"):
        raise StateError(f"the service on {state_dir} ended before it answered {command!r}; ask again")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise _raised(answer["error"])
    result: dict[str, Any] = answer["result"]
    return result


def _raised(told: dict[str, Any]) -> SelfHealingError:
    """The error that the service told of; one that is not of our tree as the base of it."""
    kind = _KINDS.get(told["type"], SelfHealingError)
    # Not by its own constructor, which makes the text out of what was asked for: the text is there already.
    error: SelfHealingError = kind.__new__(kind)
    Exception.__init__(error, told["message"])
    vars(error).update(told["fields"])
    return error


def _told(error: SelfHealingError) -> dict[str, Any]:
    """`error` for the other side: the nearest class of :mod:`self_healing.errors`, its text and that class's fields."""
    kind = next(each for each in type(error).__mro__ if each.__module__ == errors.__name__)
    fields = vars(error) if kind is type(error) else {}
    return {"type": kind.__name__, "message": str(error), "fields": fields}


# -- answering


async def listen(path: Path, handle: Handle) -> asyncio.Server:
    """Answer on the socket at `path` until the server that is returned is closed.

    Commands are handled one after the other, on the loop's own thread. What is left of the socket afterwards answers
    nobody, and the next service takes its place.

    Args:
        path: ``SOCKET`` in the state directory; only its owner may open it.
        handle: answers a command.

    Raises:
        StateBusy: another service answers there.
        StateError: the socket cannot be made.
    """
    import asyncio

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever asks may go away or fall silent at any moment; that is the end of the connection, and no more.
        with (
            contextlib.closing(writer),
            contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError),
        ):
            while await _answered(reader, writer, handle):
                pass

    return await asyncio.start_unix_server(connected, sock=_bound(path), limit=MAX_REQUEST_BYTES)


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle) -> bool:
    """Answer one request; whether another may follow. An exception that nobody foresaw is told here and there."""
    import asyncio

    async with asyncio.timeout(IDLE_S):
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            line = None
    try:
        result = handle(*_request(line))
        answer = {"result": await result if isinstance(result, Awaitable) else result}
        text = json.dumps(answer, allow_nan=False)
    except SelfHealingError as error:
        text = json.dumps({"error": _told(error)})
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler({"message": "a command failed", "exception": error})
        failed = SelfHealingError(f"the service failed: {error!r}; its own output says where")
        text = json.dumps({"error": _told(failed)})
    writer.write(text.encode() + b"\n")
    async with asyncio.timeout(IDLE_S):
        await writer.drain()
    return line is not None


def _request(line: bytes | None) -> tuple[str, dict[str, Any]]:
    """Command and arguments out of one line; None stands for a line that is too long. Raises SelfHealingError."""
    if line is None:
        raise SelfHealingError(f"a request is longer than {MAX_REQUEST_BYTES} bytes")
    try:
        match json.loads(line):
            case {"command": str(command), "arguments": dict(arguments)}:
                return command, arguments
    except (ValueError, RecursionError) as error:
        raise SelfHealingError(f"a request is not JSON: {error}") from error
    raise SelfHealingError('a request must be {"command": text, "arguments": object}')


def _bound(path: Path) -> socket.socket:
    """A socket at `path` that only this user may open, in place of what an earlier service left there."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        with _address(path) as address:
            _clear(path, address)
            before = os.umask(0o177)  # not by chmod afterwards, which would leave a moment in between
            try:
                listening.bind(address)
            finally:
                os.umask(before)
    except OSError as error:
        listening.close()
        raise StateError(f"cannot listen on {path}: {error.strerror or error}") from error
    except StateBusy:
        listening.close()
        raise
    return listening


def _clear(path: Path, address: str) -> None:
    """Remove a socket on which nobody answers any more. Raises StateBusy when somebody does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if stat.S_ISSOCK(os.stat(address).st_mode):
                os.unlink(address)
            return
    raise StateBusy(f"another service answers on {path}; stop it, or give another --state-dir")


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """`path` as the kernel takes it: one that is too long goes by way of its directory's descriptor."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
