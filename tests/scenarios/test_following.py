"""Handoffs followed at their recipients, and notifications that last as long as their incident, on the real loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from self_healing.handoffs.outbox import NOTIFICATION
from self_healing.model import Handoff, HandoffStatus
from self_healing.testing import Scenario
from tests.contract.agent import Agent, serving_agent
from tests.contract.servers import LOOPBACK, Alerting, Paging, reply, serving


def fleet(directory: Path, **channels: dict[str, Any]) -> Scenario:
    scenario = Scenario(directory, settings={"actions": {"channels": channels}})
    scenario.at(0).start("t1")
    scenario.at(61).expect_state("slow_tasks", "Coder", "firing")
    return scenario


def architect(url: str) -> dict[str, Any]:
    return {"kind": "a2a", "url": url, "poll": "1s", "agents": ["ChiefArchitectAgent"]}


def until(scenario: Scenario, holds: Callable[[Handoff], bool]) -> Handoff:
    """Let seconds pass, until the handoff is as it is to be."""
    for _ in range(60):
        scenario.at(scenario.now_s + 1)
        handoff = scenario.expect_handoff("slow_tasks", "Coder")
        if holds(handoff):
            return handoff
        time.sleep(0.02)
    raise AssertionError(handoff)


@pytest.mark.parametrize(
    ("comes_to", "status"), [("completed", HandoffStatus.COMPLETED), ("rejected", HandoffStatus.FAILED)]
)
def test_a_task_of_an_agent_is_followed_to_its_end(tmp_path: Path, comes_to: str, status: HandoffStatus) -> None:
    with serving_agent(Agent(comes_to)) as url, fleet(tmp_path, architects=architect(url)) as scenario:
        handoff = until(scenario, lambda handoff: handoff.ended_at is not None)
        assert (handoff.status, handoff.result) == (status, "did it \\x1b with [redacted]")
        assert handoff.remote is not None
        assert handoff.notes[-1].text == "by ChiefArchitectAgent (architects)"


def test_a_pause_of_its_task_stands_on_the_handoff_until_it_goes_on(tmp_path: Path) -> None:
    agent = Agent("input_required")
    with serving_agent(agent) as url, fleet(tmp_path, architects=architect(url)) as scenario:
        handoff = until(scenario, lambda handoff: handoff.pause is not None)
        assert handoff.status is HandoffStatus.ACCEPTED
        assert (handoff.pause or "").startswith("input_required: ")
        assert [note.what for note in handoff.notes] == ["paused", "accepted"]
        scenario.restart()
        assert until(scenario, lambda handoff: True).pause == handoff.pause


def test_an_agent_that_is_gone_is_trouble_of_its_own_handoff_only(tmp_path: Path) -> None:
    with serving_agent(Agent("working")) as url, fleet(tmp_path, architects=architect(url)) as scenario:
        until(scenario, lambda handoff: handoff.status is HandoffStatus.ACCEPTED)
        before = scenario.loop.health()["status"]
    with serving(reply(500)) as elsewhere:
        settings = {"actions": {"channels": {"architects": architect(elsewhere)}}}
        scenario.settings = scenario._settings(settings)
        scenario.loop = scenario._open()
        handoff = until(scenario, lambda handoff: handoff.trouble is not None)
        assert handoff.status is HandoffStatus.ACCEPTED
        assert scenario.loop.health()["status"] == before
        scenario.close()


def told(scenario: Scenario) -> list[tuple[str, HandoffStatus]]:
    notices = scenario.loop.store.select(Handoff, execution=NOTIFICATION)
    return [(each.channel, each.status) for each in notices]


def test_an_escalation_is_told_by_every_channel_of_the_person_and_taken_back_when_the_incident_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_KEY", "key-1")
    alerting, paging = Alerting(), Paging()
    with serving(alerting) as alerts, serving(paging) as pages, serving(reply(200)) as gone:
        shared: dict[str, Any] = {"allow": LOOPBACK, "agents": ["Operator"]}
        scenario = fleet(
            tmp_path,
            pager={"kind": "pagerduty", "routing_key_env": "PAGER_KEY", "url": pages, **shared},
            alerts={"kind": "alertmanager", "url": alerts, **shared},
            broken={"kind": "pagerduty", "routing_key_env": "NO_KEY", "url": gone, **shared},
            lost={"kind": "command", "argv": ["./nowhere"], "agents": ["ChiefArchitectAgent"]},
        )
        with scenario:
            [unset] = [issue for issue in scenario.loop.health()["issues"] if "is set" in issue]
            assert unset.startswith("channel broken: routing_key_env names NO_KEY, and no such variable is set")
            scenario.at(70).expect_incident("slow_tasks", "Coder", "escalated")
            incident = scenario.incident("slow_tasks", "Coder").id
            assert told(scenario) == [
                ("pager", HandoffStatus.DELIVERED),
                ("alerts", HandoffStatus.DELIVERED),
                ("broken", HandoffStatus.CREATED),
            ]
            assert list(paging.open) == [incident]
            [alert] = alerting.alerts.values()
            assert alert["labels"]["alertname"] == "slow_tasks"
            assert any("variable NO_KEY" in issue for issue in scenario.loop.health()["issues"])

            pushed = alerting.pushed
            scenario.at(200)
            assert alerting.pushed == pushed + 2  # once a minute
            scenario.restart()
            scenario.loop.dismiss(incident, "Ann", "known")
            scenario.at(215)
            assert paging.resolved == [incident]
            [alert] = alerting.alerts.values()
            assert alert["endsAt"] is not None
            assert ("pager", HandoffStatus.COMPLETED) in told(scenario)
            assert ("alerts", HandoffStatus.COMPLETED) in told(scenario)
