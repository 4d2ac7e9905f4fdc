"""The demo: the real service beside a fleet that breaks in seven ways, thirty times as fast as life.

The service is the one that ``self-healing run`` starts, with its default spec. The fleet is another process: it writes
telemetry files, obeys directives and works handoffs. Only the clock is not real, and both read the same one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from self_healing.clock import ScaledClock
from self_healing.config import (
    NO_PORTS,
    ActionSettings,
    ServerSettings,
    Settings,
    StorageSettings,
    TelemetrySettings,
)
from self_healing.handoffs.cleaning import escape
from self_healing.model import CloseReason, Incident, IncidentState, Note, affected_agent
from self_healing.service import serve
from self_healing.simulation.faults import FAULTS, Fault
from self_healing.simulation.history import backfill
from self_healing.terminal import Terminal

HEAD_START_S = 3.0
"""Real seconds before the fleet's time begins: the service reads the day of history meanwhile."""

LONGEST_S = 80.0
"""Real seconds after which the demo ends, healed or not."""

SEED = 7
SHOWN_LINES = 9
WIDE = 100
"""Columns of a terminal that has room for the agents as well."""


@dataclass(slots=True)
class Story:
    """What became of one fault.

    Args:
        fault: what was injected.
        onset: when.
        incident: the incident that its trigger opened for its agent.
        action: what was done first.
    """

    fault: Fault
    onset: datetime
    incident: Incident | None = None
    action: str = ""

    @property
    def healed(self) -> bool:
        """Whether it was verified to be gone."""
        return self.incident is not None and self.incident.close_reason is CloseReason.HEALED

    @property
    def detected_after(self) -> timedelta | None:
        """From the onset to the incident."""
        return None if self.incident is None else self.incident.first_opened_at - self.onset

    @property
    def healed_after(self) -> timedelta | None:
        """From the onset to the close."""
        if self.incident is None or self.incident.closed_at is None or not self.healed:
            return None
        return self.incident.closed_at - self.onset


class Screen(Terminal):
    """Where the demo shows; once nobody reads it any more it is quiet, which :func:`_watch` sees.

    Rich would exit from wherever it prints, which may be in the midst of a turn of the loop.
    """

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        with suppress(SystemExit):
            super().on_broken_pipe()


@dataclass(slots=True)
class Board:
    """What the terminal shows: a line a fault, and the newest happenings.

    Args:
        clock: the fleet's time.
        stories: one a fault.
        live: whether the terminal can be drawn over; otherwise each happening is printed.
    """

    console: Console
    clock: ScaledClock
    stories: list[Story]
    live: bool
    lines: list[Text] = field(default_factory=list)

    def note(self, incident: Incident, note: Note) -> None:
        """Something happened."""
        for story in self.stories:
            if (story.fault.trigger, story.fault.agent) == (incident.trigger, affected_agent(incident.group)):
                story.incident = incident
                if note.what == "acting" and not story.action:
                    story.action = note.text.split(" for ")[0]
        line = Text()
        line.append(f"{_since(note.at - self.clock.start):>6} ", style="dim")
        line.append(f"{note.what:<12}", style=_STYLES.get(note.what, ""))
        line.append(f"{incident.trigger} {affected_agent(incident.group)}: ", style="bold")
        line.append(escape(note.text))
        self.lines.append(line)
        if not self.live:
            self.console.print(line, soft_wrap=True)

    def __rich__(self) -> Group:
        elapsed = self.clock.now() - self.clock.start
        healed = sum(story.healed for story in self.stories)
        head = Text(f"{_since(elapsed)} of fleet time, {self.clock.scale:.0f} times as fast as life", style="dim")
        head.append(f"   healed {healed} of {len(self.stories)}", style="bold green" if healed else "bold")
        newest = [line.copy() for line in self.lines[-SHOWN_LINES:]]
        for line in newest:
            line.truncate(max(self.console.width - 1, 20), overflow="ellipsis")
        return Group(head, self.table(), *newest)

    def table(self) -> Table:
        """A line a fault, as it stands."""
        table = Table()
        wide = self.console.width >= WIDE
        for name in ("fault", "agent", "stage") if wide else ("fault", "stage"):
            table.add_column(name, no_wrap=True)
        table.add_column("detected", justify="right")
        table.add_column("action", no_wrap=True)
        table.add_column("healed", justify="right")
        for story in self.stories:
            table.add_row(
                story.fault.name,
                *([story.fault.agent] if wide else []),
                self._stage(story),
                _since(story.detected_after),
                story.action,
                _since(story.healed_after),
            )
        return table

    def _stage(self, story: Story) -> Text:
        if story.incident is None:
            return Text("broken", "red") if self.clock.now() >= story.onset else Text("well", "dim")
        if story.incident.state is IncidentState.CLOSED:
            reason = str(story.incident.close_reason)
            return Text(reason, "bold green" if story.healed else "yellow")
        return Text(story.incident.state.value, _STYLES.get(story.incident.state.value, "yellow"))


_STYLES = {
    "detected": "red",
    "reopened": "red",
    "open": "red",
    "acting": "yellow",
    "paused": "yellow",
    "verifying": "cyan",
    "mitigated": "blue",
    "healed": "bold green",
    "escalated": "bold magenta",
    "relapse": "red",
}


def _since(span: timedelta | None) -> str:
    if span is None:
        return ""
    seconds = round(span.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    return f"{sign}{seconds // 60}:{seconds % 60:02d}"


def demo(
    *,
    scale: float = 30.0,
    keep: Path | None = None,
    faults: Sequence[Fault] = FAULTS,
    console: Console | None = None,
    dashboard: bool = False,
    as_json: bool = False,
) -> int:
    """Break a simulated fleet, and show how it heals; SIGTERM ends it as Ctrl-C does. Called on the main thread.

    Args:
        scale: seconds of the fleet's time for each real one.
        keep: where telemetry, state and logs go, and stay; a directory that is removed again when left out.
        faults: what is injected.
        console: where it shows; the terminal when left out.
        dashboard: serve the dashboard on a free port as well, and go on with it afterwards until Ctrl-C.
        as_json: print what came of each fault as JSON on stdout; what is shown until then goes to stderr.

    Returns:
        0 when every fault was detected and healed, else 1.

    Raises:
        BrokenPipeError: nobody reads any more what it shows.
    """
    console = console or Screen(stderr=as_json)
    with ExitStack() as stack:
        root = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="self-healing-demo-")))
        try:
            return asyncio.run(_demo(console, root, keep, scale, faults, dashboard, as_json))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def _demo(
    console: Console,
    root: Path,
    keep: Path | None,
    scale: float,
    faults: Sequence[Fault],
    dashboard: bool,
    as_json: bool,
) -> int:
    whole = asyncio.current_task()
    assert whole is not None
    # Not by way of SIGINT, which a shell has what it starts in the background ignore.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, whole.cancel)
    settings = Settings(
        telemetry=TelemetrySettings(dir=root / "telemetry"),
        actions=ActionSettings(),
        storage=StorageSettings(state_dir=root / "state", logs_dir=root / "logs"),
        server=ServerSettings(otlp_http_port=None, otlp_grpc_port=None, port=0) if dashboard else NO_PORTS,
    )
    start = datetime.now(UTC).replace(microsecond=0)
    lines = backfill(settings.telemetry.dir, start, hours=24, seed=SEED)
    console.print(f"24 agents, a day of healthy history ({lines:,} events), and {len(faults)} faults to come.")
    clock = ScaledClock(scale, start, origin=time.monotonic() + HEAD_START_S)
    stories = [Story(fault, start + timedelta(seconds=fault.starts_after_s)) for fault in faults]
    board = Board(console, clock, stories, live=console.is_terminal)
    with beside(settings, clock, faults) as fleet:
        return await _watch(board, settings, clock, fleet, partial(_tell_outcome if as_json else _summary, board, keep))


@contextmanager
def beside(settings: Settings, clock: ScaledClock, faults: Sequence[Fault]) -> Iterator[subprocess.Popen[bytes]]:
    """A fleet in a process of its own, beside whoever heals it, for as long as the block runs and this process lives.

    Args:
        settings: where it writes telemetry, reads directives and finds handoffs.
        clock: the time that it lives in.
        faults: what breaks in it.
    """
    fleet = _start_fleet(settings, clock, faults)
    try:
        yield fleet
    finally:
        _stop_fleet(fleet)


def _start_fleet(settings: Settings, clock: ScaledClock, faults: Sequence[Fault]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "self_healing.simulation"]
    command += ["--telemetry-dir", str(settings.telemetry.dir), "--state-dir", str(settings.storage.state_dir)]
    command += ["--logs-dir", str(settings.storage.logs_dir), "--scale", str(clock.scale), "--seed", str(SEED)]
    command += ["--start", clock.start.isoformat(), "--origin", repr(clock.origin)]
    command += ["--faults", ",".join(fault.name for fault in faults) or "none"]
    # However this process ends, the pipe ends with it, and then the fleet.
    return subprocess.Popen([*command, "--until-eof"], stdin=subprocess.PIPE)


def _stop_fleet(fleet: subprocess.Popen[bytes]) -> None:
    with fleet:
        fleet.terminate()
        try:
            fleet.wait(timeout=5)
        except subprocess.TimeoutExpired:
            fleet.kill()


async def _watch(
    board: Board, settings: Settings, clock: ScaledClock, fleet: subprocess.Popen[bytes], say: Callable[[], int]
) -> int:
    """Run the service until every fault is healed, the time is over, or the fleet died; say what became of them."""
    stop = asyncio.Event()
    service = asyncio.create_task(
        serve(settings, clock=clock, stop=stop, on_note=board.note, ready=partial(_tell_address, board.console))
    )
    ends_at = time.monotonic() + HEAD_START_S + LONGEST_S
    with Live(board, console=board.console, refresh_per_second=4, transient=True) if board.live else ExitStack():
        while not service.done() and time.monotonic() < ends_at and fleet.poll() is None:
            if board.console.quiet or all(story.healed for story in board.stories):
                break
            await asyncio.sleep(0.1)
    code = say()
    if settings.server.listens and not board.console.quiet and not service.done() and fleet.poll() is None:
        await _stay(board.console)
    stop.set()
    await service
    if board.console.quiet:
        raise BrokenPipeError
    if fleet.poll() is not None:
        board.console.print(f"the simulated fleet ended by itself, with code {fleet.returncode}", style="red")
    return code


def _tell_address(console: Console, addresses: dict[str, str]) -> None:
    for address in addresses.values():
        console.print(f"Follow it in a browser: {address}/", style="bold", soft_wrap=True)


async def _stay(console: Console) -> None:
    """Go on until Ctrl-C."""
    console.print("The fleet and the dashboard go on; Ctrl-C ends them.")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:  # that is how Ctrl-C comes; what is open is closed in order
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


def _tell_outcome(board: Board, keep: Path | None) -> int:
    """Print what came of each fault, as JSON."""
    faults = [
        {
            "fault": story.fault.name,
            "agent": story.fault.agent,
            "trigger": story.fault.trigger,
            "detected_after_s": _seconds(story.detected_after),
            "action": story.action or None,
            "healed_after_s": _seconds(story.healed_after),
        }
        for story in board.stories
    ]
    healed = sum(story.healed for story in board.stories)
    print(json.dumps({"faults": faults, "healed": healed, "kept": keep and str(keep)}, indent=2), flush=True)
    return 0 if healed == len(faults) else 1


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _summary(board: Board, keep: Path | None) -> int:
    console = board.console
    healed = sum(story.healed for story in board.stories)
    table = Table(title="minutes:seconds of fleet time, from the onset of the fault", title_justify="left")
    for name in ("fault", "detected\nafter", "action", "healed\nafter"):
        table.add_column(name, justify="right" if "after" in name else "left", no_wrap=True)
    for story in board.stories:
        table.add_row(
            story.fault.name,
            _since(story.detected_after) or Text("not detected", "red"),
            story.action or Text("none", "red"),
            _since(story.healed_after) or Text("not healed", "red"),
        )
    console.print(table)
    all_healed = healed == len(board.stories)
    style = "bold green" if all_healed else "bold red"
    console.print(f"{healed} of {len(board.stories)} faults were detected, acted on and verified healed.", style=style)
    if keep:
        console.print(f"What it wrote stays in {keep}: state, telemetry, logs and handoffs.")
    return 0 if all_healed else 1
