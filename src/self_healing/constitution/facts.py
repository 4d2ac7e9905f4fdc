"""Facts: all that the articles look at, as whole numbers and yes or no, worked out from records."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from self_healing.constitution.approvals import Answer
from self_healing.constitution.circumstances import Circumstances, Fleet
from self_healing.constitution.demotion import left_alone
from self_healing.constitution.effects import cool_down_left_s
from self_healing.model import (
    UNKNOWN_VALUE,
    Incident,
    IncidentState,
    Lesson,
    Proposal,
    SeriesState,
    Verdict,
    affected_agent,
    group_dict,
)
from self_healing.spec import Absence, ActionSpec, ActionType, Limits, NoData, Spec, TriggerSpec


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a proposal and its surroundings. Nothing may be unknown: what is not known is not allowed.

    Raises TypeError when a value is not of its field's very type; None is of none.
    """

    # I Complete context
    incident_seen: bool  # the incident is on record
    evidence_present: bool  # its value is known, or silence is the symptom; and there is something to hand over
    samples: int  # in the series' window
    samples_needed: int
    ingest_lag_s: int  # age of the oldest received event that is not folded yet, rounded up
    oldest_in_flight_s: int  # age of the oldest accepted event that is in flight, rounded up
    freshness_limit_s: int  # of both
    # II Full verification
    has_verification_plan: bool
    spec_tests_passed: bool  # for the version that its incident goes on by
    # III Automated enforcement
    decision_recorded: bool  # on an audit log that is whole, and it commits with the intent
    stopped: bool  # by a person
    reversible: bool
    signals_agreeing: int  # on the agent being unwell, independent of one another
    signals_needed: int
    approved: bool  # by a person, for this very plan
    approval_refused: bool  # a person said no to this very plan, or nobody yes in time
    actions_last_minute: int
    actions_per_minute_limit: int
    running_actions: int
    running_actions_limit: int
    running_of_action: int
    running_of_action_limit: int
    running_on_target: int
    running_on_target_limit: int
    cool_down_left_s: int  # rounded up
    changes_agent: bool  # sets directives, or shuts down
    blast_radius_in_use: int  # other agents with directives of the same kind in force
    blast_radius_limit: int
    breaker_open: bool
    fleet_size: int  # agents
    unwell_with_one_cause: int  # agents
    fleet_stop_percent: int
    exempt_from_attempts: bool  # an analysis, which is no step of a plan and changes nothing in the fleet
    attempts_of_incident: int
    attempts_of_incident_limit: int
    attempts_on_target_today: int
    attempts_on_target_today_limit: int
    causal_depth: int  # how many actions, this one the last, may each have caused what the next one answers
    causal_depth_limit: int
    handoff_to_itself: bool  # it would go to the agent that it is about
    settings_empty_target: bool  # nothing says which agent; that means none, never all
    # IV Learning
    demoted: bool  # the action keeps failing for this trigger
    # V Spec-driven
    trigger_in_spec: bool
    action_in_spec: bool
    action_in_plan: bool
    step_condition_met: bool  # its step is for this incident, as `when` of the trigger says
    parameters_from_spec: bool
    spec_version_current: bool
    plan_version_current: bool
    condition_still_met: bool

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if type(value) is not kind:
                raise TypeError(f"fact {name} is {value!r}; it must be of type {kind.__name__}")


_KINDS: dict[str, type] = {field.name: field.type for field in msgspec.structs.fields(Facts)}


def gather(
    proposal: Proposal,
    *,
    circumstances: Circumstances,
    incident: Incident | None,
    verdict: Verdict | None,
    evidence: Collection[Any],
    lessons: Iterable[Lesson],
    renewed: Proposal | None = None,
    answer: Answer = Answer.NONE,
) -> Facts:
    """The facts about `proposal`; pure.

    Args:
        proposal: what is about to be done.
        circumstances: of this instant.
        incident: the proposal's incident as it is on record.
        verdict: what the trigger says now of the incident's series.
        evidence: what would be handed over.
        lessons: of the proposal's trigger and action; others are left out.
        renewed: what was allowed earlier and `proposal` sets once more, where it does.
        answer: what a person said of this very proposal.
    """
    now = circumstances
    spec, limits = _goes_by(incident, now), now.spec.limits
    trigger = next((each for each in spec.triggers if each.name == proposal.trigger), None)
    action = next((each for each in spec.actions if each.name == proposal.action), None)
    # Said by the spec, not by the proposal alone, and only of what is no step of a plan and changes nothing: no
    # exemption is a way around.
    diagnostic = (
        proposal.exempt_from_attempts
        and proposal.step < 0
        and not proposal.settings
        and action is not None
        and action.type is ActionType.DIAGNOSTIC
    )
    shuts_down = action is not None and action.type is ActionType.EMERGENCY_SHUTDOWN
    # A parent hands over and changes nobody; what is set for the agents beneath it is proposed for each of them.
    changes_agent = bool(proposal.settings) or (shuts_down and (incident is None or not incident.is_parent))
    about = [each for each in lessons if (each.trigger, each.action) == (proposal.trigger, proposal.action)]
    times = now.effects.times_on(proposal.target, now.at)
    return Facts(
        incident_seen=incident is not None and incident.id == proposal.incident,
        evidence_present=bool(evidence) and _value_known(incident, trigger),
        samples=0 if verdict is None else verdict.samples,
        samples_needed=_samples_needed(trigger, diagnostic),
        ingest_lag_s=math.ceil(now.ingest_lag_s),
        oldest_in_flight_s=math.ceil(now.oldest_in_flight_s),
        freshness_limit_s=limits.freshness,
        has_verification_plan=action is not None and trigger is not None and action.verification.deadline > 0,
        spec_tests_passed=spec is not now.spec or now.tested_version == spec.version,
        decision_recorded=now.decision_recorded,
        stopped=now.stopped,
        reversible=action is not None and action.reversible,
        signals_agreeing=0 if action is None or action.reversible else now.agreeing(proposal.target),
        signals_needed=limits.independent_signals,
        approved=answer is Answer.YES,
        approval_refused=answer is Answer.NO,
        actions_last_minute=now.effects.in_last_minute(now.at),
        actions_per_minute_limit=_rate_limit(now.fleet, limits),
        running_actions=now.effects.running(),
        running_actions_limit=limits.concurrent_actions,
        running_of_action=now.effects.running_of(proposal.action),
        running_of_action_limit=limits.concurrent_actions if action is None else _concurrent(action, limits),
        running_on_target=now.effects.running_on(proposal.target),
        running_on_target_limit=limits.concurrent_per_target,
        cool_down_left_s=cool_down_left_s(times, now.at, limits, now.unwell(proposal.target) if times else ()),
        changes_agent=changes_agent,
        blast_radius_in_use=_blast_radius(proposal, action, now),
        blast_radius_limit=max(1, now.fleet.size * limits.blast_radius_percent // 100),
        breaker_open=now.effects.breaker_open(proposal.action, now.at, limits),
        fleet_size=now.fleet.size,
        unwell_with_one_cause=now.fleet.unwell_with_one_cause,
        fleet_stop_percent=limits.fleet_stop_percent,
        exempt_from_attempts=diagnostic,
        attempts_of_incident=0 if incident is None else incident.attempts,
        attempts_of_incident_limit=limits.attempts_per_incident,
        attempts_on_target_today=len(times),
        attempts_on_target_today_limit=limits.attempts_per_target_per_day,
        causal_depth=now.effects.causal_depth(proposal.target, proposal.incident, now.began),
        causal_depth_limit=limits.causal_depth,
        handoff_to_itself=proposal.target == proposal.target_agent,
        settings_empty_target=not proposal.target or (changes_agent and not _names_agent(proposal)),
        demoted=left_alone(about, now.effects, now.at),
        trigger_in_spec=trigger is not None,
        action_in_spec=action is not None,
        action_in_plan=diagnostic or _in_plan(proposal, incident, trigger),
        step_condition_met=diagnostic or (incident is not None and now.step_is_for(incident, proposal.action)),
        parameters_from_spec=_from_spec(proposal, renewed, incident, action, now),
        spec_version_current=proposal.spec_version == spec.version,
        plan_version_current=incident is not None and proposal.plan_version == incident.plan_version,
        condition_still_met=_still_met(incident, verdict, diagnostic),
    )


def _goes_by(incident: Incident | None, now: Circumstances) -> Spec:
    """The spec under which an incident was opened, if that was loaded and tested then; else the loaded one."""
    return now.spec if incident is None else now.kept.get((incident.spec_version, incident.trigger), now.spec)


def _value_known(incident: Incident | None, trigger: TriggerSpec | None) -> bool:
    return incident is not None and (incident.value is not None or _silence_is_symptom(trigger))


def _silence_is_symptom(trigger: TriggerSpec | None) -> bool:
    return trigger is not None and (trigger.no_data is NoData.FIRE or isinstance(trigger.condition, Absence))


def _samples_needed(trigger: TriggerSpec | None, diagnostic: bool) -> int:
    """A diagnostic looks into what is known, however little that is; of silence there are no samples to have."""
    if trigger is None or diagnostic or _silence_is_symptom(trigger):
        return 0
    return trigger.min_samples


def _rate_limit(fleet: Fleet, limits: Limits) -> int:
    """Fewer when more than half of the fleet is unwell: then the cause is rarely in the single agents."""
    if 2 * fleet.unwell > fleet.size:
        return min(limits.actions_per_minute_unwell, limits.actions_per_minute)
    return limits.actions_per_minute


def _concurrent(action: ActionSpec, limits: Limits) -> int:
    """How many of an action may be under way at once: an action's own word only narrows what holds for all."""
    return min(action.concurrent or limits.concurrent_actions, limits.concurrent_actions)


def _blast_radius(proposal: Proposal, action: ActionSpec | None, now: Circumstances) -> int:
    """How many other agents have directives in force that actions of this kind set, on probation or not."""
    if action is None:
        return 0
    agents = {
        directive.agent
        for directive in now.directives
        if directive.kind == action.type.value and directive.undone_at is None and directive.expires_at > now.at
    }
    return len(agents - {proposal.target})


def _names_agent(proposal: Proposal) -> bool:
    return group_dict(proposal.group).get("agent", "") not in ("", UNKNOWN_VALUE)


def _in_plan(proposal: Proposal, incident: Incident | None, trigger: TriggerSpec | None) -> bool:
    """Whether it is that very step of the incident's plan, and its spec has it in the trigger's."""
    if incident is None or trigger is None or not 0 <= proposal.step < len(incident.plan):
        return False
    return incident.plan[proposal.step] == proposal.action and proposal.action in trigger.actions


def _from_spec(
    proposal: Proposal,
    renewed: Proposal | None,
    incident: Incident | None,
    action: ActionSpec | None,
    now: Circumstances,
) -> bool:
    """Whether what it would do, and to whom, is what the spec says that this incident goes on by.

    What it sets once more must also have been declared by what was allowed in the first place.
    """
    if incident is None or action is None:
        return False
    about = (proposal.trigger, proposal.group, proposal.target)
    if about != (incident.trigger, incident.group, affected_agent(incident.group)):
        return False
    if proposal.action_type != action.type.value:
        return False
    settings = now.settings_from_spec(action, incident)
    if proposal.renews is None:
        declared = _canonical(proposal.settings), _canonical(proposal.probation)
        return declared == (_canonical(settings), _canonical(action.probation))
    return (
        renewed is not None
        and (renewed.incident, renewed.action, renewed.target) == (incident.id, action.name, proposal.target)
        and _among(proposal.settings, (renewed.settings, renewed.probation))
        and _among(proposal.settings, (settings, action.probation))
    )


def _among(settings: Mapping[str, Any], declared: Iterable[Mapping[str, Any]]) -> bool:
    """Whether each of `settings` is one of those declared, and there is one at all."""
    known = {_canonical({name: value}) for each in declared for name, value in each.items()}
    return bool(settings) and {_canonical({name: value}) for name, value in settings.items()} <= known


def _canonical(settings: Mapping[str, Any]) -> bytes:
    """As JSON, since in Python True equals 1, and a fleet may read them differently."""
    return msgspec.json.encode(dict(settings), order="sorted")


def _still_met(incident: Incident | None, verdict: Verdict | None, diagnostic: bool) -> bool:
    """For a diagnostic the incident itself is the condition: it may be escalated because nothing is known any more."""
    if incident is None or incident.state is IncidentState.CLOSED:
        return False
    if diagnostic:
        return True
    same = verdict is not None and (verdict.trigger, verdict.group) == (incident.trigger, incident.group)
    return same and verdict is not None and verdict.state is SeriesState.FIRING
