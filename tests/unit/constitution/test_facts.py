"""Facts worked out from records: each limit is met at its very value, and nothing unknown passes for known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from self_healing.constitution.approvals import Answer
from self_healing.constitution.circumstances import Fleet
from self_healing.constitution.effects import Effects
from self_healing.constitution.facts import Facts
from self_healing.model import ExecutionStatus, IncidentState, Outcome, Result, SeriesState
from self_healing.spec import NoData, Spec
from tests.unit.constitution.fine import (
    AGENTS,
    FINE,
    NOW,
    SPEC,
    ago,
    decided,
    directive,
    execution,
    gathered,
    held,
    incident,
    lesson,
    limits,
    proposal,
    verdict,
)


def with_limits(**changes: Any) -> Spec:
    return Spec(triggers=SPEC.triggers, actions=SPEC.actions, limits=limits(**changes))


def with_trigger(**changes: Any) -> Spec:
    return Spec(triggers=(SPEC.triggers[0].model_copy(update=changes),), actions=SPEC.actions)


def test_every_kind_of_action_is_allowed_when_all_is_fine() -> None:
    for action in ("pause", "budget", "ask", "look"):
        assert decided(gathered(proposal(action))).outcome is Outcome.ALLOW, action


@pytest.mark.parametrize("value", [None, 1.0, "5", 3])
def test_a_fact_of_another_type_than_its_own_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="fact stopped"):
        msgspec.structs.replace(FINE, stopped=value)


def test_a_yes_is_no_number() -> None:
    with pytest.raises(TypeError, match="fact samples is True"):
        msgspec.structs.replace(FINE, samples=True)


def test_a_fact_that_is_left_out_is_refused() -> None:
    values = msgspec.structs.asdict(FINE)
    del values["demoted"]
    with pytest.raises(TypeError, match="demoted"):
        Facts(**values)


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        ("evidence_missing", {"incident": incident(value=None)}),
        ("evidence_missing", {"evidence": []}),
        ("too_few_samples", {"verdict": verdict(samples=2)}),
        ("telemetry_stale", {"ingest_lag_s": 60.001}),
        ("events_in_flight", {"oldest_in_flight_s": 60.001}),
        ("spec_tests_not_passed", {"tested_version": "another"}),
        ("spec_tests_not_passed", {"tested_version": None}),
        ("decision_not_recorded", {"decision_recorded": False}),
        ("stopped", {"stopped": True}),
        ("cannot_be_undone", {"proposed": proposal("erase")}),
        ("one_signal_alone", {"proposed": proposal("erase"), "agreeing": lambda _: 1}),
        ("not_approved", {"answer": Answer.NO}),
        ("attempts_of_incident", {"incident": incident(attempts=3)}),
        ("plan_version_outdated", {"incident": incident(plan_version="plan-2")}),
        ("condition_no_longer_met", {"verdict": verdict(state=SeriesState.RECOVERING)}),
        ("condition_no_longer_met", {"verdict": verdict(trigger="another")}),
        ("condition_no_longer_met", {"verdict": verdict(group=(("agent", "Another"),))}),
        ("condition_no_longer_met", {"incident": incident(state=IncidentState.CLOSED)}),
        ("action_not_in_plan", {"incident": incident(plan=("ask", "pause"))}),
        ("action_not_in_plan", {"incident": incident(plan=())}),
        ("step_not_for_it", {"step_is_for": lambda _incident, action: action != "pause"}),
    ],
)
def test_one_thing_amiss_is_what_is_held_against_the_proposal(policy: str, changes: dict[str, Any]) -> None:
    assert held(gathered(**changes)) == [policy]


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": verdict(samples=3)},
        {"ingest_lag_s": 60.0, "oldest_in_flight_s": 60.0},
        {"incident": incident(attempts=2)},
        {"proposed": proposal("erase"), "answer": Answer.YES},
        {"agreeing": lambda _: 1},
    ],
)
def test_exactly_at_what_is_needed_nothing_is_held_against_it(changes: dict[str, Any]) -> None:
    assert held(gathered(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "policies"),
    [
        ({"settings": {"paused": False}}, ["parameters_not_from_spec"]),
        ({"probation": {}}, ["parameters_not_from_spec"]),
        ({"probation": {"max_concurrency": 9}}, ["parameters_not_from_spec"]),
        ({"settings": {"paused": 1}}, ["parameters_not_from_spec"]),
        ({"settings": {"paused": True, "model": "m"}}, ["parameters_not_from_spec"]),
        ({"action_type": "agent_handoff"}, ["parameters_not_from_spec"]),
        ({"target": "a1"}, ["parameters_not_from_spec"]),
        ({"group": (("agent", "a1"),)}, ["parameters_not_from_spec"]),
        ({"spec_version": "another"}, ["spec_version_outdated"]),
        ({"step": 1}, ["action_not_in_plan"]),
        ({"step": -3}, ["action_not_in_plan"]),
        ({"target_agent": "Coder"}, ["handoff_to_itself"]),
        ({"exempt_from_attempts": True}, []),
    ],
)
def test_a_proposal_of_other_parameters_than_the_spec_yields_is_held_up(
    changes: dict[str, Any], policies: list[str]
) -> None:
    assert held(gathered(proposal(**changes))) == policies


PROBATION = {"max_concurrency": 1}


@pytest.mark.parametrize(
    ("settings", "policies"),
    [
        (PROBATION, []),
        ({"paused": True}, []),
        ({"paused": True, **PROBATION}, []),
        ({}, ["parameters_not_from_spec"]),
        ({"max_concurrency": 2}, ["parameters_not_from_spec"]),
        ({"max_concurrency": True}, ["parameters_not_from_spec"]),
        ({"model": "m"}, ["parameters_not_from_spec"]),
    ],
)
def test_only_what_the_first_decision_declared_is_set_once_more(settings: dict[str, Any], policies: list[str]) -> None:
    again = proposal(settings=settings, probation={}, renews="dec-1")
    assert held(gathered(again, renewed=proposal())) == policies
    assert held(gathered(again, renewed=None)) == ["parameters_not_from_spec"]
    assert held(gathered(again, renewed=proposal(incident="inc-2"))) == ["parameters_not_from_spec"]


def test_what_the_loaded_spec_no_longer_says_is_not_set_once_more() -> None:
    again = proposal("budget", settings={"token_budget": 90}, renews="dec-1")
    assert held(gathered(again, renewed=proposal("budget", settings={"token_budget": 90}))) == [
        "parameters_not_from_spec"
    ]


def test_an_agent_on_probation_keeps_its_place_in_the_blast_radius() -> None:
    probing = [directive(agent, "max_concurrency", kind="emergency_shutdown") for agent in ("a1", "a2")]
    assert held(gathered(directives=tuple(probing))) == ["blast_radius"]
    assert held(gathered(proposal("budget"), directives=tuple(probing))) == []


def test_an_action_that_is_not_declared_is_held_up_by_all_that_needs_a_declaration() -> None:
    assert held(gathered(msgspec.structs.replace(proposal(), action="format_disk"))) == [
        "no_verification_plan",
        "one_signal_alone",
        "action_not_in_plan",
        "action_not_in_spec",
        "parameters_not_from_spec",
    ]


def test_a_trigger_that_is_not_declared_is_held_up() -> None:
    found = held(
        gathered(proposal(trigger="moods"), incident=incident(trigger="moods"), verdict=verdict(trigger="moods"))
    )
    assert found == ["no_verification_plan", "action_not_in_plan", "trigger_not_in_spec"]


@pytest.mark.parametrize("found", [None, incident(id="inc-2")])
def test_an_incident_that_is_not_on_record_is_held_up(found: Any) -> None:
    assert "incident_not_on_record" in held(gathered(incident=found))


def test_a_plan_that_a_reload_took_the_action_out_of_is_not_carried_out() -> None:
    spec = with_trigger(actions=("ask",))
    facts = gathered(proposal(spec_version=spec.version), spec=spec, tested_version=spec.version)
    assert held(facts) == ["action_not_in_plan"]


def test_silence_needs_neither_samples_nor_a_value_where_it_is_the_symptom() -> None:
    spec = with_trigger(no_data=NoData.FIRE)
    facts = gathered(
        proposal(spec_version=spec.version),
        spec=spec,
        tested_version=spec.version,
        incident=incident(value=None),
        verdict=verdict(samples=0),
    )
    assert held(facts) == []


# --- rate, concurrency, cool-down


@pytest.mark.parametrize(
    ("oldest_s", "expected"),
    [(59.999, ["rate_limit"]), (60, [])],
)
def test_the_rate_counts_the_effects_of_the_last_minute(oldest_s: float, expected: list[str]) -> None:
    recent = [execution(number, ago(number), target=f"b{number}") for number in range(5)]
    effects = Effects([*recent, execution(9, ago(oldest_s), target="b9")])
    assert held(gathered(effects=effects)) == expected


def test_effects_dated_in_the_future_by_a_clock_set_back_still_count() -> None:
    effects = Effects([execution(number, ago(-3600), target=f"b{number}") for number in range(6)])
    assert held(gathered(effects=effects)) == ["rate_limit"]


def test_what_had_no_effect_is_not_counted() -> None:
    idle = (
        ExecutionStatus.DENIED,
        ExecutionStatus.DEFERRED,
        ExecutionStatus.AWAITING_APPROVAL,
        ExecutionStatus.WOULD,
    )
    executions = [
        execution(number, NOW, status=idle[number % 4], target="Coder", action="pause") for number in range(20)
    ]
    facts = gathered(effects=Effects(executions))
    assert held(facts) == []
    assert facts.attempts_on_target_today == 0


@pytest.mark.parametrize(("unwell", "limit"), [(10, 6), (11, 2)])
def test_fewer_actions_a_minute_when_more_than_half_of_the_fleet_is_unwell(unwell: int, limit: int) -> None:
    # Each with another trigger, so that the fleet stop has no part in it.
    fleet = Fleet.of(AGENTS, [incident(agent=agent, trigger=f"t{agent}") for agent in AGENTS[:unwell]])
    assert gathered(fleet=fleet).actions_per_minute_limit == limit


def test_an_unwell_fleet_never_gets_more_than_a_well_one() -> None:
    fleet = Fleet(size=1, unwell=1, unwell_with_one_cause=1)
    spec = with_limits(actions_per_minute=1, actions_per_minute_unwell=9)
    assert gathered(fleet=fleet, spec=spec).actions_per_minute_limit == 1


def test_a_slot_is_held_from_intent_to_outcome() -> None:
    running = [execution(number, ago(100), status=ExecutionStatus.INTENDED) for number in range(5)]
    effects = Effects(running)
    assert held(gathered(effects=effects)) == ["concurrency_limit"]
    effects.add(msgspec.structs.replace(running[0], status=ExecutionStatus.DISPATCHED))
    assert held(gathered(effects=effects)) == []
    effects.add(execution(9, ago(100), status=ExecutionStatus.INTENDED, target="Coder", action="look"))
    assert "target_busy" in held(gathered(effects=effects))


@pytest.mark.parametrize(("concurrent", "limit"), [(None, 5), (2, 2), (9, 5)])
def test_an_action_says_how_many_of_it_may_be_under_way_and_never_more_than_of_all(
    concurrent: int | None, limit: int
) -> None:
    actions = [each.model_copy(update={"concurrent": concurrent}) for each in SPEC.actions]
    assert gathered(spec=SPEC.model_copy(update={"actions": tuple(actions)})).running_of_action_limit == limit


def test_an_action_waits_while_as_many_of_it_are_under_way_as_it_allows_whatever_the_agent() -> None:
    actions = [each.model_copy(update={"concurrent": 1}) for each in SPEC.actions]
    spec = SPEC.model_copy(update={"actions": tuple(actions)})
    of_another = execution(1, ago(100), status=ExecutionStatus.INTENDED, action="look")
    assert "action_busy" not in held(gathered(effects=Effects([of_another]), spec=spec))
    of_the_same = execution(2, ago(100), status=ExecutionStatus.INTENDED, action=proposal().action)
    assert "action_busy" in held(gathered(effects=Effects([of_another, of_the_same]), spec=spec))


@pytest.mark.parametrize(("age_s", "left"), [(0, 10), (3.2, 7), (9.9, 1), (10, 0)])
def test_an_agent_is_left_alone_after_an_action_on_it(age_s: float, left: int) -> None:
    facts = gathered(effects=Effects([execution(1, ago(age_s), target="Coder")]))
    assert facts.cool_down_left_s == left
    assert held(facts) == (["cool_down"] if left else [])


def test_looking_into_an_incident_costs_the_agent_no_attempt_and_no_cool_down() -> None:
    looks = [execution(number, ago(number), target="Coder", action="look", step=-1) for number in range(5)]
    facts = gathered(effects=Effects(looks))
    assert (facts.cool_down_left_s, facts.attempts_on_target_today, facts.actions_last_minute) == (0, 0, 5)


@pytest.mark.parametrize(("oldest_h", "expected"), [(23.999, ["attempts_on_target"]), (24, [])])
def test_five_actions_on_one_agent_are_enough_for_a_day(oldest_h: float, expected: list[str]) -> None:
    recent = [execution(number, ago(3600 * number), target="Coder") for number in range(1, 5)]
    effects = Effects([*recent, execution(9, ago(3600 * oldest_h), target="Coder")])
    assert held(gathered(effects=effects)) == expected


# --- blast radius and fleet stop


def test_the_blast_radius_counts_other_agents_with_directives_of_that_kind_in_force() -> None:
    taken = (
        directive("a1"),
        directive("Coder"),  # the target itself
        directive("a2", undone_at=NOW),
        directive("a3", expires_at=NOW),
        directive("a4", name="token_budget"),  # another kind
    )
    facts = gathered(directives=taken)
    assert (facts.blast_radius_in_use, facts.blast_radius_limit, held(facts)) == (1, 2, [])
    assert held(gathered(directives=(*taken, directive("a5")))) == ["blast_radius"]


def test_an_agent_with_two_directives_of_a_kind_is_one_agent() -> None:
    both = (directive("a1", name="token_budget"), directive("a1", name="max_output_tokens"))
    assert gathered(proposal("budget"), directives=both).blast_radius_in_use == 1


@pytest.mark.parametrize(("size", "limit"), [(0, 1), (1, 1), (19, 1), (20, 2), (39, 3)])
def test_the_blast_radius_is_a_tenth_of_the_fleet_and_one_at_least(size: int, limit: int) -> None:
    fleet = Fleet(size=size, unwell=0, unwell_with_one_cause=0)
    assert gathered(fleet=fleet).blast_radius_limit == limit


def test_a_handoff_alone_has_no_blast_radius() -> None:
    everywhere = tuple(directive(agent) for agent in AGENTS)
    assert held(gathered(proposal("ask"), directives=everywhere)) == []


@pytest.mark.parametrize(("unwell", "expected"), [(8, []), (9, ["fleet_stop"])])
def test_over_two_fifths_of_the_fleet_unwell_with_one_trigger_stops_what_changes_single_agents(
    unwell: int, expected: list[str]
) -> None:
    fleet = Fleet.of(AGENTS, [incident(agent=agent) for agent in AGENTS[:unwell]])
    assert held(gathered(fleet=fleet)) == expected
    assert held(gathered(proposal("budget"), fleet=fleet)) == expected
    assert held(gathered(proposal("ask"), fleet=fleet)) == []
    assert held(gathered(proposal("look"), fleet=fleet)) == []


def test_several_causes_together_make_no_fleet_stop() -> None:
    fleet = Fleet.of(AGENTS, [incident(agent=agent, trigger=f"t{n % 2}") for n, agent in enumerate(AGENTS[:16])])
    assert (fleet.unwell, fleet.unwell_with_one_cause) == (16, 8)


def test_closed_incidents_strangers_and_second_incidents_make_nobody_more_unwell() -> None:
    incidents = [
        incident(agent="a1"),
        incident(agent="a1"),
        incident(agent="a1", trigger="slow"),
        incident(agent="a2", state=IncidentState.CLOSED),
        incident(agent="stranger"),
        incident(agent="a3", state=IncidentState.ESCALATED),
    ]
    assert Fleet.of(AGENTS, incidents) == Fleet(size=20, unwell=2, unwell_with_one_cause=2)


# --- who it is about


@pytest.mark.parametrize("group", [(), (("model", "m"),), (("agent", "unknown"),), (("agent", ""),)])
def test_settings_for_nobody_in_particular_are_settings_for_nobody(group: tuple[tuple[str, str], ...]) -> None:
    about = incident(group=group)
    proposed = proposal(group=group, target="all" if not group else "model=m")
    assert "empty_target" in held(gathered(proposed, incident=about, verdict=verdict(group=group)))


def test_a_handoff_about_a_model_needs_no_agent() -> None:
    group = (("model", "m"),)
    proposed = proposal("ask", group=group, target="model=m")
    assert held(gathered(proposed, incident=incident(group=group), verdict=verdict(group=group))) == []


def test_an_empty_target_is_no_target_for_a_handoff_either() -> None:
    assert "empty_target" in held(gathered(proposal("ask", target="")))


# --- the diagnostic's exemptions


def test_the_diagnostic_looks_into_what_is_escalated_out_of_attempts_and_silent() -> None:
    escalated = incident(state=IncidentState.ESCALATED, attempts=3)
    effects = Effects([execution(number, ago(3600), target="Coder") for number in range(5)])
    facts = gathered(
        proposal("look"), incident=escalated, effects=effects, verdict=verdict(state=SeriesState.INACTIVE, samples=0)
    )
    assert held(facts) == []


def test_a_proposal_cannot_call_itself_exempt() -> None:
    effects = Effects([execution(number, ago(3600), target="Coder") for number in range(5)])
    claims = proposal("pause", exempt_from_attempts=True)
    assert held(gathered(claims, effects=effects)) == ["attempts_on_target"]


def test_a_diagnostic_that_sets_something_is_none() -> None:
    sly = proposal("look", settings={"paused": True})
    assert held(gathered(sly, incident=incident(attempts=3))) == [
        "attempts_of_incident",
        "action_not_in_plan",
        "parameters_not_from_spec",
    ]


def test_a_diagnostic_that_is_a_step_of_a_plan_claims_no_exemption_and_has_none() -> None:
    step = proposal("look", exempt_from_attempts=False)
    assert held(gathered(step, incident=incident(attempts=3))) == ["attempts_of_incident", "action_not_in_plan"]


def test_a_diagnostic_that_is_a_step_of_a_plan_is_not_exempt_though_it_says_so() -> None:
    step = proposal("look", exempt_from_attempts=True, step=0)
    planned = incident(attempts=3, plan=("look",))
    assert held(gathered(step, incident=planned)) == ["attempts_of_incident", "action_not_in_plan"]


# --- learning

HEALED, NOT, WORSE, SILENT = Result.HEALED, Result.NOT_HEALED, Result.WORSE, Result.INCONCLUSIVE


@pytest.mark.parametrize(
    ("recent", "skipped"),
    [
        ((), False),
        ((NOT, NOT), False),
        ((NOT, WORSE, NOT), True),
        ((HEALED, NOT, WORSE, NOT), True),
        ((NOT, NOT, SILENT), False),
        ((NOT, SILENT, NOT, NOT), True),
        ((NOT, NOT, HEALED), False),
        ((NOT, HEALED) * 5, False),
        ((NOT, NOT, HEALED, NOT, HEALED, NOT, HEALED, NOT, NOT, HEALED), True),
        ((NOT, NOT, HEALED, NOT, HEALED, NOT, NOT, HEALED), False),
    ],
)
def test_an_action_that_failed_three_times_in_a_row_or_most_of_ten_is_skipped(
    recent: tuple[Result, ...], skipped: bool
) -> None:
    assert held(gathered(lessons=[lesson(*recent)])) == (["keeps_failing"] if skipped else [])


def test_what_failed_once_for_each_of_three_agents_is_skipped_for_every_agent() -> None:
    one_each = [lesson(NOT, agent=agent, last_at=ago(number)) for number, agent in enumerate(("a1", "a2", "a3"))]
    assert held(gathered(lessons=one_each)) == ["keeps_failing"]
    assert held(gathered(lessons=one_each[:2])) == []


def test_results_of_several_agents_count_in_the_order_in_which_they_were_known() -> None:
    bad = [lesson(NOT, agent=agent, last_at=ago(10 * number)) for number, agent in enumerate(("a1", "a2", "a3"))]
    for since_s, skipped in ((25, True), (15, False), (5, False)):
        healed = lesson(HEALED, agent="b", last_at=ago(since_s))
        assert held(gathered(lessons=[*bad, healed])) == (["keeps_failing"] if skipped else []), since_s


def test_most_of_the_last_ten_over_all_agents_count_and_older_ones_do_not() -> None:
    mixed = [lesson(NOT, HEALED, NOT, agent=f"a{number}", last_at=ago(10 * number)) for number in range(4)]
    newest = lesson(HEALED, agent="b", last_at=NOW)
    assert held(gathered(lessons=[*mixed, newest])) == ["keeps_failing"]
    better = lesson(HEALED, HEALED, HEALED, HEALED, agent="b", last_at=NOW)
    assert held(gathered(lessons=[*mixed, better])) == []


@pytest.mark.parametrize("other", [{"trigger": "slow"}, {"action": "ask"}])
def test_what_an_action_failed_at_elsewhere_is_not_held_against_it_here(other: dict[str, str]) -> None:
    assert held(gathered(lessons=[lesson(NOT, NOT, NOT, **other)])) == []  # type: ignore[arg-type]


def test_after_a_day_a_skipped_action_is_tried_once() -> None:
    bad = lesson(NOT, NOT, NOT, last_at=NOW - timedelta(days=1))
    assert held(gathered(lessons=[bad])) == []
    just_not = lesson(NOT, NOT, NOT, last_at=NOW - timedelta(days=1) + timedelta(seconds=1))
    assert held(gathered(lessons=[just_not])) == ["keeps_failing"]
    tried = Effects([execution(1, NOW, action="pause")])
    assert held(gathered(lessons=[bad], effects=tried)) == ["keeps_failing"]
    earlier = Effects([execution(1, ago(1), action="pause")])
    assert held(gathered(lessons=[bad], effects=earlier)) == []
    elsewhere = Effects([execution(1, NOW, action="pause", trigger="slow")])
    assert held(gathered(lessons=[bad], effects=elsewhere)) == []


def test_a_try_that_was_never_judged_is_given_another_a_day_later() -> None:
    bad = lesson(NOT, NOT, NOT, last_at=NOW - timedelta(days=3))
    assert held(gathered(lessons=[bad], effects=Effects([execution(1, ago(3600), action="pause")]))) == [
        "keeps_failing"
    ]
    assert held(gathered(lessons=[bad], effects=Effects([execution(1, ago(90_000), action="pause")]))) == []


# --- from the spec to the gate


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("freshness", 7, "freshness_limit_s"),
        ("actions_per_minute", 3, "actions_per_minute_limit"),
        ("concurrent_actions", 3, "running_actions_limit"),
        ("concurrent_per_target", 3, "running_on_target_limit"),
        ("fleet_stop_percent", 33, "fleet_stop_percent"),
        ("causal_depth", 7, "causal_depth_limit"),
        ("independent_signals", 1, "signals_needed"),
        ("attempts_per_incident", 7, "attempts_of_incident_limit"),
        ("attempts_per_target_per_day", 9, "attempts_on_target_today_limit"),
    ],
)
def test_each_limit_comes_from_the_loaded_spec(name: str, value: int, fact: str) -> None:
    assert getattr(gathered(spec=with_limits(**{name: value})), fact) == value


# --- causes

HOUR_S = 3600


def chain(*gaps_s: float) -> dict[str, Any]:
    """Circumstances in which each incident of Coder opened so long after the action for the one before it."""
    at, began, done = NOW, {"inc-1": NOW}, []
    for number, gap_s in enumerate(gaps_s):
        at = at - timedelta(seconds=gap_s)
        done.append(execution(number, at, incident=f"inc-c{number}", target="Coder"))
        at = at - timedelta(seconds=1)
        began[f"inc-c{number}"] = at
    # A day's attempts and the cool-down are other limits.
    spec = with_limits(attempts_per_target_per_day=99, cool_down=0, actions_per_minute=99)
    return {"effects": Effects(done), "began": began.get, "spec": spec, "tested_version": spec.version}


def chained(*gaps_s: float) -> Facts:
    changes = chain(*gaps_s)
    return gathered(proposal(spec_version=changes["spec"].version), **changes)


@pytest.mark.parametrize(
    ("gaps_s", "depth", "expected"),
    [
        ((), 1, []),
        ((60,), 2, []),
        ((60, 60), 3, []),
        ((60, 60, 60), 4, ["causal_depth"]),
        ((60, HOUR_S, 60), 4, ["causal_depth"]),
        ((60, HOUR_S + 1, 60), 2, []),
        ((0, 60, 60), 3, []),
    ],
)
def test_a_chain_of_actions_that_may_each_have_caused_the_next_incident_ends_after_three(
    gaps_s: tuple[float, ...], depth: int, expected: list[str]
) -> None:
    facts = chained(*gaps_s)
    assert (facts.causal_depth, held(facts)) == (depth, expected)


def test_what_was_handed_to_an_agent_may_have_caused_its_incident_too() -> None:
    handed = execution(1, ago(60), incident="inc-2", target="Other", target_agent="Coder")
    assert gathered(effects=Effects([handed])).causal_depth == 2


def test_a_circle_of_incidents_is_counted_once_around() -> None:
    done = [
        execution(1, ago(60), incident="inc-2", target="Coder"),
        execution(2, ago(60), incident="inc-1", target="Coder"),
    ]
    began = {"inc-1": NOW, "inc-2": ago(1)}
    assert gathered(effects=Effects(done), began=began.get).causal_depth == 2
