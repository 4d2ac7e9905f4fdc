"""Events in, panes out: the one place where what happened becomes what triggers see.

:class:`Telemetry` holds all that is known of the fleet's work: panes, running tasks, taps, the agents seen. It is fed
batches of events in the order of their time, asked for totals, and packed into the state together with the offset from
which the next event will be read, so that the two can never disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from self_healing.measures import MICRO, Bools, Grouped, Ints, Measure
from self_healing.model import Accounting, Event, Group, Kind
from self_healing.spec import MAX_GROUPS, Absence, TriggerSpec
from self_healing.taps import Accumulator, Restart, Taps
from self_healing.telemetry.agents import Folded, Repair
from self_healing.telemetry.assembly import Assembly
from self_healing.telemetry.attributes import Beyond
from self_healing.telemetry.calls import CALL_SIGNALS, Retried, Sum, Told, call_samples
from self_healing.telemetry.collector import collector_off
from self_healing.telemetry.counting import with_folded, with_read
from self_healing.telemetry.examples import MOST_DESCRIBED, Examples
from self_healing.telemetry.groups import BY_AGENT, NOBODY
from self_healing.telemetry.lateness import TOO_LATE, Latecomers
from self_healing.telemetry.listening import Listening
from self_healing.telemetry.measured import Measured, Stored
from self_healing.telemetry.moving import Row
from self_healing.telemetry.points import TOO_MANY_SERIES, Points
from self_healing.telemetry.pulse import Pulse
from self_healing.telemetry.queue import Queue
from self_healing.telemetry.samples import Joining, Samples
from self_healing.telemetry.signals import EVENTS
from self_healing.telemetry.table import PaneTable
from self_healing.telemetry.tasks import TaskTable
from self_healing.telemetry.ways_in import WaysIn


class Telemetry(Measured):
    """All that is known of the fleet's work; implements the port :class:`self_healing.measures.Windows`.

    Args:
        triggers: what will be asked for; decides which panes are kept, and how far back.
        max_groups: how many groups are kept apart for each ``group_by``.
        ways_in: whether anybody will ask by which ways events came: to know that costs something with each event.
    """

    def __init__(self, triggers: Iterable[TriggerSpec], *, max_groups: int = MAX_GROUPS, ways_in: bool = False) -> None:
        super().__init__(triggers, max_groups=max_groups)
        self.accounting = Accounting()
        self.repairs: list[Repair] = []
        self.examples = Examples()
        self.pulse = Pulse()
        self._points = Points()
        self.ways_in = WaysIn() if ways_in else None
        self._queue = Queue()
        asked = {column for measure in self._measures.values() for column in (*measure.group_by, *dict(measure.where))}
        by_agent = self._groupings[BY_AGENT]
        self.tasks = TaskTable(by_agent, sorted(asked - {"agent"}), keep_silent=bool(self._beats))
        self._listening = Listening(self._measures, self._groupings, self.tasks)
        self._wants_calls = any(signal in self._by_signal for signal in CALL_SIGNALS)
        self.assembly = Assembly(calls=self._wants_calls)

    # -- events in

    def queue(self, events: list[Event], kind: NDArray[np.uint8], ts: Ints, beyond: Beyond | None = None) -> None:
        """Hand over a batch, sorted by time; it waits, in flight, until :meth:`fold` takes it.

        Args:
            beyond: what the lines of some of it say beyond the columns.
        """
        if beyond is not None:
            self.examples.expect(beyond)
        if len(events):
            self.assembly.learn(events, kind, ts)
            if self.ways_in is not None:
                self.ways_in.see(events, kind.tolist(), ts.tolist())
            self._queue = self._queue.merged(events, kind, ts)
            self._in_flight()

    def _in_flight(self) -> None:
        self.accounting = msgspec.structs.replace(self.accounting, in_flight=self.queued)

    def next_queued_us(self) -> int | None:
        """The time of the oldest event in flight, microseconds; None when there is none."""
        return int(self._queue.ts[self._queue.at]) if self.queued else None

    @property
    def queued(self) -> int:
        """How many events wait to be folded."""
        return len(self._queue)

    def fold(self, until_us: int | None = None, *, evaluated_us: int = 0) -> int:
        """Fold the queued events up to `until_us`, all when it is None.

        Args:
            until_us: microseconds.
            evaluated_us: the newest instant that was evaluated; events before it are counted late.

        Returns:
            How many were folded.
        """
        queue, start = self._queue, self._queue.at
        end = len(queue.events) if until_us is None else int(np.searchsorted(queue.ts, until_us, side="right"))
        due_us = self.assembly.next_due_us()
        if end <= start and (until_us is None or due_us is None or due_us > until_us):
            return 0
        end = max(start, end)
        ts = queue.ts[start:end]
        with collector_off():
            whole = end - start == len(queue.events)
            events = queue.events if whole else queue.events[start:end]
            told = self.assembly.put((events, queue.kind[start:end], ts), until_us, evaluated_us)
            too_late = self._fold(*told) if len(told[0]) else 0
            if self._wants_calls:
                calls = self.assembly.take_calls()
                self._put_calls([call for call in calls if not self.tasks.is_repair(call[1])], None)
        queue.at = end
        if not len(queue):
            self._queue = Queue()
        self.examples.expect_none_before(self.next_queued_us())
        late = int(np.searchsorted(ts, evaluated_us, side="left"))
        dropped = {TOO_LATE: too_late, TOO_MANY_SERIES: self._points.take_left_out()}
        counted = with_folded(self.accounting, end - start, late=late, dropped=dropped)
        self.accounting = msgspec.structs.replace(counted, traces_lost=self.assembly.traces.lost, in_flight=self.queued)
        return end - start

    def next_due_us(self) -> int | None:
        """When time alone ends a task next, microseconds; None when it ends none."""
        return self.assembly.next_due_us()

    def _fold(self, events: Sequence[Event], kind: NDArray[np.uint8], ts: Ints) -> int:
        """Fold events, sorted by time; returns how many of them were too late."""
        listening = self._listening.keys()
        folded = self.tasks.fold(events, kind, ts, starts=bool(self.taps.accumulators))
        self.repairs += folded.repairs
        if listening:
            self._listening.tell_started(folded)
        if self._signs or self._beats:
            self._see(events, kind, ts, folded, listening)
        self.pulse.add(EVENTS, ts, np.ones_like(ts), np.zeros_like(ts))
        latecomers = Latecomers(self._tables.values(), int(ts[0]))
        for samples in self._samples(folded):
            for signal, found in samples.items():
                self.pulse.add(signal, found.rows.ts[found.index], found.count, found.amount)
                self._put(signal, found, listening, latecomers)
        repairing = {id(event) for event, _ in folded.repairing}
        for signal, found in self._metrics(events, kind, ts, repairing):
            self._put(signal, found, listening, latecomers)
        if self._wants_calls:
            self._put_calls(self._own_calls(events, kind, ts, repairing), latecomers)
        for late in (folded.late, folded.retries):  # the calls are late; the panes are those of tasks that were counted
            for signal, found in late.samples().items() if late.events else ():
                self._put(signal, found, listening, None)
        if listening:
            self._listening.tell_finished(folded)
        self.examples.add(folded.finished, int(ts[-1]))
        return latecomers.too_late

    def _own_calls(self, events: Sequence[Event], kind: NDArray[np.uint8], ts: Ints, repairing: set[int]) -> list[Told]:
        """The calls that are no parts of traces, but for those of repair work."""
        places = np.flatnonzero((kind == Kind.LLM_CALL) | (kind == Kind.TOOL_CALL)).tolist()
        calls = ((int(ts[place]), events[place]) for place in places if id(events[place]) not in repairing)
        found = [(at, event) for at, event in calls if not isinstance(event, Sum | Retried)]
        return [(at, event, self.tasks.start_of(event)) for at, event in found]

    def _put_calls(self, calls: Sequence[Told], latecomers: Latecomers | None) -> None:
        """Put calls into their panes."""
        listening = self._listening.keys() if calls else set()
        # To a verification each stands for itself: of a tool's group, no task would ever end.
        told = [(at, msgspec.structs.replace(event, task_id=None), started_at) for at, event, started_at in calls]
        for kind, name in ((Kind.LLM_CALL, "llm_call"), (Kind.TOOL_CALL, "tool_call")):
            for signal, found in call_samples(kind, [call for call in told if call[1].kind == name]):
                self._put(signal, found, listening, latecomers)

    def _see(
        self, events: Sequence[Event], kind: NDArray[np.uint8], ts: Ints, folded: Folded, listening: set[str]
    ) -> None:
        """Take signs of life from what was folded, but for repair work, which makes nobody known here."""
        if folded.repairing:
            repairing = {id(event) for event, _ in folded.repairing}
            others = [place for place, event in enumerate(events) if id(event) not in repairing]
            events, kind, ts = [events[place] for place in others], kind[others], ts[others]
        for key, signs in self._signs.items():
            places, at = signs.see(events, ts)
            signs.excuse(folded.repairing)
            if key in listening:
                self._listening.tell_signs(key, at, places)
        for key in self._beats & listening:
            self._listening.tell_beats(key, events, kind, ts)

    def _metrics(
        self, events: Sequence[Event], kind: NDArray[np.uint8], ts: Ints, repairing: set[int]
    ) -> Iterable[tuple[str, Samples]]:
        """The samples of metrics, but for those of repair work."""
        metrics = np.flatnonzero(kind == Kind.METRIC).tolist()
        places = [place for place in metrics if id(events[place]) not in repairing]
        if not places:
            return ()
        return self._points.samples([events[place] for place in places], ts[places].tolist(), self._by_signal)

    @staticmethod
    def _samples(folded: Folded) -> Iterator[dict[str, Samples]]:
        for gathered in (folded.finished, folded.tests, folded.scores):
            if gathered.events:
                yield gathered.samples()

    def _put(self, signal: str, samples: Samples, listening: set[str], latecomers: Latecomers | None) -> None:
        rows, index = samples.rows, samples.index
        if not len(index):
            return
        for table in self._by_signal.get(signal, ()):
            measure = table.measure
            grouping = self._groupings[measure.grouped]
            count, amount, at, spread = samples.count, samples.amount, index, samples.spread
            if measure.where:
                kept = rows.mask(measure.where)[index]
                count, amount, at = count[kept], amount[kept], at[kept]
                spread = None if spread is None else spread.where(kept)
            # Where its groups are its own, they are those of its samples alone.
            shared = measure.most is None
            places = rows.places(grouping)[at] if shared else grouping.places([rows.events[row] for row in at.tolist()])
            if latecomers is not None:
                latecomers.see(table, rows.events, at, rows.ts[at])
            self._join(table, Joining(rows, at, places, count, amount, spread), listening)

    def _join(self, table: PaneTable, samples: Joining, listening: set[str]) -> None:
        """Let samples join the panes of one measure."""
        table.add(samples.ts, samples.places, samples.count, samples.amount, samples.spread)
        if table.measure.key in listening:
            self._listening.tell_samples(table.measure, samples)

    @property
    def agents(self) -> dict[str, int]:
        """The agents that worked within the last day, and when the newest event of each was, microseconds."""
        return self.tasks.seen()

    # -- taps

    @property
    def taps(self) -> Taps:
        """What single series gather beside the panes."""
        return self._listening.taps

    def restart(self, trigger: str, group: Group, at_us: int, accumulator: Accumulator | None = None) -> None:
        """Let a series' window begin anew at `at_us`, with what the verification that healed it gathered, if any."""
        place = self._place(trigger, group)
        if place is None or self._measures[trigger].key not in self._tables:
            return  # what is no window of samples has nothing to begin anew
        self._listening.restart(trigger, place, at_us, accumulator)

    def watch(self, id: str, trigger: str, group: Group, effect_us: int) -> None:
        """Begin to gather the tasks that start from `effect_us` on, for the verification `id`."""
        place = self._place(trigger, group)
        if place is None:
            raise ValueError(f"nothing was ever measured for {trigger} {group}")
        self._listening.watch(id, trigger, place, effect_us)

    def unwatch(self, id: str) -> Accumulator | None:
        """Stop gathering for the verification `id`; returns what was gathered."""
        return self.taps.accumulators.pop(id, None)

    # -- questions (the port)

    def oldest_running(self, measure: Measure) -> Ints:
        return self.tasks.oldest(measure, self._groupings[measure.grouped])

    def oldest_running_since(self, measure: Measure, group: int, since_us: int) -> int:
        return self.tasks.oldest_since(measure, self._groupings[measure.grouped], group, since_us)

    def last_sign(self, measure: Measure) -> Ints:
        signs = self._signs.get(measure.key)
        if signs is not None:
            return signs.last_us
        return self.tasks.quietest(measure, self._groupings[measure.grouped])

    def last_sign_since(self, measure: Measure, group: int, since_us: int) -> int:
        if measure.key not in self._signs:
            return self.tasks.quietest_since(measure, self._groupings[measure.grouped], group, since_us)
        last_us = int(self._signs[measure.key].last_us[group])
        return last_us if last_us > since_us else 0

    def unwatched_until_us(self, trigger: str, group: Group | None, t_us: int) -> int | None:
        condition = self._asked[trigger].condition
        if not isinstance(condition, Absence):
            return super().unwatched_until_us(trigger, group, t_us)
        since_us, place = self.watched_from_us(trigger), None if group is None else self._place(trigger, group)
        until_us = since_us + condition.silent_for * MICRO
        if t_us >= until_us or (place is not None and self.last_sign(self._measures[trigger])[place] > since_us):
            return None
        return until_us

    def next_lost_us(self) -> int | None:
        return self.tasks.next_lost_us()

    def restarted(self, trigger: str, from_us: int) -> Mapping[int, Restart]:
        return self._listening.restarted(trigger, from_us)

    def give_up_lost(self, t_us: int) -> None:
        """Let go of the tasks that are lost at `t_us`, and of the agents without an event for a day."""
        for agent, id, task in self.tasks.give_up(t_us):
            self._listening.tell_lost(self.tasks.start_event(agent.name, id, task))

    # -- groups

    @property
    def issues(self) -> list[str]:
        """What there is more of than is kept apart, in words: groups, and series of metrics."""
        return [*self._points.issues, *super().issues]

    def forget(self, grouped: Grouped, silent: Bools) -> Ints:
        """Forget groups of which nothing is left here; their places go to others.

        Args:
            silent: whether nobody else knows anything of each group; one element a place.

        Returns:
            The places that were given back.
        """
        grouping = self._groupings[grouped]
        gone = silent & np.array([group != NOBODY for group in grouping.groups[: len(silent)]], np.bool_)
        for places in self._held(grouped) if gone.any() else ():
            known = np.asarray(places, np.intp)
            gone[known[known < len(gone)]] = False
        found = np.flatnonzero(gone)
        if len(found):
            grouping.forget(found.tolist())
            self.tasks.forget(grouped, found)
            for signs in self._signs.values():
                if signs.measure.grouped == grouped:
                    signs.forget(found)
        return found

    def _held(self, grouped: Grouped) -> Iterator[Sequence[int] | NDArray[np.intp]]:
        """The places of which something is kept, in several stretches."""
        if grouped == BY_AGENT:
            yield self.tasks.places()
        tables = [table for table in self._tables.values() if table.measure.grouped == grouped]
        yield from self._listening.places(grouped)
        for table in tables:
            for ring in table.panes.rings:
                yield from ring.places()

    def account(
        self,
        lines: int,
        quarantined: Mapping[str, int],
        *,
        rejected: Mapping[str, int] | None = None,
        dropped: Mapping[str, int] | None = None,
    ) -> None:
        """Count a batch that was read.

        Args:
            lines: that were received.
            quarantined: how many of them, by reason.
            rejected: what was received and refused before it became a line, by reason.
            dropped: what was received and accepted, and never became a line, by reason.
        """
        self.accounting = with_read(self.accounting, lines, quarantined, rejected or {}, dropped or {})

    # -- state

    def pack(self) -> Stored:
        """What changed in panes since the last time, and everything else, for the state."""
        for event in self._queue.newest(Kind.TASK_FINISHED, MOST_DESCRIBED):  # after a restart, its line is not there
            self.examples.describe(event)
        stored = super().pack()
        stored.facts |= {
            "taps": self.taps,
            "accounting": self.accounting,
            "queue": self._queue.pack(),
            **self.tasks.pack(),
            **self.assembly.pack(),
            **self._points.pack(),
        }
        return stored

    def restore(self, panes: Iterable[Row], facts: dict[str, Any]) -> None:
        super().restore(panes, facts)
        self.tasks.unpack(facts["tasks"], facts["ended"], facts.get("silent"))
        self.assembly.unpack(facts.get("traces"), facts.get("sessions"))
        self._points.unpack(facts.get("metrics"))
        self._listening.restore(facts["taps"], self.moves)
        self.accounting = msgspec.convert(facts["accounting"], Accounting)
        self._queue = Queue.unpack(facts["queue"])
        self.assembly.learn(self._queue.events, self._queue.kind, self._queue.ts)
