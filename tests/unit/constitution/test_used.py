"""What is used of the limits: of each that fills up, how near the fleet is to it."""

from __future__ import annotations

from datetime import timedelta

from self_healing.constitution.effects import Effects
from self_healing.constitution.used import used
from self_healing.model import Directive
from tests.unit.constitution.fine import NOW, directive, execution

FLEET = [f"a{number}" for number in range(10)]


def blast_radius(*directives: Directive) -> int:
    return used(FLEET, Effects(), [], directives, NOW)["blast_radius_percent"]


def test_the_blast_radius_is_used_by_agents_with_directives_of_one_kind() -> None:
    assert blast_radius(directive("a1", "token_budget"), directive("a2", "max_output_tokens")) == 20


def test_an_agent_counts_once_however_many_directives_it_has() -> None:
    assert blast_radius(directive("a1", "token_budget"), directive("a1", "max_output_tokens")) == 10


def test_a_kind_that_changes_fewer_agents_uses_up_nothing_more() -> None:
    assert blast_radius(directive("a1", "paused"), directive("a2", "token_budget")) == 10


def test_what_is_over_uses_up_nothing() -> None:
    assert blast_radius(directive("a1", undone_at=NOW), directive("a2", expires_at=NOW)) == 0


def test_a_fleet_without_agents_has_nothing_used_up() -> None:
    assert set(used([], Effects(), [], [], NOW).values()) == {0}


def test_an_hour_ago_counts_for_the_day_of_an_agent_and_not_for_the_minute() -> None:
    told = used(FLEET, Effects([execution(1, NOW - timedelta(hours=1))]), [], [], NOW)
    assert (told["attempts_per_target_per_day"], told["actions_per_minute"]) == (1, 0)
