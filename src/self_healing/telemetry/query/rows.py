"""Events as whoever looks at them sees them: the columns, in their order, and whatever else a line says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from self_healing.model import Event, Ingested, Kind
from self_healing.redaction import may_hold_secrets, without_secrets
from self_healing.telemetry.lines import NATIVE, SEGMENTS, attributes_of
from self_healing.telemetry.native import decode
from self_healing.telemetry.query.files import Form
from self_healing.telemetry.samples import duration_of, tokens_of
from self_healing.telemetry.timestamps import END_US, encode_ts

Json = dict[str, Any]

KINDS: Final = tuple(kind.name.lower() for kind in Kind if kind is not Kind.OWN)
"""The kinds of events."""

NATIVE_SOURCE: Final = "native"
"""The source of an event that stands in a native file."""

_REST: Final = ("started_at", "finished_at", "handoff_id", "span_id", "parent_id", "role", "call_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events are wanted: those that fit every field that is given, and one value of each.

    Args:
        agents, tasks, kinds, statuses, models, traces: as events name them.
        sources: as events name them, or what stands before the ``/`` in it.
        since_us: from this instant on, microseconds since 1970.
        until_us: before this one.
    """

    agents: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None

    @property
    def whose(self) -> bool:
        """Whether it matters whose work an event is."""
        return bool(self.agents or self.tasks)

    def admits(self, row: Row) -> bool:
        """Whether that event is wanted."""
        told = row.told
        return self.may_admit(row) and _one_of(told["agent"], self.agents) and _one_of(told["task_id"], self.tasks)

    def may_admit(self, row: Row) -> bool:
        """Whether it is wanted, whosever work it is."""
        if (self.since_us is not None and row.at_us < self.since_us) or (
            self.until_us is not None and row.at_us >= self.until_us
        ):
            return False
        told = row.told
        return (
            _one_of(told["kind"], self.kinds)
            and _one_of(told["status"], self.statuses)
            and _one_of(told["model"], self.models)
            and _one_of(told["trace_id"], self.traces)
            and (not self.sources or comes_from(told["source"], self.sources))
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One event.

    Args:
        at_us: when it happened, microseconds since 1970.
        told: its columns, as JSON has them.
        line: as it stands in its file.
        file: the path of that.
    """

    at_us: int
    told: Json
    line: bytes
    file: str


def _one_of(value: str | None, wanted: tuple[str, ...]) -> bool:
    return not wanted or value in wanted


def comes_from(source: str | None, wanted: tuple[str, ...]) -> bool:
    """Whether a source is one of `wanted`, or beneath one: ``otlp/codex`` is beneath ``otlp``."""
    return source is not None and (source in wanted or source.partition("/")[0] in wanted)


def rows(lines: Sequence[tuple[bytes, str]], form: Form) -> list[Row]:
    """The events in some lines, each with the file that it is from; exactly what the framework itself would read.

    What is no event, or would be quarantined for what it says, is left out; a clock that is ahead is no reason.
    """
    if not lines:
        return []
    starts, at = {}, 0
    for line, file in lines:
        starts[at] = (line, file)
        at += len(line) + 1
    native = form is Form.NATIVE
    joined = b"\n".join([line for line, _ in lines]) + b"\n"
    decoded = decode(joined, now_us=END_US, form=NATIVE if native else SEGMENTS)
    found = []
    for event, at_us, kind, start in zip(decoded.events, decoded.ts, decoded.kind, decoded.starts, strict=True):
        line, file = starts[int(start)]
        attributes = attributes_of(line) if native else event.attributes or {}
        told = _told(event, int(at_us), Kind(int(kind)), attributes)
        found.append(Row(int(at_us), without_secrets(told) if may_hold_secrets(line) else told, line, file))
    return found


def _told(event: Event, at_us: int, kind: Kind, attributes: Json) -> Json:
    usage = event.usage
    name = kind.name.lower()
    rest = {field: getattr(event, field, None) for field in _REST}
    if kind is Kind.LOG and event.kind != name:
        rest["type"] = event.kind  # kept as a log; what its sender calls it says more
    return {
        "ts": encode_ts(at_us),
        "kind": name,
        "source": event.source if isinstance(event, Ingested) else NATIVE_SOURCE,
        "task_id": event.task_id,
        "agent": event.agent,
        "model": event.model,
        "provider": event.provider,
        "attempt": event.attempt,
        "status": event.status,
        "duration_s": duration_of(event),
        "input_tokens": usage.prompt_tokens if usage else None,
        "output_tokens": usage.completion_tokens if usage else None,
        "total_tokens": tokens_of(usage),
        "cost_usd": usage.total_usd if usage else None,
        "quality": event.quality,
        "passed": event.passed,
        "failed": event.failed,
        "error_type": event.error_type,
        "tool": event.tool,
        "run_id": event.run_id,
        "trace_id": event.trace_id,
        "attributes": {field: value for field, value in rest.items() if value is not None} | attributes,
    }
