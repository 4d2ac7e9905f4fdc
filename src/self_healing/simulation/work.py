"""What an attempt at a task turns out like: usual, under a fault, within what the directives allow."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from self_healing.simulation.agents import USD_PER_TOKEN, Profile
from self_healing.simulation.faults import NO_EFFECT, Effect

DURATION_SIGMA = 0.25  # nineteen in twenty tasks take 0.6 to 1.6 times the median
DURATION_MIN_S = 6.0  # longer than the time to the first heartbeat
DURATION_MAX_S = 40.0  # well below the minute from which a task is slow
TOKENS_SIGMA = 0.15
PROMPT_SHARE = 0.7  # of the tokens; so half the usual total is ample for output
COST_MARGIN = 0.9  # an agent under max_cost_usd plans to stay this far within it


@dataclass(slots=True)
class Attempt:
    """How one attempt goes; times and amounts are those that its telemetry will show."""

    duration_ms: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    tests: int
    failing_tests: int
    model: str
    status: str = "success"
    error_type: str | None = None


class Rare:
    """Something that goes wrong once in a while, but never twice in a short time.

    Chance alone would now and then put three failures among ten tasks, which is rightly an incident; a healthy fleet
    has to be healthy for certain.

    Args:
        mean: once in so many times on average.
        apart: so many times at least lie between two.
    """

    def __init__(self, rng: Random, *, mean: int, apart: int) -> None:
        self._rng = rng
        self._surplus = mean - apart
        self._apart = apart
        self.restart()

    def restart(self) -> None:
        """As if it had just happened."""
        self._left = self._apart + round(self._rng.expovariate(1 / self._surplus))

    def happens(self) -> bool:
        """Whether it happens this time."""
        self._left -= 1
        if self._left >= 0:
            return False
        self.restart()
        return True


class Worker:
    """One product agent: draws its attempts, each agent from random numbers of its own.

    So what befalls one agent changes nothing for another.

    Args:
        profile: how it works while well.
        seed: of the whole fleet.
    """

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self.name = profile.name
        self.model = profile.model
        self.running = 0
        self.rng = Random(f"{seed}:{profile.name}")
        self._failures = Rare(self.rng, mean=100, apart=60)
        self._test_failures = Rare(self.rng, mean=17, apart=8)  # of runs, one test each: 0.3 % of the tests

    def idle_ms(self) -> int:
        """How long a slot waits before its next task."""
        return round(self.rng.uniform(*self.profile.idle_s) * 1000)

    def recover(self, switch_to: str | None = None) -> None:
        """A cause was removed: nothing that goes wrong by chance shall look like it at once."""
        self.model = switch_to or self.model
        self._failures.restart()
        self._test_failures.restart()

    def attempt(self, effect: Effect = NO_EFFECT) -> Attempt:
        """The next attempt, as `effect` makes it."""
        work = self._usual()
        if effect is not NO_EFFECT:
            self._afflict(work, effect)
        elif self._failures.happens():
            self._fail(work, "UpstreamError")
        elif self._test_failures.happens():
            work.failing_tests = 1
        return work

    def _usual(self) -> Attempt:
        rng, profile = self.rng, self.profile
        duration_s = profile.duration_s * rng.lognormvariate(0, DURATION_SIGMA)
        tokens = round(profile.tokens * rng.lognormvariate(0, TOKENS_SIGMA))
        prompt = round(tokens * PROMPT_SHARE)
        return Attempt(
            duration_ms=round(min(max(duration_s, DURATION_MIN_S), DURATION_MAX_S) * 1000),
            prompt_tokens=prompt,
            completion_tokens=tokens - prompt,
            cost_usd=tokens * USD_PER_TOKEN,
            tests=20 + int(rng.random() * 5),  # at least 20, so that one failing test is never over 5 %
            failing_tests=0,
            model=self.model,
        )

    def _afflict(self, work: Attempt, effect: Effect) -> None:
        if effect.duration_s:
            work.duration_ms = round(self.rng.uniform(*effect.duration_s) * 1000)
        if self.rng.random() < effect.failing:
            self._fail(work, "ToolSchemaError")
        if effect.failing_tests:
            work.failing_tests = round(work.tests * self.rng.uniform(*effect.failing_tests))
        tokens = work.prompt_tokens + work.completion_tokens
        work.completion_tokens += round(tokens * (effect.token_factor - 1))
        work.cost_usd *= effect.token_factor * effect.price_factor
        work.model = effect.model or work.model

    @staticmethod
    def _fail(work: Attempt, error_type: str) -> None:
        work.status = "failed"
        work.error_type = error_type


def cancel(work: Attempt, rng: Random) -> None:
    """Make `work` one that is given up soon, to be tried again."""
    work.status = "canceled"
    work.error_type = "InputRejected"
    work.duration_ms = round(rng.uniform(5.5, 8.0) * 1000)


def keep_within(work: Attempt, directives: dict[str, Any]) -> None:
    """Hold `work` to what is in force for its agent."""
    usual = work.prompt_tokens + work.completion_tokens
    if "max_output_tokens" in directives:
        work.completion_tokens = min(work.completion_tokens, directives["max_output_tokens"])
    if "token_budget" in directives:
        work.prompt_tokens = min(work.prompt_tokens, directives["token_budget"])
        work.completion_tokens = min(work.completion_tokens, directives["token_budget"] - work.prompt_tokens)
    if "timeout_s" in directives:
        work.duration_ms = min(work.duration_ms, round(directives["timeout_s"] * 1000))
    work.model = directives.get("model", work.model)
    work.cost_usd *= (work.prompt_tokens + work.completion_tokens) / usual
    if "max_cost_usd" in directives:
        work.cost_usd = min(work.cost_usd, COST_MARGIN * directives["max_cost_usd"])
