"""Corroborating: how many signals, independent of one another, say that an agent is unwell.

Two signals are independent when they rest on different kinds of events that came in by different ways, such as the
ends of tasks in native files and test runs in JUnit XML: whoever can forge one of them cannot forge both. Silence is
nobody's word, and counts as a way of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from self_healing.clock import SECOND_US, to_us
from self_healing.model import affected_agent
from self_healing.spec import Absence, Composite, Spec
from self_healing.telemetry.signals import signal_of
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

SILENCE = "silence"


class Corroborating:
    """Counts the signals.

    Args:
        spec: the loaded spec.
        telemetry: says by which ways events came in.
        framework: says what fires.
    """

    def __init__(self, spec: Spec, telemetry: Telemetry, framework: TriggerFramework) -> None:
        self._spec = spec
        self._telemetry = telemetry
        self._framework = framework

    def agreeing(self, agent: str, at: datetime) -> int:
        """The most signals about `agent` that fire at that instant and are independent of one another.

        One that fires counts in any case, whether or not it is known by which way it came.
        """
        ways: dict[str, set[str]] = {}
        for name, group in self._framework.firing():
            trigger = self._spec.trigger(name)
            signal = signal_of(trigger.signal)
            if affected_agent(group) != agent or isinstance(trigger.condition, Composite) or signal is None:
                continue  # a composite is made of others, which fire themselves
            if isinstance(trigger.condition, Absence):
                ways.setdefault(SILENCE, set()).add(SILENCE)
            elif signal.kind is not None:
                since_us = to_us(at) - trigger.window * SECOND_US
                kind = signal.name if signal.kind.name == "METRIC" else signal.kind.name
                ways_in = self._telemetry.ways_in  # None where nothing that is declared is ever asked for
                ways.setdefault(kind, set()).update(() if ways_in is None else ways_in.of(agent, signal.kind, since_us))
        return max(most_pairs(ways), int(bool(ways)))


def most_pairs(ways: Mapping[str, set[str]]) -> int:
    """How many kinds can each be given a way of its own; there are few of both."""
    if not ways:
        return 0
    kind, *others = ways
    rest = {each: ways[each] for each in others}
    found = [1 + most_pairs({each: those - {way} for each, those in rest.items()}) for way in ways[kind]]
    return max([most_pairs(rest), *found])
