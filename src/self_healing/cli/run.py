"""``run``: the service, until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from self_healing.cli.options import Format, Shown
from self_healing.cli.output import pairs, span
from self_healing.handoffs.cleaning import escape

if TYPE_CHECKING:
    from self_healing.clock import Clock
    from self_healing.config import Settings
    from self_healing.model import Incident, Note
    from self_healing.reloading import Configuration


WHAT_LISTENS = {"otlp_http_port": "OTLP/HTTP", "otlp_grpc_port": "OTLP/gRPC", "port": "dashboard"}
"""What is listened on, by the name of its setting, as people read it."""

COLLECT_AFTER = (20_000, 20, 20)
"""How many new objects make the collector look through them, and how often it looks through older ones: 700, as Python
has it, are what one batch holds that comes in, and next to nothing of that is garbage. 20,000 take a few megabytes."""


def run(*, shown: Shown | None = None) -> int:
    """Run the service in this directory until Ctrl-C or SIGTERM; SIGHUP has it read its configuration anew."""
    from self_healing.clock import SystemClock
    from self_healing.config import CONFIG_FILE
    from self_healing.reloading import Configuration

    shown = shown or Shown()
    configuration = Configuration(shown.config or CONFIG_FILE, shown.settings)
    clock = SystemClock()
    voice = _AsJson(clock) if shown.format is Format.JSON else _ForPeople(clock)
    asyncio.run(_serve(configuration.settings(), configuration, clock, voice))
    return 0


async def _serve(settings: Settings, configuration: Configuration, clock: Clock, voice: _Voice) -> None:
    from self_healing.service import serve

    stop, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    counts = Counter[str]()
    started_at = clock.now()

    def note(incident: Incident, note: Note) -> None:
        counts[note.what] += 1
        voice.note(incident, note)

    await serve(
        settings,
        clock=clock,
        stop=stop,
        ready=partial(_ready, settings, voice),
        on_note=note,
        on_health=voice.health,
        on_reload=voice.reload,
        configuration=configuration,
        hangup=hangup,
    )
    voice.stopped(clock.now() - started_at, counts)


def _ready(settings: Settings, voice: _Voice, addresses: dict[str, str]) -> None:
    voice.ready(settings, addresses)
    # What is there now stays: for the collector to look it through whenever much comes in takes long, and is in vain.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class _Voice(Protocol):
    """Says what the service does."""

    def ready(self, settings: Settings, addresses: dict[str, str]) -> None:
        """It runs: where everything is."""

    def note(self, incident: Incident, note: Note) -> None:
        """Something happened to an incident."""

    def health(self, status: str, news: str) -> None:
        """An issue is new or over."""

    def reload(self, outcome: str, news: str) -> None:
        """Something came of a reload."""

    def stopped(self, lasted: timedelta, counts: Counter[str]) -> None:
        """It ended, and so much happened."""


class _ForPeople:
    """A line for each thing that happens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def ready(self, settings: Settings, addresses: dict[str, str]) -> None:
        from self_healing.local_socket import SOCKET
        from self_healing.status import loaded_spec, triggers_enabled

        spec = loaded_spec(settings)
        enabled = [trigger.name for trigger in spec.triggers if trigger.enabled]
        observing = settings.actions.mode.value == "observe"
        mode = "observe: says what it would do, and does nothing" if observing else "act: pauses and hands over"
        pairs(
            [
                ("state", settings.storage.state_dir),
                ("telemetry", settings.telemetry.dir),
                ("logs", settings.storage.logs_dir),
                *_listening(settings, addresses),
                ("mode", mode),
                ("spec", f"{spec.version}: {triggers_enabled(spec)} triggers, {len(spec.actions)} actions"),
                (
                    "triggers",
                    ", ".join(enabled) or "none is enabled",
                ),
                ("socket", settings.storage.state_dir / SOCKET),
            ]
        )
        _say("running; Ctrl-C stops it")

    def note(self, incident: Incident, note: Note) -> None:
        from self_healing.model import group_label

        what = f"{note.what:<10} {incident.id} {incident.trigger} {group_label(incident.group)}: {note.text}"
        _say(f"{note.at:%H:%M:%S} {escape(what)}")

    def health(self, status: str, news: str) -> None:
        self._news(status, news)

    def reload(self, outcome: str, news: str) -> None:
        self._news(outcome, news)

    def stopped(self, lasted: timedelta, counts: Counter[str]) -> None:
        told = ", ".join(f"{what} {count}" for what, count in counts.items()) or "nothing happened"
        _say(f"stopped after {span(round(lasted.total_seconds()))}: {told}")

    def _news(self, what: str, news: str) -> None:
        _say(f"{self._clock.now():%H:%M:%S} {what:<10} {escape(news)}")


class _AsJson:
    """An object a line for each thing that happens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._label: dict[str, Any] = {}

    def ready(self, settings: Settings, addresses: dict[str, str]) -> None:
        from self_healing.labelling import label
        from self_healing.status import loaded_spec

        spec = loaded_spec(settings)
        self._label = label(settings.environment)
        self._tell(
            "ready",
            environment=settings.environment,
            state_dir=str(settings.storage.state_dir),
            telemetry_dir=str(settings.telemetry.dir),
            logs_dir=str(settings.storage.logs_dir),
            addresses=addresses,
            mode=settings.actions.mode.value,
            spec_version=spec.version,
            triggers=[trigger.name for trigger in spec.triggers if trigger.enabled],
        )

    def note(self, incident: Incident, note: Note) -> None:
        from self_healing.model import group_dict

        about = {"incident": incident.id, "trigger": incident.trigger, "group": group_dict(incident.group)}
        self._tell("note", **about, noted_at=note.at.isoformat(), what=note.what, text=note.text)

    def health(self, status: str, news: str) -> None:
        self._tell("health", status=status, says=news)

    def reload(self, outcome: str, news: str) -> None:
        self._tell("reload", outcome=outcome, says=news)

    def stopped(self, lasted: timedelta, counts: Counter[str]) -> None:
        self._tell("stopped", lasted_s=lasted.total_seconds(), counts=counts)

    def _tell(self, event: str, **about: Any) -> None:
        _say(json.dumps({"at": self._clock.now().isoformat(), "event": event, **self._label, **about}))


def _listening(settings: Settings, addresses: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What is listened on, and what is not and why."""
    for setting, what in WHAT_LISTENS.items():
        if setting in addresses:
            yield what, addresses[setting]
        elif getattr(settings.server, setting) is None:
            yield what, f"off: server.{setting} is false"
        else:
            yield what, "not installed: pip install 'agency-self-healing[grpc]'"


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # Nobody reads on; the service goes on all the same.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
