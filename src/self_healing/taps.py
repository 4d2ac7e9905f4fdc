"""Taps: what single series gather beside the panes, sample by sample, from an instant on.

A :class:`Restart` is a series' own window after its incident closed. An :class:`Accumulator` is what an open
verification has seen of the tasks begun after the effect. Both are stored with the panes, so a crash loses none of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec
import numpy as np

from self_healing.clock import SECOND_US
from self_healing.histograms import Histograms, bucket_of
from self_healing.measures import FINE_US, NONE_MAX, NONE_MIN, UNKNOWN_START, Measure, Totals, held
from self_healing.model import Event


class Pane(msgspec.Struct):
    """One pane of one series, in plain numbers."""

    count: int = 0
    amount: int = 0
    maximum: int = NONE_MAX
    minimum: int = NONE_MIN
    buckets: dict[int, int] = {}

    def add(self, count: int, amount: int) -> None:
        """Merge in samples that together count and amount to this; the extremes are those of one sample."""
        self.count = held(self.count + count)
        self.amount = held(self.amount + amount)
        if count:
            each = amount // count  # of many measurements that came as one, nothing but their mean is known here
            self.maximum = max(self.maximum, each)
            self.minimum = min(self.minimum, each)
            bucket = bucket_of(each)
            self.buckets[bucket] = held(self.buckets.get(bucket, 0) + count)


class Restart(msgspec.Struct):
    """A window that began anew.

    Args:
        since_us: from then on samples count, beside those it was given at the start.
        panes: by the number of the 10 s slot.
        measure_key: what is measured.
    """

    since_us: int
    panes: dict[int, Pane] = {}
    measure_key: str = ""

    def add(self, ts_us: int, count: int, amount: int) -> None:
        """Put in one sample."""
        self.panes.setdefault(ts_us // FINE_US, Pane()).add(count, amount)

    @property
    def first_heard_us(self) -> int:
        """When its first pane with a sample begins; 0 when there is none."""
        return min((slot for slot, pane in self.panes.items() if pane.count), default=0) * FINE_US

    def totals(self, from_us: int, to_us: int) -> Totals:
        """Its panes between the two instants, merged; arrays of one element."""
        whole, buckets = Pane(), Counter[int]()
        for slot, pane in self.panes.items():
            if from_us // FINE_US <= slot <= to_us // FINE_US:
                whole.count = held(whole.count + pane.count)
                whole.amount = held(whole.amount + pane.amount)
                whole.maximum = max(whole.maximum, pane.maximum)
                whole.minimum = min(whole.minimum, pane.minimum)
                for bucket, count in pane.buckets.items():
                    buckets[bucket] = held(buckets[bucket] + count)
        return Totals(
            np.array([whole.count]),
            np.array([whole.amount]),
            np.array([whole.maximum]),
            np.array([whole.minimum]),
            histograms=Histograms.single(buckets),
        )


class Seen(msgspec.Struct):
    """One task that a verification watches.

    Args:
        start_us: when it started, or the time of a sample whose task nobody knows.
        finished: whether it ended.
        samples: time, count and amount of each of its samples.
    """

    start_us: int
    finished: bool = False
    samples: list[tuple[int, int, int]] = []


class Accumulator(msgspec.Struct):
    """The tasks of one series that started at or after an effect.

    Args:
        measure_key: what is measured.
        place: of the series' group.
        effect_us: when the effect was there.
        tasks: by agent, task id and attempt, or by a number for samples without a known task.
        trigger: whose series it is.
    """

    measure_key: str
    place: int
    effect_us: int
    tasks: dict[str, Seen] = {}
    trigger: str = ""

    def started(self, event: Event, start_us: int) -> None:
        """A task of the series started; one without an id is known by its samples alone."""
        if event.task_id is not None and start_us >= self.effect_us:
            self._task(_name(event), start_us)

    def finished(self, event: Event, start_us: int) -> None:
        """A task of the series ended."""
        if event.task_id is not None and start_us != UNKNOWN_START and start_us >= self.effect_us:
            self._task(self._known_name(event), start_us).finished = True

    def sample(self, event: Event, ts_us: int, start_us: int, count: int, amount: int) -> None:
        """A sample of the series came, from a task that started at `start_us` if anybody knows."""
        known = start_us != UNKNOWN_START
        if (start_us if known else ts_us) < self.effect_us:
            return
        name = self._known_name(event)
        if event.task_id is not None and known:
            self._task(name, start_us).samples.append((ts_us, count, amount))
        elif event.task_id is not None and name in self.tasks:
            self.tasks[name].samples.append((ts_us, count, amount))
        else:
            self._single(start_us if known else ts_us, (ts_us, count, amount))

    def sign(self, ts_us: int, start_us: int) -> None:
        """A sign of life of the series, from work that began at `start_us`; those of one slot are counted together."""
        if start_us < self.effect_us:
            return
        seen = self.tasks.setdefault(f"sign/{ts_us // FINE_US}", Seen(ts_us, True, [(ts_us, 0, 0)]))
        at_us, count, amount = seen.samples[0]
        seen.samples[0] = (at_us, held(count + 1), amount)

    def lost(self, event: Event) -> None:
        """A task of the series is given up; `event` is its start."""
        self.tasks.pop(_name(event), None)

    def _task(self, name: str, start_us: int) -> Seen:
        """The task of that name, a new one where the old one ended and this one began at another time."""
        seen = self.tasks.get(name)
        # A start and an end may round the same instant differently; a second apart they are two.
        if seen is not None and seen.finished and abs(seen.start_us - start_us) > SECOND_US:
            self.tasks[f"{name}@{seen.start_us}"] = self.tasks.pop(name)
            seen = None
        if seen is None:
            seen = self.tasks[name] = Seen(start_us)
        return seen

    def _single(self, start_us: int, sample: tuple[int, int, int]) -> None:
        """A sample that stands for a whole task, since nothing says which one it is of."""
        number = len(self.tasks)
        while f"#{number}" in self.tasks:
            number += 1
        self.tasks[f"#{number}"] = Seen(start_us, True, [sample])

    def _known_name(self, event: Event) -> str:
        """The name under which the event's task is known; an event that says no attempt is of the newest one."""
        name = _name(event)
        if event.attempt is None:
            further = [other for other in self.tasks if other.startswith(f"{name}/") and "@" not in other]
            return further[-1] if further else name
        return name


def _name(event: Event) -> str:
    # Attempts are tasks of their own here: each starts, ends and yields its samples.
    task = msgspec.json.encode([event.agent, event.task_id]).decode()
    return task if event.attempt in (None, 1) else f"{task}/{event.attempt}"


class Taps(msgspec.Struct):
    """All taps: restarts by trigger and place, accumulators by verification."""

    restarts: dict[str, dict[int, Restart]] = {}
    accumulators: dict[str, Accumulator] = {}

    def measures(self, measures: Mapping[str, Measure]) -> set[str]:
        """The keys of the measures that some tap listens to; `measures` maps triggers to theirs."""
        keys = {accumulator.measure_key for accumulator in self.accumulators.values()}
        return keys | {measures[name].key for name, places in self.restarts.items() if places and name in measures}
