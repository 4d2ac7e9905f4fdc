"""The same rules over the same samples in Prometheus and in this engine, one after the other on this machine.

Each trigger asks whether the mean of the last minute is at least so many times that of the three minutes before it, of
samples one second apart. In PromQL: ``avg_over_time(x[1m]) >= k * avg_over_time(x[3m] offset 1m)``. A few agents
meet every rule and no other meets one; both must say of exactly those that they fire, or the figures would not be of
the same work. What Prometheus takes it says itself, in ``prometheus_rule_group_last_duration_seconds``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

import numpy as np

from benchmarks.figure import Figure, tell
from benchmarks.prometheus import NotToBeHadError, Serving, Tools, serving, tools
from self_healing.measures import FINE_US, MICRO, Floats
from self_healing.model import Event, Kind, SeriesState, Severity
from self_healing.spec import Aggregate, Baseline, Spec, TriggerSpec, TriggerType
from self_healing.telemetry.telemetry import Telemetry
from self_healing.triggers.framework import TriggerFramework

WINDOW_S, BEFORE_S = 60, 180
SICK = 3
"""Agents whose values double each minute, so that the mean of one is 3.4 times that of the three before it."""

TICKS = 24
"""Evaluations of this engine, a second apart: two 10 s panes begin in them."""

INTERVAL_S = 5
Firing = set[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is evaluated.

    Args:
        triggers: how many rules.
        agents: how many series each has.
        runs: how often Prometheus evaluates, of which the quickest counts.
        ahead_s: for how long after the samples are begun to be written there are any.
    """

    triggers: int
    agents: int
    runs: int
    ahead_s: int


SMALL = Shape(triggers=20, agents=2_000, runs=3, ahead_s=90)
WHOLE = Shape(triggers=100, agents=10_000, runs=1, ahead_s=240)


class Samples:
    """One sample a second of each agent, from `begin_s` to before `end_s`, seconds since 1970."""

    def __init__(self, agents: int, begin_s: int, end_s: int) -> None:
        self.agents, self.begin_s, self.end_s = agents, begin_s, end_s
        self.names = [f"a{number}" for number in range(agents)]

    def at(self, second_s: int) -> Floats:
        """The values of all agents at a second."""
        values = 9.0 + (np.arange(self.agents) * 7919 + second_s * 6151) % 1000 / 100
        values[:SICK] = np.round(9.0 * 2.0 ** ((second_s - self.begin_s) / 60), 6)
        return values

    def write(self, out: TextIO) -> None:
        """All of them in the OpenMetrics format."""
        out.write("# TYPE x gauge\n")
        labels = [f'x{{agent="{name}"}} ' for name in self.names]
        for second_s in range(self.begin_s, self.end_s):
            values = self.at(second_s).tolist()
            out.writelines(f"{label}{value} {second_s}\n" for label, value in zip(labels, values, strict=True))
        out.write("# EOF\n")


def _times(number: int) -> float:
    """By how much the mean must have grown for a rule."""
    return 1.5 + number / 100


# -- Prometheus


def _rules(shape: Shape) -> str:
    window, before = f"avg_over_time(x[{WINDOW_S}s])", f"avg_over_time(x[{BEFORE_S}s] offset {WINDOW_S}s)"
    rules = "".join(
        f"  - alert: trigger_{number}\n    expr: {window} >= {_times(number)} * {before}\n"
        for number in range(shape.triggers)
    )
    return f"groups:\n- name: bench\n  interval: {INTERVAL_S}s\n  rules:\n{rules}"


# The blocks reach ahead of the clock; without a window for what is out of order no alert could be stored beside them.
CONFIG = "rule_files: [rules.yml]\nstorage: {tsdb: {out_of_order_time_window: 1h}}\n"


def _theirs(tools: Tools, shape: Shape, samples: Samples) -> tuple[float, int, Firing]:
    """Seconds of Prometheus's quickest evaluation; the instant of its last one, microseconds; and what fired in it."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        with (directory / "samples").open("w") as out:
            samples.write(out)
        create = [tools.promtool, "tsdb", "create-blocks-from", "openmetrics", "-q", "samples", "data"]
        subprocess.run(create, check=True, cwd=directory, stdout=subprocess.DEVNULL)
        (directory / "samples").unlink()
        (directory / "rules.yml").write_text(_rules(shape))
        with serving(tools, directory, CONFIG) as prometheus:
            took_s = [_next_s(prometheus, run) for run in range(1, shape.runs + 1)]
            t_us, firing = _fired(prometheus)
    if t_us > samples.end_s * MICRO:
        raise RuntimeError("Prometheus took so long that the samples were over; nothing was measured")
    return min(took_s), t_us, firing


def _next_s(prometheus: Serving, run: int) -> float:
    """How long its `run`-th evaluation took, once it is done."""
    while (prometheus.metric("prometheus_rule_group_iterations_total") or 0) < run:
        time.sleep(0.2)
    took_s = None
    while not took_s:
        took_s = prometheus.metric("prometheus_rule_group_last_duration_seconds")
        time.sleep(0.05)
    return took_s


def _fired(prometheus: Serving) -> tuple[int, Firing]:
    (group,) = prometheus.ask("rules")["groups"]
    at = datetime.fromisoformat(f"{group['lastEvaluation'][:19]}+00:00")
    alerts = {(rule["name"], alert["labels"]["agent"]) for rule in group["rules"] for alert in rule["alerts"]}
    return round(at.timestamp() * MICRO), alerts


# -- this engine


def _trigger(number: int) -> TriggerSpec:
    return TriggerSpec(
        name=f"trigger_{number}",
        type=TriggerType.CUSTOM,
        signal="task.duration_s",
        aggregate=Aggregate.MEAN,
        window=WINDOW_S,
        condition=Baseline(kind="baseline", ratio=_times(number), over=BEFORE_S),
        severity=Severity.LOW,
        target_agent="Nobody",
    )


def _ours(shape: Shape, samples: Samples, t_us: int) -> tuple[list[float], Firing]:
    """Seconds of each of some evaluations a second apart up to `t_us`, and what fired in the last one."""
    triggers = tuple(_trigger(number) for number in range(shape.triggers))
    telemetry = Telemetry(triggers)
    framework = TriggerFramework(Spec(triggers=triggers, actions=()), telemetry)
    last_s = t_us // MICRO
    took_s = []
    for second_s in range(samples.begin_s, last_s + 1):
        _feed(telemetry, samples, second_s)
        if second_s > last_s - TICKS:
            began = time.perf_counter()
            framework.evaluate(second_s * MICRO)
            took_s.append(time.perf_counter() - began)
    return took_s, set(_firing(framework, t_us))


def _feed(telemetry: Telemetry, samples: Samples, second_s: int) -> None:
    events = [
        Event(kind="task_finished", agent=name, task_id=name, attempt=1, status="success", duration_s=value)
        for name, value in zip(samples.names, samples.at(second_s).tolist(), strict=True)
    ]
    kinds = np.full(len(events), int(Kind.TASK_FINISHED), np.uint8)
    telemetry.queue(events, kinds, np.full(len(events), second_s * MICRO))
    telemetry.fold()


def _firing(framework: TriggerFramework, t_us: int) -> Iterator[tuple[str, str]]:
    for verdict in framework.verdicts(t_us):
        if verdict.state is SeriesState.FIRING:
            yield verdict.trigger, verdict.group[0][1]


# -- both


def compare(tools: Tools, shape: Shape) -> list[Figure]:
    """Both figures and their ratio. Raises RuntimeError where the two do not fire alike, or nothing was measured."""
    now_s = int(time.time())
    samples = Samples(shape.agents, now_s - WINDOW_S - BEFORE_S - 2 * FINE_US // MICRO, now_s + shape.ahead_s)
    theirs_s, t_us, alerts = _theirs(tools, shape, samples)
    ours, firing = _ours(shape, samples, t_us)
    if not alerts or alerts != firing:
        odd = sorted(alerts ^ firing)
        raise RuntimeError(f"Prometheus and this engine do not fire alike at {t_us}: {len(odd)}, such as {odd[:5]}")
    usual_s, longest_s = sorted(ours)[len(ours) // 2], max(ours)
    return [
        Figure(
            f"{shape.triggers} triggers x {shape.agents:,} series, 1m against 3m of one-second samples",
            f"{usual_s * 1000:.1f} ms, at most {longest_s * 1000:.1f} ms",
            f"Prometheus {tools.version()}: {theirs_s:.2f} s",
            "<= a hundredth",
            longest_s <= theirs_s / 100,
        ),
        Figure(
            "the ratio; both fire for the same series",
            f"1 : {theirs_s / usual_s:,.0f}, at least 1 : {theirs_s / longest_s:,.0f}",
            f"{len(firing):,} of {shape.triggers * shape.agents:,} fire",
            ">= 1 : 100",
            longest_s <= theirs_s / 100,
        ),
    ]


def main(arguments: list[str]) -> int:
    """Compare, and print it; 1, with what to do, where no Prometheus is to be had."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Prometheus beside this engine.")
    whole = f"{WHOLE.triggers} rules x {WHOLE.agents:,} series in place of {SMALL.triggers} x {SMALL.agents:,}; minutes"
    parser.add_argument("--whole", action="store_true", help=whole)
    shape = WHOLE if parser.parse_args(arguments).whole else SMALL
    try:
        programs = tools()
    except NotToBeHadError as error:
        print(f"bench-peers: {error}", file=sys.stderr)
        return 1
    tell(compare(programs, shape), "The same rules over the same samples")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
