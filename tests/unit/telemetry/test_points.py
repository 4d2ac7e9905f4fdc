"""Metrics are signals: each measurement counts once, in the panes of its group, also when it is sent again."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.clock import SECOND_US
from self_healing.histograms import bucket_of
from self_healing.measures import MICRO, Measure, value_of
from self_healing.model import Event, Kind
from self_healing.spec import Spec, TriggerSpec
from self_healing.telemetry.differences import SERIES_MAX
from self_healing.telemetry.metric import POINT, MetricPoint
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.selftest import failures
from tests.unit.telemetry.fleet import START_S, Fleet, at_us, finished, trigger, unaccounted

NAME = "queue.wait"


def asking(aggregate: str, **changes: Any) -> TriggerSpec:
    return trigger(f"by_{aggregate}", f"metric.{NAME}", aggregate=aggregate, **changes)


ALL = tuple(asking(aggregate) for aggregate in ("sum", "count", "max", "min", "p50", "p99"))


class Metrics(Fleet):
    """A fleet that sends points of metrics as well."""

    def __init__(self, *triggers: TriggerSpec) -> None:
        super().__init__(triggers or ALL)

    def send(self, at: float, agent: str = "A", **point: Any) -> None:
        said = MetricPoint(name=point.pop("name", NAME), series=point.pop("series", agent), **point)
        handoff = "h" if agent == "Mender" else None
        event = Event(kind="metric", agent=agent, handoff_id=handoff, attributes={POINT: msgspec.to_builtins(said)})
        self.telemetry.account(1, {})
        self.telemetry.queue([event], np.array([Kind.METRIC], np.uint8), np.array([at_us(at)], np.int64))
        self.fold()

    def send_all(self, at: float, *points: dict[str, Any]) -> None:
        """Send points of one agent at once."""
        events = [Event(kind="metric", agent="A", attributes={POINT: point}) for point in points]
        kinds = np.full(len(events), Kind.METRIC, np.uint8)
        self.telemetry.account(len(events), {})
        self.telemetry.queue(events, kinds, np.full(len(events), at_us(at), np.int64))
        self.fold()

    def value(self, aggregate: str, agent: str = "A", at: float = 3600) -> float | None:
        asked = asking(aggregate)
        measure = Measure.of(asked)
        place = self.telemetry.place(("agent",), (("agent", agent),))
        if place is None:
            return None
        found = value_of(asked, self.telemetry.window(measure, asked.window * SECOND_US, at_us(at)))[place]
        return None if np.isnan(found) else float(found)


def total(sum_: float, started: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"temporality": "cumulative", "count": None, "sum": sum_, "started_at": START_S + started, **more}


def delta(sum_: float) -> dict[str, Any]:
    return {"count": None, "sum": sum_}


def test_points_of_sums_add_up_in_the_group_of_their_agent() -> None:
    fleet = Metrics()
    for at, agent, amount in ((1, "A", 2.0), (2, "B", 5.0), (3, "A", 0.5)):
        fleet.send(at, agent, **delta(amount))
    assert (fleet.value("sum"), fleet.value("count"), fleet.value("max")) == (2.5, 2.0, 2.0)
    assert fleet.value("sum", "B") == 5.0


def test_a_level_is_one_sample_each_time() -> None:
    fleet = Metrics()
    for at, level in ((1, 7.0), (2, -3.0), (3, 7.0)):
        fleet.send(at, temporality="instant", count=1, sum=level, min=level, max=level)
    assert (fleet.value("count"), fleet.value("min"), fleet.value("max")) == (3.0, -3.0, 7.0)
    assert fleet.value("p50") == pytest.approx(7.0, rel=0.022)


def test_a_cumulative_sum_counts_what_came_new_also_when_it_is_sent_again_or_its_sender_starts_anew() -> None:
    fleet = Metrics()
    fleet.send(0, "Other", **delta(1.0))
    for at, amount, started in ((10, 5.0, 1.0), (10, 5.0, 1.0), (20, 7.0, 1.0), (30, 2.0, 25.0), (40, 1.0, 25.0)):
        fleet.send(at, **total(amount, started))
    assert fleet.value("sum") == 5.0 + 2.0 + 2.0 + 1.0
    assert fleet.accounting.aggregated == 6
    assert unaccounted(fleet.accounting) == (0, 0)


def test_what_was_summed_up_before_a_trigger_asked_is_no_sample() -> None:
    unasked = Metrics(trigger("other", "task.duration_s"))
    unasked.send(10, **total(500.0))
    unasked.send(20, **total(501.0))
    asked = Metrics()
    asked.telemetry.restore([], _facts(unasked.telemetry))
    asked.send(30, **total(503.0))
    assert asked.value("sum") == 2.0


def _facts(telemetry: Telemetry) -> dict[str, Any]:
    packed = {name: msgspec.msgpack.encode(value) for name, value in telemetry.pack().facts.items()}
    return {name: msgspec.msgpack.decode(value) for name, value in packed.items()}


def test_points_of_more_series_than_there_is_place_for_are_dropped_and_health_says_so() -> None:
    fleet = Metrics()
    fleet.send(0, "Other", **delta(1.0))
    for at, first in ((10, 0), (20, SERIES_MAX - 10)):
        said = [{"name": NAME, "series": f"{each}", **total(float(at))} for each in range(first, SERIES_MAX + 2)]
        fleet.send_all(at, *said, {"name": "unasked", "series": "u", **total(1.0)})
    assert fleet.value("sum") == 10.0 * SERIES_MAX + 10.0 * 10
    assert fleet.accounting.dropped == {"too_many_series": 4}
    assert fleet.accounting.aggregated == 1 + SERIES_MAX + 10 + 2
    assert unaccounted(fleet.accounting) == (0, 0)
    (issue,) = fleet.telemetry.issues
    assert "TEMPORALITY_PREFERENCE=delta" in issue
    fleet.send(1000, series="0", **total(21.0))
    assert fleet.telemetry.issues == []


def test_a_restart_loses_nothing_of_panes_and_series() -> None:
    fleet = Metrics()
    fleet.send(0, "Other", **delta(1.0))
    fleet.send(10, **total(5.0))
    stored = fleet.telemetry.pack()
    facts = msgspec.msgpack.decode(msgspec.msgpack.encode(stored.facts))
    other = Metrics()
    other.telemetry.restore([(r["table_key"], r["level"], r["slot"], r["columns"]) for r in stored.panes], facts)
    other.send(20, **total(7.0))
    assert (other.value("sum"), other.value("count"), other.value("max")) == (7.0, 2.0, 5.0)


def test_metrics_never_add_to_what_tasks_used_and_other_metrics_not_to_this_one() -> None:
    fleet = Metrics(*ALL, trigger("tokens", "task.tokens"))
    fleet.take(finished(1, usage={"total_tokens": 10}))
    fleet.send(2, name="task.tokens", **delta(900.0))
    assert fleet.samples("task.tokens") == (1, 10)
    assert fleet.value("sum") is None


def test_metrics_of_repair_work_feed_no_trigger() -> None:
    fleet = Metrics()
    fleet.send(1, "Mender", **delta(900.0))
    assert fleet.value("sum", "Mender") is None
    assert fleet.accounting.aggregated == 1


@pytest.mark.parametrize("attributes", [None, {}, {POINT: 5}, {POINT: {"name": 3}}])
def test_an_event_without_a_point_that_can_be_used_is_aggregated_and_no_sample(attributes: dict[str, Any]) -> None:
    fleet = Metrics()
    fleet.telemetry.account(1, {})
    event = Event(kind="metric", agent="A", attributes=attributes)
    fleet.telemetry.queue([event], np.array([Kind.METRIC], np.uint8), np.array([at_us(1)], np.int64))
    fleet.fold()
    assert (fleet.value("sum"), fleet.accounting.aggregated) == (None, 1)


def test_only_points_with_the_values_that_a_trigger_asks_for_count() -> None:
    where = asking("p99", where={"agent": "B"})
    fleet = Metrics(where)
    for at, agent in ((1, "A"), (2, "B"), (3, "A")):
        fleet.send(at, agent, count=2, sum=6.0, scale=4, offset=25, buckets=(1, 1), min=2.9, max=3.1)
    found = fleet.telemetry.window(Measure.of(where), 3600 * SECOND_US, at_us(10))
    assert found.count.sum() == 2
    assert found.quantile(99)[fleet.telemetry.place(("agent",), (("agent", "B"),)) or 0] > 0


def exponential(amounts: list[int], scale: int) -> dict[str, Any]:
    """A histogram of these seconds."""
    width = 2.0**-scale
    indices = [int(np.ceil(np.log2(each) / width)) - 1 for each in amounts]
    offset = min(indices)
    buckets = [0] * (max(indices) - offset + 1)
    for index in indices:
        buckets[index - offset] += 1
    found = {"count": len(amounts), "sum": float(sum(amounts)), "scale": scale, "offset": offset}
    return found | {"buckets": tuple(buckets), "min": float(min(amounts)), "max": float(max(amounts))}


@given(st.lists(st.lists(st.integers(1, 5000), min_size=1, max_size=8), min_size=1, max_size=4), st.integers(4, 6))
def test_quantiles_of_merged_exponential_histograms_are_within_2_2_percent(
    batches: list[list[int]], scale: int
) -> None:
    fleet = Metrics()
    for at, amounts in enumerate(batches):
        fleet.send(at, **exponential(amounts, scale))
    everything = sorted(amount for amounts in batches for amount in amounts)
    assert (fleet.value("count"), fleet.value("sum")) == (len(everything), sum(everything))
    assert (fleet.value("min"), fleet.value("max")) == (everything[0], everything[-1])
    for percent in (50, 99):
        exact = everything[max(-(-len(everything) * percent // 100), 1) - 1]
        assert fleet.value(f"p{percent}") == pytest.approx(exact, rel=0.022)


@pytest.mark.parametrize("scale", [-10, -2, 0, 2, 3])
def test_a_coarser_histogram_counts_at_the_middle_of_its_buckets(scale: int) -> None:
    fleet = Metrics()
    fleet.send(1, **exponential([3, 3, 3], scale) | {"min": None, "max": None})
    base = 2.0 ** (2.0**-scale) if scale > -10 else float("inf")
    found = fleet.value("p50")
    assert found is not None
    assert base == float("inf") or 3 / base <= found <= 3 * base


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=8), st.integers(0, 3))
def test_of_a_coarser_histogram_all_but_quantiles_is_exact_and_those_are_off_by_half_a_bucket(
    amounts: list[int], scale: int
) -> None:
    fleet = Metrics()
    fleet.send(1, **exponential(amounts, scale))
    assert (fleet.value("count"), fleet.value("sum")) == (len(amounts), sum(amounts))
    assert (fleet.value("min"), fleet.value("max")) == (min(amounts), max(amounts))
    base = 2 ** (2.0**-scale)
    off = (base - 1) / (base + 1)  # 4.3 % at scale 3, 8.6 % at 2, 17.2 % at 1, 33.3 % at 0: what the docs say
    for percent in (50, 99):
        exact = sorted(amounts)[max(-(-len(amounts) * percent // 100), 1) - 1]
        assert abs((fleet.value(f"p{percent}") or 0) / exact - 1) <= (1 + off) * 1.022 - 1


def test_a_histogram_without_a_sum_amounts_to_what_its_buckets_do_and_one_without_either_is_no_sample() -> None:
    fleet = Metrics()
    fleet.send(1, **exponential([4, 100], 4) | {"sum": None})
    fleet.send(2, count=4)
    assert fleet.value("count") == 2
    assert fleet.value("sum") == pytest.approx(104, rel=0.022)
    assert unaccounted(fleet.accounting) == (0, 0)


def test_an_explicit_histogram_counts_within_its_bounds_and_extremes() -> None:
    fleet = Metrics()
    fleet.send(1, count=4, sum=30.0, bounds=(1.0, 10.0), buckets=(1, 2, 1), min=0.5, max=20.0)
    median = fleet.value("p50")
    assert median is not None
    assert 1.0 < median <= 10.0
    assert (fleet.value("sum"), fleet.value("min"), fleet.value("max")) == (30.0, 0.5, 20.0)
    assert 10.0 < (fleet.value("p99") or 0) <= 20.0


@pytest.mark.parametrize("bounds", [(1e307, 1.7e308), (-1.7e308, 1.7e308), (-1.7e308, -1e307)])
def test_bounds_at_the_end_of_what_a_float_holds_are_buckets_like_others(bounds: tuple[float, float]) -> None:
    fleet = Metrics()
    fleet.send(1, count=3, bounds=bounds, buckets=(1, 1, 1))
    assert fleet.value("count") == 3
    assert fleet.value("p50") is not None


def test_of_a_histogram_without_buckets_all_counts_at_the_mean() -> None:
    fleet = Metrics()
    fleet.send(1, count=4, sum=20.0)
    assert fleet.value("p99") == pytest.approx(5.0, rel=0.022)
    assert bucket_of(round((fleet.value("max") or 0) * MICRO)) == bucket_of(5 * MICRO)


@pytest.mark.parametrize("aggregate", ["count", "sum", "mean", "min", "max", "rate", "p95"])
@pytest.mark.parametrize("value", [10.0, -10.0])
def test_boundary_tests_of_triggers_on_metrics_pass(aggregate: str, value: float) -> None:
    condition = {"kind": "threshold", "op": ">=", "value": value}
    found = failures(Spec(triggers=(asking(aggregate, condition=condition),), actions=()))
    assert bool(found) == (value < 0 and aggregate in ("count", "rate"))
