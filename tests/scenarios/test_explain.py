"""What is explained of the past is what the loop said then: recomputed from stored history, in random fleets."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from self_healing import views
from self_healing.clock import to_us
from self_healing.explaining.explain import Question, explain
from self_healing.explaining.telling import Json
from self_healing.model import Group, IncidentState, Verdict
from self_healing.testing import Scenario

AGENTS = ("Ada", "Bob")
SEEN = ("state", "since", "reason", "samples", "value", "threshold")
LENGTH_S = 600

TRIGGERS = """
[[trigger]]
name = "slow_tasks"
for = "20s"
clear = 40.0
keep_firing_for = "30s"

[[trigger]]
name = "duration_increase"
window = "2m"
condition = { kind = "baseline", ratio = 1.5, over = "15m", min_samples = 5 }

[[trigger]]
name = "high_error_rate"
window = "3m"
min_samples = 3

[[trigger]]
name = "few_tasks"
type = "custom"
signal = "task.duration_s"
aggregate = "count"
window = "1m"
condition = { kind = "threshold", op = "<", value = 2 }
severity = "low"
target_agent = "Helper"

[[trigger]]
name = "quiet"
type = "custom"
signal = "agent.events"
condition = { kind = "absence", silent_for = "50s" }
severity = "low"
target_agent = "Helper"

[[trigger]]
name = "slow_or_quiet"
type = "custom"
condition = { kind = "composite", any = ["slow_tasks", "quiet"] }
severity = "low"
target_agent = "Helper"

[[trigger]]
name = "getting_slower"
type = "custom"
signal = "task.duration_s"
aggregate = "mean"
window = "2m"
condition = { kind = "rate_of_change", value = 5 }
inhibited_by = ["high_error_rate"]
severity = "low"
target_agent = "Helper"
"""


def group(agent: str) -> Group:
    return (("agent", agent),)


def seen(verdict: Verdict) -> Json:
    told = views.verdict(verdict)
    return {name: told[name] for name in SEEN} | {"baseline": verdict.baseline}


def explained(fleet: Scenario, trigger: str, agent: str, seconds: float) -> Json:
    """What is explained of a series at that many seconds, from what is stored now."""
    at = fleet.start_at + timedelta(seconds=seconds)
    question = Question(trigger=trigger, keys={"agent": agent}, at=at, span=timedelta(seconds=1))
    answer = explain(fleet.settings, question, now=fleet.clock.now(), ask=never)
    assert len(answer["series"]) == 1, answer["why_none"]
    (told,) = answer["series"]
    return {name: told[name] for name in SEEN} | {"baseline": (told["baseline"] or {"value": None})["value"]}


def never(command: str, _arguments: Json) -> Json:
    raise AssertionError(f"the engine was asked for {command}, though all of it is stored")


@settings(max_examples=4, deadline=None, phases=(Phase.explicit, Phase.generate))  # to shrink takes minutes
@given(
    seed=st.integers(0, 10_000),
    mode=st.sampled_from(["act", "observe"]),
    instants=st.lists(st.integers(1, LENGTH_S), min_size=2, max_size=5, unique=True),
    persons=st.lists(st.sampled_from(["silence", "dismiss"]), max_size=2),
)
@example(seed=3336, mode="act", instants=[318], persons=["dismiss"])  # right after what is said at that instant
def test_the_past_is_explained_as_it_was_said(seed: int, mode: str, instants: list[int], persons: list[str]) -> None:
    with TemporaryDirectory() as directory:
        (Path(directory) / "triggers.toml").write_text(TRIGGERS)
        given_settings = {"actions": {"mode": mode}, "triggers": {"files": [Path(directory) / "triggers.toml"]}}
        with Scenario(Path(directory), step_s=5, settings=given_settings) as fleet:
            said = history(fleet, seed, instants, persons)
            fleet.at(LENGTH_S + 120)
            for (trigger, agent, seconds), verdict in said.items():
                assert explained(fleet, trigger, agent, seconds) == verdict, (trigger, agent, seconds)


def history(fleet: Scenario, seed: int, instants: list[int], persons: list[str]) -> dict[tuple[str, str, int], Json]:
    """What the loop said at those instants, of each series that it knew."""
    dice = random.Random(seed)
    said: dict[tuple[str, str, int], Json] = {}
    for seconds in sorted(instants):
        work(fleet, dice, seconds)
        fleet.handoffs("nobody")  # which looks at this instant
        at_us = to_us(fleet.clock.now())
        for verdict in fleet.loop.framework.verdicts(at_us):
            said[verdict.trigger, verdict.group[0][1], seconds] = seen(verdict)
        if persons:
            told_by_a_person(fleet, persons.pop())
    return said


def work(fleet: Scenario, dice: random.Random, until_s: int) -> None:
    """Two agents at work, now and then in trouble, until that second."""
    fleet.at(fleet.now_s + 1)  # what is written at an instant that was looked at comes late
    while fleet.now_s < until_s:
        ill = dice.random() < 0.3
        fleet.finish(
            f"t{fleet.now_s}",
            dice.choice(AGENTS),
            status=dice.choice(["success", "failed"] if ill else ["success"]),
            duration_s=round(dice.uniform(30, 90) if ill else dice.uniform(1, 10), 3),
        )
        if dice.random() < 0.05:
            fleet.start(f"r{fleet.now_s}", dice.choice(AGENTS))
        fleet.at(min(fleet.now_s + dice.choice([1, 3, 10, 40]), until_s))


def told_by_a_person(fleet: Scenario, what: str) -> None:
    fleet.at(fleet.now_s + 0.5)  # at no instant of the grid, as people do
    if what == "silence":
        fleet.loop.silence("slow_tasks", {"agent": "Ada"}, timedelta(minutes=5), "ada", "a test")
    for incident in list(fleet.loop.register.open.values()):
        if what == "dismiss" and incident.state is not IncidentState.CLOSED and incident.id in fleet.loop.register.open:
            fleet.loop.dismiss(incident.id, "ada", "none")
