"""``events``: what happened in the fleet."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.following import Reader, line
from self_healing.cli.history import Limit
from self_healing.cli.options import Format, Shown
from self_healing.cli.output import Column
from self_healing.cli.progress import waiting
from self_healing.errors import SelfHealingError
from self_healing.filenames import SEGMENTS
from self_healing.model import KindName, StatusName

if TYPE_CHECKING:
    from self_healing.config import Settings
    from self_healing.telemetry.query.files import Places
    from self_healing.telemetry.query.follow import Follower
    from self_healing.telemetry.query.rows import Wanted

Json = dict[str, Any]

POLL_S = 0.5
"""How often it is looked for what is new."""

Texts = tuple[str, ...]


def _only(what: str) -> Parameter:
    return Parameter(show_default=False, help=f"Only {what}; may be given several times.")


def events(
    *,
    agent: Annotated[Texts, _only("what this agent did")] = (),
    task: Annotated[Texts, _only("what belongs to this task")] = (),
    kind: Annotated[tuple[KindName, ...], _only("events of this kind")] = (),
    status: Annotated[tuple[StatusName, ...], _only("what ended so")] = (),
    model: Annotated[Texts, _only("what was done with this model")] = (),
    source: Annotated[Texts, _only("what came this way: native, otlp, otlp/codex, ...")] = (),
    trace: Annotated[Texts, _only("what belongs to this trace")] = (),
    incident: Annotated[
        str | None, Parameter(help="What this incident is about, from its first window to its end.")
    ] = None,
    since: Annotated[
        str | None, Parameter(help="From then on: a length of time such as 15m, or 2026-01-05T10:00:00Z.")
    ] = None,
    until: Annotated[str | None, Parameter(help="Before then, said in the same way.")] = None,
    limit: Limit = 50,
    follow: Annotated[bool, Parameter(show_default=False, help="Go on with what is new, until Ctrl-C.")] = False,
    shown: Shown | None = None,
) -> int:
    """Show what happened in the fleet; the newest first, or with --follow the oldest of them."""
    # There is nothing to put in order, so Ctrl-C ends it there and then. As an exception it comes too late where DuckDB
    # works, now and then not at all, and never where a shell started this in the background.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from self_healing.telemetry.query.files import Places
    from self_healing.telemetry.query.rows import Wanted

    shown = shown or Shown()
    settings = shown.settings() if follow else shown.looked_at()  # what is followed may still come
    now = datetime.now(UTC)
    about = _evidence(settings, incident)
    wanted = Wanted(
        agents=(*agent, *about.get("agent", ())),
        tasks=task,
        kinds=kind,
        statuses=status,
        models=(*model, *about.get("model", ())),
        sources=source,
        traces=trace,
        since_us=_instant_us("--since", about.get("since") if since is None else since, now),
        until_us=_instant_us("--until", about.get("until") if until is None else until, now),
    )
    places = Places(telemetry=settings.telemetry.dir, segments=settings.storage.state_dir / SEGMENTS)
    if follow:
        _follow(places, wanted, limit, shown)
    else:
        _list(places, wanted, limit, shown)
    return 0


def _evidence(settings: Settings, incident: str | None) -> Json:
    """The filters of what an incident is about; none without one."""
    if incident is None:
        return {}
    from self_healing.cli.client import call

    found: Json = call(settings, "incident", {"id": incident})["evidence"]
    return found


def _instant_us(option: str, text: str | None, now: datetime) -> int | None:
    from self_healing.telemetry.query.instants import instant_us

    try:
        return None if text is None else instant_us(text, now)
    except ValueError as error:
        raise SelfHealingError(f"events: {option} {error}") from error


def _list(places: Places, wanted: Wanted, limit: int, shown: Shown) -> None:
    from self_healing.telemetry.query.find import find

    with waiting("looking for events"):
        found = find(places, wanted, limit)
    told = {"events": [row.told for row in found.rows], "warnings": found.warnings}
    if shown.format is Format.TABLE:
        _warn(found.warnings)
    output.show(told, shown, _print)


def _follow(places: Places, wanted: Wanted, limit: int, shown: Shown) -> None:
    from self_healing.errors import TelemetryError
    from self_healing.telemetry.query.find import find
    from self_healing.telemetry.query.follow import Follower

    follower = Follower(places, wanted)
    tell = partial(_tell_lines, shown.label()) if shown.format is Format.JSON else _tell
    try:
        try:
            found = find(places, wanted, limit)
            follower.leave_out(found.rows)
            _warn(found.warnings)
            tell([row.told for row in reversed(found.rows)])
        except TelemetryError as nothing_yet:
            _warn([f"{nothing_yet}; waiting for some"])
        _wait_and_tell(follower, tell)
    finally:
        follower.close()


def _wait_and_tell(follower: Follower, tell: Callable[[list[Json]], None]) -> None:
    """Tell what comes, until a person or the reader of our output has had enough."""
    reader = Reader()
    while True:
        tell([row.told for row in follower.new()])
        time.sleep(POLL_S)
        reader.heed()


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        print(f"self-healing: {output.text(warning)}", file=sys.stderr)


def _tell(told: list[Json]) -> None:
    for each in told:
        at, kind, *rest = _cells(each)
        print(f"{at}  {kind:<13}  {'  '.join(output.text(cell) for cell in rest if cell)}".rstrip())
    sys.stdout.flush()


def _tell_lines(label: Json, told: list[Json]) -> None:
    for each in told:
        line(label, each)
    sys.stdout.flush()


def _print(told: Json) -> None:
    output.table(
        (output.when("at"), "kind", "agent", Column("task", rank=1), "status", Column("what", text=True)),
        (_cells(each) for each in told["events"]),
        empty="no event",
    )


def _cells(event: Json) -> tuple[str | None, ...]:
    at = output.instant(event["ts"])
    return at, event["kind"], event["agent"], event["task_id"], event["status"], _what(event)


def _alert(event: Json) -> tuple[str | None, ...]:
    """Which alert it is and how it stands, of what Alertmanager said."""
    if event["source"] != "alertmanager":
        return ()
    labels = event["attributes"].get("alertname"), event["attributes"].get("status")
    return tuple(each for each in labels if isinstance(each, str))


WORDS_MAX = 80
"""So many characters of what a log says are shown; `--format json` has all that is kept of it."""


def _log(event: Json) -> tuple[str, ...]:
    """How grave a log is and what it says, where it says so."""
    kept = event["attributes"]
    said = (kept.get("severity") or kept.get("level"), kept.get("body") or kept.get("message"))
    texts = (" ".join(each.split()) for each in said if isinstance(each, str))
    return tuple(each if len(each) <= WORDS_MAX else f"{each[:WORDS_MAX]}..." for each in texts)


def _point(event: Json) -> tuple[str, ...]:
    """Which metric it is a point of, and its value: of several measurements how many they are, and their mean."""
    from self_healing.telemetry.metric import POINT, MetricPoint

    try:
        point = msgspec.convert(event["attributes"].get(POINT), MetricPoint)
    except msgspec.ValidationError:  # anybody may send a metric that has none
        return ()
    mean = point.sum / point.count if point.count and point.sum is not None else point.sum
    unit = "" if point.unit == "1" else point.unit  # which stands for none
    value = output.span(mean) if unit == "s" else f"{output.number(mean)} {unit}".strip()
    return point.name, value if (point.count or 1) == 1 else f"{point.count} of {value} on average"


def _what(event: Json) -> str:
    """What else there is to say of an event, in a line."""
    amounts = (("total_tokens", "tokens"), ("cost_usd", "USD"), ("passed", "passed"), ("failed", "failed"))
    parts = [
        event["attributes"].get("type"),
        *_alert(event),
        *(_log(event) if event["kind"] == "log" else _point(event) if event["kind"] == "metric" else ()),
        output.span(event["duration_s"]) if event["duration_s"] is not None else None,
        f"attempt {event['attempt']}" if (event["attempt"] or 1) > 1 else None,
        *(output.amount(event[name], unit) for name, unit in amounts if event[name] is not None),
        f"quality {output.number(event['quality'])}" if event["quality"] is not None else None,
        *(event[name] for name in ("tool", "model", "error_type")),
    ]
    return ", ".join(str(part) for part in parts if part)
