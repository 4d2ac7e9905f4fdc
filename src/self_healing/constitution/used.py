"""Used: how much of each limit is taken up now, for the people who look at it; what the gate goes by are facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from self_healing.constitution.circumstances import Fleet
from self_healing.constitution.effects import Effects
from self_healing.model import Directive, Incident


def used(
    agents: Collection[str],
    effects: Effects,
    incidents: Iterable[Incident],
    directives: Iterable[Directive],
    at: datetime,
) -> dict[str, int]:
    """How much is used of each limit that fills up, by its name.

    Of what holds for each agent, each incident or each kind of action it is the one that is nearest to its limit.

    Args:
        agents: those with events in the last 24 h.
        effects: what automation did in the last 24 h, and is doing.
        incidents: those that are not closed.
        directives: in force or not.
        at: the instant.
    """
    open_now = list(incidents)
    fleet = Fleet.of(agents, open_now)
    targets = effects.targets()
    begun = (len(effects.times_on(target, at)) for target in targets)
    return {
        "concurrent_actions": effects.running(),
        "concurrent_per_target": max(map(effects.running_on, targets), default=0),
        "actions_per_minute": effects.in_last_minute(at),
        "blast_radius_percent": _percent(_most_of_one_kind(directives, at), fleet.size),
        "fleet_stop_percent": _percent(fleet.unwell_with_one_cause, fleet.size),
        "attempts_per_incident": max((each.attempts for each in open_now), default=0),
        "attempts_per_target_per_day": max(begun, default=0),
    }


def _most_of_one_kind(directives: Iterable[Directive], at: datetime) -> int:
    """How many agents have directives in force that actions of one kind set, of the kind that has the most."""
    changed = {(each.kind, each.agent) for each in directives if each.undone_at is None and each.expires_at > at}
    return max(Counter(kind for kind, _ in changed).values(), default=0)


def _percent(some: int, all_of_them: int) -> int:
    return 100 * some // all_of_them if all_of_them else 0
