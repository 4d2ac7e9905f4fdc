"""The signals that a trigger can name: what each measures, in which unit, and how its samples may be aggregated."""

from __future__ import annotations

from dataclasses import dataclass

from self_healing.model import Kind
from self_healing.spec import PERCENT, Absence, Aggregate, TriggerSpec
from self_healing.telemetry.columns import ATTRIBUTE

MEASURED = (Aggregate.COUNT, Aggregate.SUM, Aggregate.MEAN, Aggregate.MIN, Aggregate.MAX, Aggregate.RATE, *PERCENT)
"""The aggregates of a signal whose samples are amounts."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A named measure over events.

    Args:
        name: as triggers name it.
        unit: of one sample; the value of a ratio has none.
        kind: the events that yield samples; None for all.
        says: what it measures, in one sentence.
        aggregates: what a trigger may ask of it; nothing where it can only be absent.
        ratio: whether its value is a part of a whole, 0 to 1.
    """

    name: str
    unit: str
    kind: Kind | None
    says: str
    aggregates: tuple[Aggregate, ...]
    ratio: bool = False


EVENTS = "agent.events"
HEARTBEATS = "task.heartbeat"

SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        Signal(
            name="task.duration_s",
            unit="s",
            kind=Kind.TASK_FINISHED,
            says="How long an attempt took; a maximum also counts the age of attempts that still run.",
            aggregates=MEASURED,
        ),
        Signal(
            name="task.attempts",
            unit="attempts",
            kind=Kind.TASK_FINISHED,
            says="Which attempt at its task it was; 1 is the first.",
            aggregates=MEASURED,
        ),
        Signal(
            name="task.errors",
            unit="attempts",
            kind=Kind.TASK_FINISHED,
            says="The part of attempts that failed or timed out, of those that succeeded, failed or timed out.",
            aggregates=(Aggregate.RATIO,),
            ratio=True,
        ),
        Signal(
            name="task.tokens",
            unit="tokens",
            kind=Kind.TASK_FINISHED,
            says="The tokens that an attempt used: its own count, else the sum of its model calls.",
            aggregates=MEASURED,
        ),
        Signal(
            name="task.cost_usd",
            unit="USD",
            kind=Kind.TASK_FINISHED,
            says="What an attempt cost: its own amount, else the sum of its model calls.",
            aggregates=MEASURED,
        ),
        Signal(
            name="task.tests",
            unit="tests",
            kind=Kind.TEST_RUN,
            says="The part of tests that failed, of those that ran; each test is a sample.",
            aggregates=(Aggregate.RATIO,),
            ratio=True,
        ),
        Signal(
            name="task.quality",
            unit="score",
            kind=Kind.QUALITY_SCORE,
            says="The score that a result got, 0 to 1.",
            aggregates=(Aggregate.MEAN, Aggregate.MIN, Aggregate.MAX, *PERCENT),
        ),
        Signal(
            name="tool.errors",
            unit="calls",
            kind=Kind.TOOL_CALL,
            says="The part of tool calls that failed or timed out, of those that succeeded, failed or timed out.",
            aggregates=(Aggregate.RATIO,),
            ratio=True,
        ),
        Signal(
            name="tool.duration_s",
            unit="s",
            kind=Kind.TOOL_CALL,
            says="How long a tool call took.",
            aggregates=MEASURED,
        ),
        Signal(
            name="llm.duration_s",
            unit="s",
            kind=Kind.LLM_CALL,
            says="How long a model call took.",
            aggregates=MEASURED,
        ),
        Signal(
            name="llm.tokens",
            unit="tokens",
            kind=Kind.LLM_CALL,
            says="The tokens that a model call used.",
            aggregates=MEASURED,
        ),
        Signal(
            name="llm.cost_usd",
            unit="USD",
            kind=Kind.LLM_CALL,
            says="What a model call cost.",
            aggregates=MEASURED,
        ),
        Signal(
            name=EVENTS,
            unit="events",
            kind=None,
            says="That something was heard of a group: any event is a sign of life.",
            aggregates=(),
        ),
        Signal(
            name=HEARTBEATS,
            unit="heartbeats",
            kind=Kind.HEARTBEAT,
            says="That running tasks are alive, where their agent sends heartbeats; the quietest of them decides.",
            aggregates=(),
        ),
    )
}
"""Every signal, by its name."""

METRIC = "metric."
"""What the name of a signal begins with that is a metric of its sender's; the metric's own name follows."""


def signal_of(name: str) -> Signal | None:
    """The signal of that name; None when there is none. Any metric is one, whether or not it ever came."""
    if name.startswith(METRIC) and len(name) > len(METRIC):
        return Signal(name=name, unit="", kind=Kind.METRIC, says="A metric of its sender's.", aggregates=MEASURED)
    return SIGNALS.get(name)


GROUP_COLUMNS = ("agent", "model", "provider", "tool", "run_id", "error_type")
"""The columns of an event by which a trigger may group or filter."""


COLUMNS = (*GROUP_COLUMNS, f"{ATTRIBUTE}KEY")
"""The same for people, and that any other field of a line will do."""


def is_column(name: str) -> bool:
    """Whether a trigger may group or filter by it: by a column, or by an attribute of any name."""
    return name in GROUP_COLUMNS or (name.startswith(ATTRIBUTE) and len(name) > len(ATTRIBUTE))


def unit(trigger: TriggerSpec) -> str:
    """What a trigger's value is in, such as ``s``, ``USD`` or ``tokens``; ``%`` for a part of a whole, else empty."""
    if isinstance(trigger.condition, Absence):
        return "s"
    return unit_of(trigger.signal, trigger.aggregate)


def unit_of(name: str, aggregate: Aggregate) -> str:
    """What so many samples of a signal together are in; as for :func:`unit`."""
    signal = signal_of(name)
    if signal is None:
        return ""
    match aggregate:
        case Aggregate.RATIO:
            return "%"
        case Aggregate.COUNT:
            return ""
        case Aggregate.RATE:
            return "samples/s"
    return "" if signal.ratio else signal.unit
