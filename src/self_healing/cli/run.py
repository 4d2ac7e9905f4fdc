"""``run``: the service, until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from self_healing.cli.options import Where
from self_healing.cli.output import pairs, span
from self_healing.handoffs.cleaning import escape

if TYPE_CHECKING:
    from self_healing.config import Settings
    from self_healing.model import Incident, Note
    from self_healing.reloading import Configuration


WHAT_LISTENS = {"otlp_http_port": "OTLP/HTTP", "otlp_grpc_port": "OTLP/gRPC", "port": "dashboard"}
"""What is listened on, by the name of its setting, as people read it."""

COLLECT_AFTER = (20_000, 20, 20)
"""How many new objects make the collector look through them, and how often it looks through older ones: 700, as Python
has it, are what one batch holds that comes in, and next to nothing of that is garbage. 20,000 take a few megabytes."""


def run(*, where: Where | None = None) -> int:
    """Run the service in this directory until Ctrl-C or SIGTERM; SIGHUP has it read its configuration anew."""
    from self_healing.config import CONFIG_FILE
    from self_healing.reloading import Configuration

    where = where or Where()
    configuration = Configuration(where.config or CONFIG_FILE, where.settings)
    asyncio.run(_serve(configuration.settings(), configuration))
    return 0


async def _serve(settings: Settings, configuration: Configuration) -> None:
    from self_healing.clock import SystemClock
    from self_healing.service import serve

    stop, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    clock, counts = SystemClock(), Counter[str]()
    started_at = clock.now()
    await serve(
        settings,
        clock=clock,
        stop=stop,
        ready=partial(_ready, settings),
        on_note=partial(_tell, counts),
        on_health=lambda status, news: _say(f"{clock.now():%H:%M:%S} {status:<10} {escape(news)}"),
        configuration=configuration,
        hangup=hangup,
    )
    told = ", ".join(f"{what} {count}" for what, count in counts.items()) or "nothing happened"
    _say(f"stopped after {span(round((clock.now() - started_at).total_seconds()))}: {told}")


def _ready(settings: Settings, addresses: dict[str, str]) -> None:
    """Say where everything is."""
    from self_healing.local_socket import SOCKET
    from self_healing.status import loaded_spec, triggers_enabled

    spec = loaded_spec(settings)
    observing = settings.actions.mode.value == "observe"
    pairs(
        [
            ("state", settings.storage.state_dir),
            ("telemetry", settings.telemetry.dir),
            ("logs", settings.storage.logs_dir),
            *_listening(settings, addresses),
            ("mode", "observe: says what it would do, and does nothing" if observing else "act: pauses and hands over"),
            ("spec", f"{spec.version}: {triggers_enabled(spec)} triggers, {len(spec.actions)} actions"),
            ("triggers", ", ".join(trigger.name for trigger in spec.triggers if trigger.enabled) or "none is enabled"),
            ("socket", settings.storage.state_dir / SOCKET),
        ]
    )
    # What is there now stays: for the collector to look it through whenever much comes in takes long, and is in vain.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    print("running; Ctrl-C stops it", flush=True)


def _listening(settings: Settings, addresses: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What is listened on, and what is not and why."""
    for setting, what in WHAT_LISTENS.items():
        if setting in addresses:
            yield what, addresses[setting]
        elif getattr(settings.server, setting) is None:
            yield what, f"off: server.{setting} is false"
        else:
            yield what, "not installed: pip install 'agency-self-healing[grpc]'"


def _tell(counts: Counter[str], incident: Incident, note: Note) -> None:
    """One line for each thing that happens; `counts` takes how often each did."""
    from self_healing.model import group_label

    counts[note.what] += 1
    what = f"{note.what:<10} {incident.id} {incident.trigger} {group_label(incident.group)}: {note.text}"
    _say(f"{note.at:%H:%M:%S} {escape(what)}")


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # Nobody reads on; the service goes on all the same.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
