"""What a backtest found, in figures: each incident, what came of each trigger, and two specs side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from self_healing.backtest import Found, Replay, Tell, decoded_lines, nobody, replays, replays_of
from self_healing.clock import DAY_US, SECOND_US, from_us
from self_healing.model import SeriesState, Transition, group_dict
from self_healing.problems import one_line
from self_healing.spec import Spec, TriggerSpec
from self_healing.telemetry.describing import described
from self_healing.telemetry.query.past import Past
from self_healing.wording import counted


def backtest(spec: Spec, files: Sequence[Path], tell: Tell = nobody) -> dict[str, Any]:
    """What `spec` would have said of the history in `files`; the mapping of ``triggers backtest --format json``.

    Args:
        files: native JSONL, in any order.
        tell: hears how much has been replayed, 0 to 1.

    Raises:
        TelemetryError: a file cannot be read.
    """
    (done,) = replays([spec], files, tell)
    return _report(done) | _why_none(done, files)


def compare(spec: Spec, against: Spec, files: Sequence[Path], tell: Tell = nobody) -> dict[str, Any]:
    """The same with `against` beside it, whose report is under ``against``, and what differs under ``compared``.

    The history is read once for both; arguments and errors as for :func:`backtest`.
    """
    ours, theirs = replays([spec, against], files, tell)
    return _both(ours, theirs) | _why_none(ours, files)


EXPECTED: Final = (
    'expected are native JSON lines, such as {"ts": "2026-01-05T10:01:30Z", "type": "task_finished", "id": "t1",'
    ' "agent": "Coder", "status": "success", "duration_s": 90.0}'
)

MOST_SHOWN: Final = 80
"""So many bytes of a line are shown."""

MOST_FILES: Final = 3
"""Of so many files it is told what was found in place of events."""


def _why_none(done: Replay, files: Sequence[Path]) -> dict[str, str]:
    """What was found instead, where nothing at all could be replayed."""
    if done.telemetry.accounting.aggregated:
        return {}
    found = [f"{path}: {_found(path)}" for path in files[:MOST_FILES]]
    more = [f"and {len(files) - MOST_FILES} more such files"] if len(files) > MOST_FILES else []
    return {"why_none": f"there is no event to replay: {'; '.join([*found, *more])}; {EXPECTED}"}


def _found(path: Path) -> str:
    """What is in a file without an event: how many lines, and why they are none."""
    text = path.read_bytes()
    decoded = decoded_lines(text, ())
    if not decoded.bad:
        return "it is empty" if not text.strip() else "nothing but what self-healing wrote itself, which is never read"
    reasons = ", ".join(f"{reason.value} {count}" for reason, count in Counter(why for _, why in decoded.bad).items())
    offset, reason = decoded.bad[0]
    line = text[offset:].partition(b"\n")[0]
    what = f" ({why})" if (why := described(line, reason)) else ""
    return f"{counted(decoded.received, 'line')}, all refused: {reasons}; the first is {_begins(line)}{what}"


def _begins(line: bytes) -> str:
    """The beginning of a line, as it may be printed."""
    text = one_line(line[:MOST_SHOWN].decode(errors="replace"))
    return text if len(line) <= MOST_SHOWN else f"{text}..."


def compare_stored(spec: Spec, against: Spec, past: Past, enough: Callable[[], bool]) -> dict[str, Any]:
    """The same on stored events, whatever kind of file they are in; `whole` says whether all were looked at.

    Args:
        past: the events.
        enough: asked now and then; says that no more of them is to be looked at.
    """
    (ours, theirs), whole = replays_of([spec, against], past, enough)
    return _both(ours, theirs) | {"whole": whole}


def _both(ours: Replay, theirs: Replay) -> dict[str, Any]:
    told, there = _report(ours), _report(theirs)
    summary = {name: {"here": here, "there": _summed(there)[name]} for name, here in _summed(told).items()}
    return told | {"against": there, "summary": summary, "compared": _compared(ours, theirs)}


def _summed(report: dict[str, Any]) -> dict[str, Any]:
    """What came of all triggers together."""
    lasted_s = [each["duration_s"] for each in report["incidents"]]
    return {
        "incidents": len(lasted_s),
        "median_s": median(lasted_s) if lasted_s else None,
        "longest_s": max(lasted_s, default=None),
        "open_s": sum(lasted_s),
        "flaps": sum(each["flaps"] for each in report["triggers"]),
        "actions_per_day": sum(each["actions_per_day"] or 0.0 for each in report["triggers"]),
    }


def _report(done: Replay) -> dict[str, Any]:
    aggregated = done.telemetry.accounting.aggregated
    return {
        "events": aggregated,
        "span_s": (done.last_us - done.first_us) / SECOND_US,
        "events_per_s": round(aggregated / done.took_s) if done.took_s else 0,
        "incidents": [_incident(found, done.last_us) for found in done.incidents],
        "transitions": len(done.transitions),
        "telemetry": msgspec.to_builtins(done.telemetry.accounting),
        "triggers": [_trigger(each, done) for each in done.spec.triggers if each.enabled],
    }


def _incident(found: Found, last_us: int) -> dict[str, Any]:
    return {
        "trigger": found.trigger,
        "group": group_dict(found.group),
        "opened_at": from_us(found.opened_us).isoformat(),
        "closed_at": None if found.closed_us is None else from_us(found.closed_us).isoformat(),
        "peak": found.peak,
        "duration_s": _lasted_s(found, last_us),
        "suppressed": found.suppressed,
    }


def _lasted_s(found: Found, last_us: int) -> float:
    """How long it was open; up to the end of the history where it still is."""
    return max((last_us if found.closed_us is None else found.closed_us) - found.opened_us, 0) / SECOND_US


def _trigger(trigger: TriggerSpec, done: Replay) -> dict[str, Any]:
    """What came of one trigger."""
    lasted_s = [_lasted_s(found, done.last_us) for found in done.incidents if found.trigger == trigger.name]
    groups = done.groups(trigger)
    span_us = done.last_us - done.first_us
    all_s = groups * span_us / SECOND_US
    return {
        "trigger": trigger.name,
        "groups": groups,
        "incidents": len(lasted_s),
        "median_s": median(lasted_s) if lasted_s else None,
        "longest_s": max(lasted_s, default=None),
        "flaps": sum(_flaps(each) for each in done.transitions if each.verdict.trigger == trigger.name),
        "open_share": min(sum(lasted_s) / all_s, 1.0) if all_s else None,
        "actions_per_day": _a_day(len(lasted_s) if trigger.actions else 0, span_us),
    }


def _flaps(transition: Transition) -> bool:
    """Whether a series became flapping: it began to fire once too often, and is that until it is inactive."""
    began = transition.before in (SeriesState.INACTIVE, SeriesState.PENDING)
    return began and transition.after is SeriesState.FIRING and transition.verdict.flapping


def _a_day(number: int, span_us: int) -> float | None:
    return number * DAY_US / span_us if span_us else None


# -- two specs


def _compared(ours: Replay, theirs: Replay) -> list[dict[str, Any]]:
    """Both specs side by side, trigger by trigger; of a trigger that one of them has not, its figures are null."""
    mine, others = ({each.name: each for each in done.spec.triggers if each.enabled} for done in (ours, theirs))
    compared = []
    for name in dict.fromkeys([*mine, *others]):
        paired, alone, alone_there = _paired(_of(ours, name), _of(theirs, name), ours.last_us)
        compared.append(
            {
                "trigger": name,
                "in_both": paired,
                "only_here": [_incident(found, ours.last_us) for found in alone],
                "only_there": [_incident(found, theirs.last_us) for found in alone_there],
                "here": _trigger(mine[name], ours) if name in mine else None,
                "there": _trigger(others[name], theirs) if name in others else None,
            }
        )
    return compared


def _of(done: Replay, name: str) -> list[Found]:
    return [found for found in done.incidents if found.trigger == name]


def _paired(mine: Sequence[Found], others: Sequence[Found], last_us: int) -> tuple[int, list[Found], list[Found]]:
    """How many of the incidents overlap in time with one of the same group there, and those that don't."""
    alone = [found for found in mine if not _meets(found, others, last_us)]
    return len(mine) - len(alone), alone, [found for found in others if not _meets(found, mine, last_us)]


def _meets(found: Found, others: Iterable[Found], last_us: int) -> bool:
    until_us = _until_us(found, last_us)
    return any(
        other.group == found.group and other.opened_us <= until_us and found.opened_us <= _until_us(other, last_us)
        for other in others
    )


def _until_us(found: Found, last_us: int) -> int:
    return last_us if found.closed_us is None else found.closed_us
