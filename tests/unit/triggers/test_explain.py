"""Why a verdict is what it is, in words; and what would make the series fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from self_healing.model import Muted, Reason, SeriesState, Verdict
from self_healing.spec import TriggerSpec
from self_healing.triggers.explain import Case, to_fire, until, why
from self_healing.triggers.grounds import Behind, Grounds

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)

FIRING, PENDING, RECOVERING, INACTIVE = (
    SeriesState.FIRING,
    SeriesState.PENDING,
    SeriesState.RECOVERING,
    SeriesState.INACTIVE,
)


def trigger(**fields: Any) -> TriggerSpec:
    given = {
        "name": "errors",
        "type": "custom",
        "signal": "task.errors",
        "aggregate": "ratio",
        "window": "15m",
        "condition": {"kind": "threshold", "op": ">=", "value": 0.2},
        "clear": 0.1,
        "for": "5m",
        "min_samples": 10,
        "severity": "low",
        "target_agent": "Helper",
    }
    return TriggerSpec.model_validate(given | fields)


def on_baseline(**fields: Any) -> TriggerSpec:
    condition = {"kind": "baseline", "ratio": 4, "min_samples": 20}
    given = {"signal": "task.tokens", "aggregate": "mean", "condition": condition, "clear": None}
    return trigger(**given | fields)


def on_change(**fields: Any) -> TriggerSpec:
    given = {"signal": "task.duration_s", "aggregate": "mean", "condition": {"kind": "rate_of_change", "value": 20}}
    return trigger(**given | {"clear": None} | fields)


def on_few() -> TriggerSpec:
    few = {"kind": "threshold", "op": "<", "value": 5}
    return trigger(signal="task.duration_s", aggregate="count", condition=few, clear=None)


def on_no_sample(**fields: Any) -> TriggerSpec:
    given = trigger().model_dump(mode="json", include={"name", "type", "severity", "target_agent"})
    return TriggerSpec.model_validate(given | fields)


def muted(why: Reason) -> Muted:
    return Muted(why=why, what="something", by="ada", until=AT, text="a migration")


def case(
    spec: TriggerSpec,
    reason: Reason,
    state: SeriesState = INACTIVE,
    *,
    unit: str = "%",
    behind: Behind | None = None,
    since_s: float = 60.0,
    **figures: Any,
) -> Case:
    verdict = Verdict(
        trigger=spec.name,
        group=(("agent", "Coder"),),
        at=AT,
        state=state,
        reason=reason,
        since=AT - timedelta(seconds=since_s),
        **{"samples": 20, "value": 0.15, "threshold": 0.2} | figures,
    )
    return Case(trigger=spec, unit=unit, verdict=verdict, grounds=Grounds(behind=behind))


ON_SILENCE = on_no_sample(signal="agent.events", condition={"kind": "absence", "silent_for": 600})
ON_OTHERS = on_no_sample(condition={"kind": "composite", "all": ["slow", "dear"]})
TOKENS: dict[str, Any] = {"unit": "tokens", "value": 900.0, "threshold": None}

SAID = [
    (case(trigger(), Reason.CONDITION_MET, FIRING, value=0.25), "fires: ratio task.errors is 25 %, >= 20 %"),
    (case(trigger(), Reason.BELOW_THRESHOLD), "quiet: ratio task.errors is 15 %; it fires at >= 20 %"),
    (
        case(trigger(), Reason.PENDING, PENDING, value=0.25),
        "not yet: ratio task.errors is 25 %, >= 20 %, but it has to hold for 5m; it fires in 4m, at 10:04:00, if that"
        " holds",
    ),
    (
        case(trigger(), Reason.NOT_CLEARED, FIRING),
        "still fires: ratio task.errors is 15 %, no longer >= 20 %, but it recovers only below 10 %",
    ),
    (
        case(trigger(), Reason.RECOVERING, RECOVERING, value=0.05, since_s=20),
        "recovers: ratio task.errors is 5 %, which is well; it is inactive in 40s, at 10:00:40, if that holds",
    ),
    (
        case(trigger(), Reason.TOO_FEW_SAMPLES, samples=7),
        "silent because: 7 samples within 15m, 10 needed",
    ),
    (
        case(trigger(), Reason.TOO_FEW_SAMPLES, FIRING, samples=1),
        "still fires (no_data is keep): 1 sample within 15m, 10 needed",
    ),
    (
        case(trigger(no_data="clear"), Reason.NO_DATA, RECOVERING, samples=0, value=None),
        "recovers (no_data is clear): not one sample within 15m",
    ),
    (
        case(trigger(), Reason.NO_DATA, RECOVERING, samples=0, value=None),
        "stays recovering (no_data is keep): not one sample within 15m",
    ),
    (
        case(on_few(), Reason.NO_DATA, samples=0, value=0.0),
        "silent because: not one sample within 15m; that counts as 0 for a series that once had some",
    ),
    (
        case(ON_SILENCE, Reason.NO_DATA, samples=0, value=None),
        "silent because: no agent.events that counts within 24h, after which none is expected any more",
    ),
    (
        case(ON_OTHERS, Reason.NO_DATA, samples=0, value=None),
        "silent because: none of slow, dear has a sample, or fires",
    ),
    (
        case(trigger(), Reason.NO_DATA, samples=0, value=None),
        "silent because: not one sample within 15m",
    ),
    (
        case(on_baseline(), Reason.NO_BASELINE, behind=Behind(samples=7, frozen=False), **TOKENS),
        "silent because: mean task.tokens is 900 tokens, and its baseline has 7 samples in the 24h before its window,"
        " 20 needed",
    ),
    (
        case(on_baseline(), Reason.NO_BASELINE, behind=Behind(samples=70, frozen=False), **TOKENS),
        "silent because: mean task.tokens is 900 tokens, and its baseline is 0: nothing is a multiple of that",
    ),
    (
        case(trigger(), Reason.FLAPPING, RECOVERING, value=0.05, flapping=True),
        "flaps: it began to fire 4 times within 1h, so it rests before it is over: ratio task.errors is 5 %; it is"
        " inactive in 14m, at 10:14:00, if that holds",
    ),
    *(
        (
            case(trigger(), reason, FIRING, value=0.25, muted=muted(reason)),
            f"muted, {reason} by something until 2026-01-05 10:00:00: a migration; it opens no incident; beneath that"
            " it is firing: ratio task.errors is 25 %, and it fires at >= 20 %",
        )
        for reason in (Reason.SILENCED, Reason.MAINTENANCE, Reason.INHIBITED, Reason.WARMING_UP)
    ),
    (
        case(on_change(), Reason.BELOW_THRESHOLD, unit="s", value=2.0),
        "quiet: the change of mean task.duration_s is 2s; it fires at >= 20s per 1m",
    ),
    (
        case(on_change(), Reason.NO_BASELINE, unit="s", behind=Behind(samples=7, frozen=False)),
        "silent because: 7 samples in the window before it, 10 needed to see a change",
    ),
    (case(trigger(), Reason.DISABLED), "off: `self-healing triggers enable errors` switches it on"),
]


@pytest.mark.parametrize(
    ("seen", "words"), SAID, ids=lambda each: each.verdict.reason if isinstance(each, Case) else ""
)
def test_a_reason_is_said_with_its_figures(seen: Case, words: str) -> None:
    assert why(seen) == words


def test_there_are_words_for_every_reason() -> None:
    assert {seen.verdict.reason for seen, _ in SAID} == set(Reason)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (case(trigger(), Reason.CONDITION_MET, FIRING), None),
        (case(trigger(), Reason.DISABLED), None),
        (case(trigger(), Reason.PENDING, PENDING), "the same value until 10:04:00"),
        (
            case(trigger(**{"for": 0}), Reason.TOO_FEW_SAMPLES, samples=7, value=0.0),
            "3 more samples within 15m, ratio task.errors >= 20 %: 2 more that go wrong, with none that goes well"
            " between, do it",
        ),
        # 3 of 20 went wrong; with 1 more 4 of 21, with 2 more 5 of 22.
        (
            case(trigger(), Reason.BELOW_THRESHOLD),
            "ratio task.errors >= 20 %: 2 more that go wrong, with none that goes well between, do it, for 5m on end",
        ),
        (
            case(trigger(), Reason.RECOVERING, RECOVERING),
            "ratio task.errors >= 20 %: 2 more that go wrong, with none that goes well between, do it",
        ),
        (
            case(trigger(signal="task.duration_s", aggregate="max", **{"for": 0}), Reason.BELOW_THRESHOLD, unit="s"),
            "one task.duration_s >= 0.2s",
        ),
        (
            case(on_baseline(**{"for": 0}), Reason.NO_BASELINE, behind=Behind(samples=7, frozen=False), **TOKENS),
            "13 more in the 24h before, mean task.tokens >= 4x the baseline",
        ),
    ],
)
def test_what_would_make_it_fire_is_said(seen: Case, words: str | None) -> None:
    assert to_fire(seen) == words


@pytest.mark.parametrize(
    ("op", "wrong", "more"), [(">=", 4, None), (">=", 3, 2), (">", 4, 1), (">", 3, 2), (">=", 0, 5), (">", 0, 6)]
)
def test_so_many_more_that_go_wrong_reach_the_threshold_and_one_fewer_do_not(
    op: str, wrong: int, more: int | None
) -> None:
    spec = trigger(condition={"kind": "threshold", "op": op, "value": 0.2}, clear=None, **{"for": 0})
    words = to_fire(case(spec, Reason.BELOW_THRESHOLD, value=wrong / 20))
    assert words == f"ratio task.errors {op} 20 %" + (
        "" if more is None else f": {more} more that go wrong, with none that goes well between, do it"
    )


def test_only_what_waits_has_a_timer() -> None:
    assert until(case(trigger(), Reason.PENDING, PENDING)) == AT + timedelta(minutes=4)
    assert until(case(trigger(), Reason.RECOVERING, RECOVERING)) == AT
    assert until(case(trigger(no_data="clear"), Reason.NO_DATA, RECOVERING, samples=0)) == AT
    assert until(case(trigger(), Reason.NO_DATA, RECOVERING, samples=0)) is None
    assert until(case(trigger(), Reason.SILENCED, RECOVERING, samples=0, value=None)) is None
    assert until(case(trigger(), Reason.BELOW_THRESHOLD)) is None
    assert until(case(trigger(), Reason.DISABLED, PENDING)) is None


def test_a_timer_that_ran_out_while_there_is_too_little_to_judge_by_says_so() -> None:
    waits = case(trigger(), Reason.RECOVERING, RECOVERING, since_s=100)
    assert why(waits) == "recovers: ratio task.errors is 15 %, which is well; it is inactive at the next look"
