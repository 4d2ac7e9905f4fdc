"""The guard: what an agent may do now, read in its own process, light to import and light to read.

Only the standard library is used here, because every agent pays for this import.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from pathlib import Path
from time import time
from typing import Any, Final, Self, TypeVar

from self_healing.actions.directives import FILE, FORMAT, found

Usual = TypeVar("Usual")

REFRESH_S: Final = 1.0
TIMEOUT_S: Final = 5.0
"""How long one look at a service may take, seconds; readers never wait for it."""

_NONSENSE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What it comes to where there is nothing to look at, or something else than directives."""

Held = dict[str, list[tuple[Any, float]]]
"""By setting, each value that is in force and the Unix time at which it ends; the first that is not over holds."""


class Guard:
    """The directives of one agent, as they were seen last; to read one costs about a microsecond.

    They are looked at anew in the background. Where they cannot be seen, what was seen last holds until it ends, then
    the agent's own setting does. Safe in several threads, and in a process that forks.

    Args:
        agent: its name as in its telemetry.
        state_dir: the framework's state directory, on this machine; when left out, what the variable
            ``SELF_HEALING_STORAGE_STATE_DIR`` says, else ``.self-healing`` in the current directory.
        url: the service's address instead, such as ``http://127.0.0.1:8787``, for agents elsewhere.
        token: what the service wants to see, with `url`.
        refresh_s: seconds between two looks.

    Raises:
        ValueError: these arguments make no sense together.
    """

    def __init__(
        self,
        agent: str,
        *,
        state_dir: str | Path | None = None,
        url: str | None = None,
        token: str | None = None,
        refresh_s: float = REFRESH_S,
    ) -> None:
        if url is not None and state_dir is not None:
            raise ValueError("Guard: state_dir and url were both given; give the one where the directives are")
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError(f"Guard: url {url!r}: allowed is an address such as http://127.0.0.1:8787")
        if token is not None and url is None:
            raise ValueError("Guard: a token is only shown to a service; give its url, or leave token out")
        if not refresh_s > 0:
            raise ValueError(f"Guard: refresh_s {refresh_s!r}: allowed is a number of seconds above 0")
        self.agent = agent
        self.problem: str | None = None  # why the directives could not be seen at the last look
        self._refresh_s = refresh_s
        self._source: _File | _Service = (
            _File(found(state_dir) / FILE, agent) if url is None else _Service(url, token, agent)
        )
        self._held: Held = {}  # never changed, only replaced: readers need no lock
        self._closed = False
        self.refresh()
        self._begin()
        _GUARDS.add(self)

    def get(self, setting: str, usual: Any = None) -> Any:
        """The value in force of a setting such as ``"max_concurrency"``; `usual` when there is none."""
        for value, until in self._held.get(setting, ()):
            if until > time():
                return value
        return usual

    @property
    def paused(self) -> bool:
        """Whether nothing new may be begun."""
        return bool(self.get("paused", False))

    @property
    def strict(self) -> bool:
        """Whether nothing may pass without its checks: ``quality_gate`` is strict."""
        return bool(self.get("quality_gate") == "strict")

    def model(self, usual: Usual) -> str | Usual:
        """The model to use."""
        value: str | Usual = self.get("model", usual)
        return value

    def max_cost_usd(self, usual: Usual) -> float | Usual:
        """What one task may cost."""
        value: float | Usual = self.get("max_cost_usd", usual)
        return value

    def token_budget(self, usual: Usual) -> int | Usual:
        """How many tokens one task may use."""
        value: int | Usual = self.get("token_budget", usual)
        return value

    def max_output_tokens(self, usual: Usual) -> int | Usual:
        """How many tokens one model call may answer with."""
        value: int | Usual = self.get("max_output_tokens", usual)
        return value

    def max_retries(self, usual: Usual) -> int | Usual:
        """How often a failed task may be tried again."""
        value: int | Usual = self.get("max_retries", usual)
        return value

    def timeout_s(self, usual: Usual) -> float | Usual:
        """How long one task may take."""
        value: float | Usual = self.get("timeout_s", usual)
        return value

    def max_concurrency(self, usual: Usual) -> int | Usual:
        """How many tasks may run at once."""
        value: int | Usual = self.get("max_concurrency", usual)
        return value

    def refresh(self) -> None:
        """Look now; where nothing can be seen, :attr:`problem` says why and what was seen last holds on."""
        try:
            seen = self._source.look()
        except _NONSENSE as error:
            self.problem = f"the directives of {self.agent} could not be read from {self._source.place}: {error}"
            return
        self.problem = None
        if seen is not None:
            self._held = seen

    def close(self) -> None:
        """Look no more; safe to call twice. What was seen last can still be read."""
        self._closed = True
        self._ending.set()
        _GUARDS.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        """Look in the background from now on; the thread keeps no guard alive that nobody holds."""
        self._ending = threading.Event()
        weakref.finalize(self, self._ending.set)
        watching = threading.Thread(
            target=_watch,
            args=(weakref.ref(self), self._ending, self._refresh_s),
            name=f"guard-{self.agent}",
            daemon=True,
        )
        watching.start()


def _watch(guard: weakref.ref[Guard], ending: threading.Event, every_s: float) -> None:
    while not ending.wait(every_s):
        watched = guard()
        if watched is None:
            return
        watched.refresh()
        del watched


_GUARDS: weakref.WeakSet[Guard] = weakref.WeakSet()


def _forked() -> None:
    """A child of a fork has no threads but its own: its guards look by themselves."""
    for guard in list(_GUARDS):
        guard._begin()


os.register_at_fork(after_in_child=_forked)


class _File:
    """The file that the owner of the state publishes. It is read only when it is another than before."""

    def __init__(self, path: Path, agent: str) -> None:
        self.place = str(path)
        self._agent = agent
        self._seen: tuple[int, ...] | None = None

    def look(self) -> Held | None:
        """What is in force; None when nothing changed, or where nothing was published yet."""
        try:
            file = os.stat(self.place)
            version = (file.st_ino, file.st_mtime_ns, file.st_size)
            if version == self._seen:
                return None
            told = json.loads(Path(self.place).read_bytes())
        except FileNotFoundError:
            there = Path(self.place).parent
            if not there.is_dir():
                raise ValueError(f"{there} is not there; name the state directory of the service") from None
            return None
        if told["format"] != FORMAT:
            raise ValueError(f"it has format {told['format']}, and {FORMAT} is known here; bring the packages together")
        settings = told["agents"].get(self._agent, {})
        held = {
            name: [(entry["value"], float(entry["expires_unix_s"])) for entry in entries]
            for name, entries in settings.items()
        }
        self._seen = version
        return held


class _Service:
    """The service's port, by OFREP. What did not change is not sent again."""

    def __init__(self, url: str, token: str | None, agent: str) -> None:
        self.place = f"{url.rstrip('/')}/ofrep/v1/evaluate/flags"
        self._body = json.dumps({"context": {"targetingKey": agent}}).encode()
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def look(self) -> Held | None:
        """What is in force; None when nothing changed."""
        # Only here: most agents read the file, and this import is not light.
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        try:
            with urlopen(Request(self.place, self._body, self._headers), timeout=TIMEOUT_S) as answer:
                flags, tag = json.load(answer)["flags"], answer.headers.get("ETag")
        except HTTPError as error:
            error.close()
            if error.code == 304:
                return None
            raise
        except HTTPException as error:  # half an answer, or one of another protocol
            raise OSError(f"the answer is no HTTP: {error!r}") from error
        held = {
            flag["key"]: [(flag["value"], float(flag["metadata"]["expires_unix_s"]))]
            for flag in flags
            if "value" in flag
        }
        if tag is not None:
            self._headers["If-None-Match"] = tag
        return held
