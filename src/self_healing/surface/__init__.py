"""Everything that people and programs can ask of the framework, or tell it: one table of commands.

The service answers them on its socket; a command that finds no service opens the state and answers itself. Either way
the answer is a mapping that JSON can say.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from self_healing.clock import LATEST, Clock, SystemClock, sayable
from self_healing.config import Settings
from self_healing.errors import SelfHealingError
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.storage.readonly import DATABASE
from self_healing.storage.store import Store
from self_healing.surface.agents import Agents
from self_healing.surface.constitution import Constitution
from self_healing.surface.declared import Declared
from self_healing.surface.incidents import Incidents
from self_healing.surface.standing import Standing
from self_healing.views import Json


class Surface(Standing, Declared, Incidents, Agents, Constitution):
    """Answers commands on one orchestrator."""

    def call(self, command: str, arguments: Json) -> Json:
        """The answer to one command of :data:`COMMANDS`.

        Raises:
            SelfHealingError: there is no such command, it does not take these arguments, or it could not do its work.
        """
        if command not in COMMANDS:
            raise SelfHealingError(f"there is no command {command!r}; allowed is one of {', '.join(COMMANDS)}")
        try:
            given = msgspec.structs.asdict(msgspec.convert(arguments, _arguments(command)))
        except msgspec.ValidationError as error:
            raise SelfHealingError(f"command {command}: {_said(error)}") from error
        for name, value in given.items():
            if isinstance(value, datetime) and not sayable(value):
                raise SelfHealingError(
                    f"{name} {value.isoformat()}: allowed is a time from 1970 until before {LATEST.year}"
                )
        return COMMANDS[command].answer(self, **given)


@dataclass(frozen=True)
class Command:
    """One thing to ask or tell.

    Args:
        answer: takes the surface, and the arguments by name.
        writes: whether it changes the state, and so needs its lock.
        aside: whether it may wait for a disk and touches nothing of the loop, so that a service answers it on a thread.
    """

    answer: Callable[..., Json]
    writes: bool = False
    aside: bool = False


COMMANDS: dict[str, Command] = {
    "check": Command(Surface.check, writes=True),
    "status": Command(Surface.status),
    "figures": Command(Surface.figures),
    "health": Command(Surface.health),
    "overview": Command(Surface.overview),
    "sparks": Command(Surface.sparks),
    "stop": Command(Surface.stop, writes=True),
    "resume": Command(Surface.resume, writes=True),
    "triggers": Command(Surface.triggers),
    "trigger": Command(Surface.trigger),
    "series": Command(Surface.series),
    "explain": Command(Surface.explain),
    "enable": Command(Surface.enable, writes=True),
    "disable": Command(Surface.disable, writes=True),
    "actions": Command(Surface.actions),
    "records": Command(Surface.records),
    "execution": Command(Surface.execution),
    "agents": Command(Surface.agents),
    "agent": Command(Surface.agent),
    "incidents": Command(Surface.incidents),
    "incident": Command(Surface.incident),
    "handed": Command(Surface.handed),
    "ack": Command(Surface.ack, writes=True),
    "close": Command(Surface.close, writes=True),
    "silences": Command(Surface.silences),
    "silence": Command(Surface.silence, writes=True),
    "unsilence": Command(Surface.unsilence, writes=True),
    "history": Command(Surface.history),
    "directives": Command(Surface.directives),
    "undo": Command(Surface.undo, writes=True),
    "handoff": Command(Surface.handoff),
    "accept": Command(Surface.accept, writes=True),
    "complete": Command(Surface.complete, writes=True),
    "fail": Command(Surface.fail, writes=True),
    "approvals": Command(Surface.approvals),
    "approval": Command(Surface.approval),
    "approve": Command(Surface.approve, writes=True),
    "deny": Command(Surface.deny, writes=True),
    "constitution": Command(Surface.constitution),
    "decision": Command(Surface.decision),
    "audit": Command(Surface.audit),
    "ingest_junit": Command(Surface.ingest_junit, writes=True, aside=True),
}


def _said(error: msgspec.ValidationError) -> str:
    """What is wrong with an argument; msgspec says of text that is empty which pattern it does not match."""
    what, _, where = str(error).partition(" - at `$.")
    return f"{where.rstrip('`')}: allowed is text that is not empty" if "matching regex" in what else str(error)


@cache
def _arguments(command: str) -> type[msgspec.Struct]:
    """What a command takes, out of its method's signature."""
    answer = COMMANDS[command].answer
    hints = get_type_hints(answer, include_extras=True)
    parameters = list(inspect.signature(answer).parameters.values())[1:]
    fields: list[Any] = [
        (each.name, hints[each.name])
        if each.default is inspect.Parameter.empty
        else (each.name, hints[each.name], each.default)
        for each in parameters
    ]
    return msgspec.defstruct(command, fields, kw_only=True, forbid_unknown_fields=True)


@contextmanager
def open_surface(settings: Settings, *, write: bool, clock: Clock | None = None) -> Iterator[Surface]:
    """The surface of a state that no service owns, for as long as the block runs.

    Args:
        settings: which state.
        write: take its lock, and make it when there is none; otherwise only look. Where there is none yet, that is to
            look at an empty one that nobody keeps.
        clock: the machine's when left out.

    Raises:
        StateBusy: another process owns it, and `write` was asked for.
        StateError: it cannot be used.
        ConfigError: what is declared cannot be used.
    """
    if not write and not (settings.storage.state_dir / DATABASE).exists():
        with tempfile.TemporaryDirectory(prefix="self-healing-") as nowhere:
            Store(Path(nowhere)).close()
            storage = settings.storage.model_copy(update={"state_dir": Path(nowhere)})
            with _opened(settings.model_copy(update={"storage": storage}), False, clock) as surface:
                yield surface
        return
    with _opened(settings, write, clock) as surface:
        yield surface


@contextmanager
def _opened(settings: Settings, write: bool, clock: Clock | None) -> Iterator[Surface]:
    orchestrator = SelfHealingOrchestrator.open(settings, clock=clock or SystemClock(), read_only=not write)
    try:
        yield Surface(orchestrator, serving=False)
    finally:
        orchestrator.close()
