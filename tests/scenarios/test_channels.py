"""Handoffs on their way by a channel, on the real loop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from self_healing.errors import EffectError, EffectRefused
from self_healing.model import ExecutionStatus, Handoff, HandoffStatus
from self_healing.testing import Scenario
from tests.contract.servers import LOOPBACK, SECRET, Receiver, serving

TAKEN: list[dict[str, Any]] = []


def take(handoff: dict[str, Any]) -> str:
    TAKEN.append(handoff)
    return "in the queue"


def refuse(_handoff: dict[str, Any]) -> None:
    raise EffectRefused("no such queue")


def fail(_handoff: dict[str, Any]) -> None:
    raise EffectError("the queue is full")


def hang_up(_handoff: dict[str, Any]) -> None:
    raise ConnectionResetError("by the peer")


ASKED: list[str] = []


def refuse_people(handoff: dict[str, Any]) -> None:
    ASKED.extend([handoff["id"]] if handoff["target_agent"] == "Operator" else [])
    raise EffectRefused("no such queue")


def hang_up_on_people(handoff: dict[str, Any]) -> None:
    ASKED.extend([handoff["id"]] if handoff["target_agent"] == "Operator" else [])
    raise ConnectionResetError("by the peer")


def fleet(directory: Path, function: Any, *agents: str, **actions: Any) -> Scenario:
    channel = {"kind": "python", "function": f"{__name__}:{function.__name__}", "agents": list(agents)}
    scenario = Scenario(directory, settings={"actions": {"channels": {"fleet": channel}, **actions}})
    scenario.at(0).start("t1")
    scenario.at(61).expect_state("slow_tasks", "Coder", "firing")
    return scenario


def timeline(scenario: Scenario, what: str) -> list[str]:
    return [note.text for note in scenario.incident("slow_tasks", "Coder").notes if note.what == what]


def test_a_handoff_goes_by_its_recipients_channel_and_as_a_file(tmp_path: Path) -> None:
    TAKEN.clear()
    with fleet(tmp_path, take, "ChiefArchitectAgent") as scenario:
        handoff = scenario.expect_handoff("slow_tasks", "Coder", status=HandoffStatus.DELIVERED, channel="fleet")
        assert [each["id"] for each in TAKEN] == [handoff.id]
        assert (scenario.directory / "logs" / "handoffs" / handoff.file).exists()
        assert [(note.what, note.text) for note in handoff.notes] == [("answer", "in the queue")]
        assert timeline(scenario, "acting") == ["analyze_slow_tasks for Coder, handed to ChiefArchitectAgent by fleet"]


def test_a_recipient_without_a_channel_goes_by_the_fallback_and_the_timeline_says_so(tmp_path: Path) -> None:
    with fleet(tmp_path, take, "AuditorAgent") as scenario:
        scenario.expect_handoff("slow_tasks", "Coder", status=HandoffStatus.DELIVERED, channel="file", served=False)
        assert timeline(scenario, "acting") == [
            "analyze_slow_tasks for Coder, handed to ChiefArchitectAgent by file, as no channel serves it"
        ]


PROGRAM = """
import json, pathlib, sys
handoff = json.load(sys.stdin)
pathlib.Path(sys.argv[1], handoff["id"]).write_text(handoff["prompt"])
print("restarted", end="")
"""


def own_action(directory: Path, channel: dict[str, Any]) -> Scenario:
    """A fleet whose slow tasks call for an action of one's own, which does its work by the channel of its recipient."""
    directory.joinpath("triggers.toml").write_text('[[trigger]]\nname = "slow_tasks"\nactions = ["restart"]\n')
    directory.joinpath("actions.toml").write_text(
        '[[action]]\nname = "restart"\ntype = "agent_handoff"\npriority = "high"\ntarget_agent = "Restarter"\n'
        'prompt = "Restart it."\n'
    )
    actions = {"files": [directory / "actions.toml"], "channels": {"ours": {**channel, "agents": ["Restarter"]}}}
    given = {"triggers": {"files": [directory / "triggers.toml"]}, "actions": actions}
    scenario = Scenario(directory, settings=given)
    scenario.at(0).start("t1")
    scenario.at(61).expect_state("slow_tasks", "Coder", "firing")
    return scenario


def test_an_action_of_ones_own_runs_a_program(tmp_path: Path) -> None:
    done = tmp_path / "done"
    done.mkdir()
    channel = {"kind": "command", "argv": [sys.executable, "-c", PROGRAM, str(done)]}
    with own_action(tmp_path, channel) as scenario:
        scenario.expect_actions("slow_tasks", restart="dispatched")
        [file] = done.iterdir()
        assert file.read_text() == "Restart it."
        [handoff] = scenario.handoffs("Restarter")
        assert [(note.what, note.text) for note in handoff.notes] == [("answer", "restarted")]


def test_an_action_of_ones_own_calls_a_web_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    receiver = Receiver()
    with serving(receiver) as url:
        channel = {"kind": "webhook", "url": url, "secret_env": "HOOK_SECRET", "allow": LOOPBACK}
        with own_action(tmp_path, channel) as scenario:
            scenario.expect_actions("slow_tasks", restart="dispatched")
            assert [event["data"]["prompt"] for event in receiver.events.values()] == ["Restart it."]


def test_a_refusal_for_good_is_not_tried_again_and_the_plan_goes_on(tmp_path: Path) -> None:
    with fleet(tmp_path, refuse, "ChiefArchitectAgent") as scenario:
        scenario.at(63).expect_state("slow_tasks", "Coder", "firing")
        handoff = scenario.expect_handoff("slow_tasks", "Coder", status=HandoffStatus.FAILED)
        [execution] = [each for each in executions(scenario) if each.handoff == handoff.id]
        assert (execution.status, execution.tries, execution.error) == (ExecutionStatus.FAILED, 1, "no such queue")
        assert timeline(scenario, "failed") == ["analyze_slow_tasks failed: no such queue"]


def test_a_failure_is_tried_as_often_as_the_action_says(tmp_path: Path) -> None:
    with fleet(tmp_path, fail, "ChiefArchitectAgent") as scenario:
        scenario.at(63).expect_state("slow_tasks", "Coder", "firing")
        assert [(each.status, each.tries) for each in executions(scenario) if each.step == 0] == [
            (ExecutionStatus.FAILED, 3)
        ]


def test_what_nobody_can_tell_is_never_sent_twice_and_goes_to_a_person(tmp_path: Path) -> None:
    with fleet(tmp_path, hang_up, "ChiefArchitectAgent") as scenario:
        scenario.at(63).expect_state("slow_tasks", "Coder", "firing")
        [execution] = [each for each in executions(scenario) if each.step == 0]
        assert (execution.status, execution.tries) == (ExecutionStatus.UNKNOWN, 1)
        assert scenario.incident("slow_tasks", "Coder").escalation is not None


def executions(scenario: Scenario) -> Any:
    from self_healing.model import Execution

    incident = scenario.incident("slow_tasks", "Coder")
    return scenario.loop.store.select(Execution, incident=incident.id)


def test_a_person_who_could_not_be_told_need_not_be_once_the_incident_is_closed(tmp_path: Path) -> None:
    with fleet(tmp_path, refuse, "ChiefArchitectAgent", "Operator") as scenario:
        loop = scenario.at(65).loop
        assert [each for each in loop.health()["issues"] if "a person could not be told" in each]
        loop.dismiss(scenario.incident("slow_tasks", "Coder").id, "Ada", "a drill")
        scenario.at(80)
        assert not [each for each in loop.health()["issues"] if "a person could not be told" in each]


def of_people(scenario: Scenario) -> list[str]:
    return [each for each in scenario.loop.health()["issues"] if "a person could not be told" in each]


def test_a_person_who_cannot_be_told_is_tried_after_ever_longer_pauses(tmp_path: Path) -> None:
    ASKED.clear()
    with fleet(tmp_path, refuse_people, "ChiefArchitectAgent", "Operator") as scenario:
        scenario.at(64)
        begun = len(ASKED)
        assert (begun, len(of_people(scenario))) == (1, 1)
        for tries, after_s in enumerate((12, 36, 76, 156, 320, 630, 940), 2):
            scenario.at(64 + after_s, step_s=4)
            assert len(ASKED) == tries


def test_what_may_have_reached_a_person_is_sent_three_times_and_health_says_so_while_the_incident_is_open(
    tmp_path: Path,
) -> None:
    ASKED.clear()
    with fleet(tmp_path, hang_up_on_people, "ChiefArchitectAgent", "Operator") as scenario:
        scenario.at(700, step_s=4)
        assert len(ASKED) == 3
        [notice] = scenario.handoffs("Operator")
        assert notice.status is HandoffStatus.FAILED
        assert "by the peer" in (notice.result or "")
        assert (notice.result or "").endswith("it was sent 3 times, and is not sent again")
        scenario.restart().at(760, step_s=4)
        assert (len(ASKED), len(of_people(scenario))) == (3, 1)
        scenario.loop.dismiss(scenario.incident("slow_tasks", "Coder").id, "Ada", "a drill")
        assert of_people(scenario) == []


def test_an_analysis_of_many_incidents_keeps_to_the_cap(tmp_path: Path) -> None:
    limits = dict.fromkeys(("actions_per_minute", "actions_per_minute_unwell", "concurrent_actions"), 100)
    with Scenario(tmp_path, settings={"constitution": {"limits": limits}}) as scenario:
        scenario.at(0)
        for number in range(45):
            scenario.finish(f"t{number}", f"agent-{number:03}" + "x" * 1_900, duration_s=70.0)
        scenario.at(15, step_s=5)
        [analysis] = [
            each for each in scenario.loop.store.select(Handoff) if "open_incidents" in each.message["context"]
        ]
        assert "open_incidents" in analysis.message["context"]["dropped"]
        assert len(json.dumps(analysis.message["context"])) <= 66_000


def test_other_handoffs_are_not_held_up_by_a_bad_channel(tmp_path: Path) -> None:
    with fleet(tmp_path, hang_up, "ChiefArchitectAgent") as scenario:
        for number in range(4):
            scenario.start(f"r{number}", agent="Writer").finish(f"r{number}", agent="Writer", attempt=3)
        scenario.at(64).expect_state("high_retry_rate", "Writer", "firing")
        assert scenario.expect_handoff("high_retry_rate", "Writer").status is HandoffStatus.DELIVERED
        assert scenario.loop.store.count(Handoff) >= 2


def test_every_handoff_says_which_of_several_fleets_it_is_about(tmp_path: Path) -> None:
    with Scenario(tmp_path, settings={"environment": "staging"}) as scenario:
        scenario.at(0).start("t1")
        scenario.at(61).expect_state("slow_tasks", "Coder", "firing")
        handoff = scenario.expect_handoff("slow_tasks", "Coder", status=HandoffStatus.DELIVERED)
    told = json.loads((tmp_path / "logs" / "handoffs" / handoff.file).read_text())
    assert told["context"]["environment"] == "staging"
