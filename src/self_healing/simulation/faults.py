"""What can go wrong in the fleet, as data: what it does, which trigger should see it, and what makes it end.

The magnitudes are such that a trigger's whole window, which begins full of healthy samples, crosses its threshold
within six minutes, and that no other trigger's does. With an hour of one healthy task a minute before, and 4 to 6 of
them a minute since the start:

- cost: an hour's 70 tasks of 0.02 USD need 10 of 4 USD for a mean above 0.50, that is 2 minutes;
- tokens: a quarter of an hour's 22 tasks need 5 of 20 times the tokens for 4 times the mean, 1 minute;
- errors: the same 22 tasks need 6 failed ones for a fifth, 1 minute;
- tests: half an hour's 45 runs need 7 with 40 % failing for a twentieth, 1 to 2 minutes;
- durations: half an hour's 35 tasks need 7 of four times the length for 1.5 times the mean, 3 to 4 minutes, because
  each takes 47 s;
- one slow task is enough after 60 s, one third attempt after 30 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a fault does to each attempt that begins under it; what is None or 1 stays as it is.

    Args:
        duration_s: least and most an attempt takes.
        attempts: least and most attempts that a task needs; all but the last are canceled.
        failing: the share of attempts that fail, 0..1.
        token_factor: times the usual tokens, all the surplus in the output.
        price_factor: times the usual price of a token.
        failing_tests: least and most of the share of tests that fail in each run, 0..1.
        model: used instead of the agent's own.
    """

    duration_s: tuple[float, float] | None = None
    attempts: tuple[int, int] | None = None
    failing: float = 0.0
    token_factor: float = 1.0
    price_factor: float = 1.0
    failing_tests: tuple[float, float] | None = None
    model: str | None = None

    def with_(self, other: Effect) -> Effect:
        """Both at once: the worse of each, and factors multiplied."""
        tests = [each for each in (self.failing_tests, other.failing_tests) if each]
        return Effect(
            duration_s=max(filter(None, (self.duration_s, other.duration_s)), default=None),
            attempts=max(filter(None, (self.attempts, other.attempts)), default=None),
            failing=1 - (1 - self.failing) * (1 - other.failing),
            token_factor=self.token_factor * other.token_factor,
            price_factor=self.price_factor * other.price_factor,
            failing_tests=max(tests, default=None),
            model=other.model or self.model,
        )

    def worsened(self) -> Effect:
        """What is left of it when somebody who meant to repair it made it worse: about twice as much."""
        tests = self.failing_tests
        return replace(
            self,
            duration_s=self.duration_s and (2 * self.duration_s[0], 2 * self.duration_s[1]),
            attempts=self.attempts and (self.attempts[0] + 1, self.attempts[1] + 1),
            failing=min(2 * self.failing, 1.0),
            token_factor=2 * self.token_factor if self.token_factor > 1 else 1.0,
            price_factor=2 * self.price_factor if self.price_factor > 1 else 1.0,
            failing_tests=tests and (min(2 * tests[0], 1.0), min(2 * tests[1], 1.0)),
        )


NO_EFFECT = Effect()


class Repair(StrEnum):
    """What comes of the repair of a fault."""

    CURES = "cures"  # its cause is gone
    FAILS = "fails"  # the specialist fails the handoff
    MISTAKEN = "mistaken"  # the handoff is completed, and nothing is better
    WORSENS = "worsens"  # the handoff is completed, and the fault is worse


def combined(effects: Sequence[Effect]) -> Effect:
    """All of them at once; :data:`NO_EFFECT` itself when there are none."""
    return reduce(Effect.with_, effects) if effects else NO_EFFECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong with one agent.

    Args:
        name: unique.
        agent: which agent it befalls.
        trigger: which trigger should see it.
        repaired_by: the specialist who removes its cause by completing the handoff for that agent and trigger.
        starts_after_s: from the fleet's start.
        effect: what it does.
        relieved_by: directives under which the agent works as if well, the cause being there still. Caps on tokens
            and cost need no mention: an agent keeps to them anyway.
        repair_s: least and most that the repair takes.
        switches_to: the model that the repair gives the agent.
        repair: what comes of it.
        ends_after_s: from the fleet's start, when it goes away by itself; never when left out.
        share: of the agent's attempts that it befalls, 0..1.
    """

    name: str
    agent: str
    trigger: str
    repaired_by: str
    starts_after_s: float
    effect: Effect
    relieved_by: tuple[str, ...] = ()
    repair_s: tuple[float, float] = (60.0, 150.0)
    switches_to: str | None = None
    repair: Repair = Repair.CURES
    ends_after_s: float | None = None
    share: float = 1.0

    def relieved(self, directives: dict[str, Any]) -> bool:
        """Whether what is in force for the agent keeps the effect away."""
        return any(_demanding(name, directives.get(name)) for name in self.relieved_by)


def _demanding(name: str, value: Any) -> bool:
    return value == "strict" if name == "quality_gate" else value is not None


FAULTS = (
    Fault(
        name="duration_regression",
        agent="Refactorer",
        trigger="duration_increase",
        repaired_by="AuditorAgent",
        starts_after_s=60,
        effect=Effect(duration_s=(40.0, 54.0)),  # four times the usual, and no task slow enough for slow_tasks
        relieved_by=("max_concurrency", "timeout_s"),
    ),
    Fault(
        name="error_burst",
        agent="SupportBot",
        trigger="high_error_rate",
        repaired_by="TestGeneratorAgent",
        starts_after_s=90,
        effect=Effect(failing=0.9, duration_s=(4.0, 8.0)),
        repair_s=(240.0, 280.0),  # long enough for the pause to be seen, shorter than its five minutes of hold-off
    ),
    Fault(
        name="retry_storm",
        agent="Researcher",
        trigger="high_retry_rate",
        repaired_by="AuditorAgent",
        starts_after_s=120,
        effect=Effect(attempts=(3, 4)),
        relieved_by=("quality_gate",),
    ),
    Fault(
        name="token_leak",
        agent="Summarizer",
        trigger="token_usage_spike",
        repaired_by="ChiefArchitectAgent",
        starts_after_s=150,
        effect=Effect(token_factor=20),
    ),
    Fault(
        name="cost_drift",
        agent="DataAnalyst",
        trigger="cost_efficiency_degradation",
        repaired_by="PlannerAgent",
        starts_after_s=180,
        effect=Effect(price_factor=220, model="colossus-9"),
        relieved_by=("model",),
    ),
    Fault(
        name="failing_tests",
        agent="Tester",
        trigger="test_failure_spike",
        repaired_by="TestGeneratorAgent",
        starts_after_s=240,
        effect=Effect(failing_tests=(0.3, 0.5)),
        relieved_by=("quality_gate",),
    ),
    Fault(
        name="slow_model",
        agent="Coder",
        trigger="slow_tasks",
        repaired_by="ChiefArchitectAgent",
        starts_after_s=300,
        effect=Effect(duration_s=(80.0, 100.0)),
        # Three slow tasks would raise the mean enough for duration_increase too, so the repair comes after one or two.
        repair_s=(60.0, 80.0),
        switches_to="atlas-3",
    ),
)
"""One for each default trigger, each on an agent of its own, in the order in which they begin."""


def chosen(names: str) -> tuple[Fault, ...]:
    """The faults that ``all``, ``none`` or names with commas between stand for. Raises ValueError on other names."""
    if names in ("all", "none"):
        return FAULTS if names == "all" else ()
    wanted = [name.strip() for name in names.split(",")]
    known = {fault.name: fault for fault in FAULTS}
    for name in wanted:
        if name not in known:
            raise ValueError(f"no fault {name!r}; allowed are all, none, {', '.join(known)}")
    return tuple(known[name] for name in wanted)
