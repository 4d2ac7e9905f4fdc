"""The threats that there is an answer to, each with the tests that show it; those of no other module are here."""

from __future__ import annotations

import ast
import asyncio
import pickle
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import self_healing
from self_healing.errors import ConversionLost, StateCorrupt
from self_healing.model import Execution, ExecutionStatus, Incident
from self_healing.storage import schema
from self_healing.surface import Surface
from self_healing.testing import Scenario
from tests.conversion import conversion, says_code
from tests.scenarios.conftest import MakeScenario

TESTS = Path(__file__).parents[1]

SHOWN_BY = {
    "telemetry text that instructs the receiving agent": (
        "scenarios/test_hostile.py::test_hostile_text_in_every_field_changes_neither_plan_nor_prompt",
        "unit/handoffs/test_cleaning.py::test_what_is_nested_too_deep_is_not_followed",
        "unit/constitution/test_own.py::test_a_name_out_of_telemetry_is_a_value_to_an_own_policy_and_nothing_else",
        "unit/dashboard/test_pages.py::test_text_of_telemetry_is_never_markup",
    ),
    "faked telemetry that provokes harm": (
        "scenarios/test_healing.py::"
        "test_no_other_agents_telemetry_answers_a_handoff_and_the_timeline_says_once_who_tried",
        "scenarios/test_hostile.py::test_nobody_answers_anothers_handoff_whatever_it_calls_itself_or_says",
        "scenarios/test_approvals.py::test_one_signal_alone_brings_about_nothing_that_cannot_be_undone_and_asks_nobody",
        "scenarios/test_approvals.py::test_two_signals_that_came_by_different_ways_agree_and_a_person_is_asked",
        "unit/api/test_server.py::test_with_a_token_only_who_shows_it_is_let_in",
    ),
    "a remediation storm": (
        "scenarios/test_threats.py::test_a_storm_of_incidents_is_all_accounted_for_within_the_limits_and_done_once_each",
        "scenarios/test_limits.py::test_no_more_than_six_actions_go_in_a_minute_and_the_rest_follow",
        "scenarios/test_limits.py::"
        "test_one_trigger_in_over_two_fifths_of_the_fleet_is_one_incident_for_all_and_nobody_is_shut_down",
    ),
    "floods, bombs, deep or huge payloads": (
        "unit/api/test_server.py::test_a_bomb_is_refused",
        "unit/api/test_bodies.py::test_what_becomes_too_large_is_refused_before_it_is_held",
        "unit/api/test_bodies.py::test_what_does_not_fit_is_refused_until_others_are_answered",
        "unit/telemetry/otlp/test_traces.py::test_attributes_beyond_those_that_are_kept_are_counted",
        "unit/telemetry/otlp/test_traces.py::test_json_that_nests_deeper_than_32_levels_is_refused",
        "unit/telemetry/test_native.py::"
        "test_a_line_nested_too_deep_is_quarantined_and_one_just_as_deep_as_allowed_is_not",
        "unit/test_poison.py::test_huge_attributes_are_cut",
        "scenarios/test_threats.py::test_groups_beyond_the_most_share_one_series",
    ),
    "a web page or another host reaching the local API": (
        "unit/api/test_server.py::test_a_web_page_of_another_place_may_not_speak_to_it",
        "unit/api/test_server.py::test_with_a_token_only_who_shows_it_is_let_in",
        "unit/api/test_approving.py::test_a_page_of_another_origin_cannot_answer",
        "unit/dashboard/test_pages.py::test_a_page_of_another_origin_cannot_act",
        "unit/dashboard/test_pages.py::test_no_page_may_load_anything_from_elsewhere_or_be_framed",
    ),
    "webhook forgery, replay, SSRF": (
        "contract/test_web.py::test_what_arrives_is_a_cloud_event_with_the_nine_keys_signed_under_the_handoffs_id",
        "contract/test_web.py::test_the_time_is_signed_so_that_an_old_message_is_refused",
        "contract/test_web.py::test_an_address_that_is_not_public_is_refused_however_it_is_written",
        "contract/test_web.py::test_a_bad_server_costs_its_own_handoff_only",
    ),
    "audit tampering": (
        "unit/constitution/test_audit.py::test_an_edit_a_deletion_a_swap_and_a_cut_are_found_where_they_are",
        "unit/constitution/test_checkpoints.py::test_each_way_to_tamper_is_found_and_named",
        "unit/constitution/test_exporting.py::test_what_was_changed_since_is_found_without_this_package",
    ),
    "subprocess and secret leaks, log injection": (
        "unit/handoffs/test_command.py::test_no_shell_reads_the_arguments",
        "unit/handoffs/test_command.py::test_a_program_sees_only_the_variables_that_it_may",
        "unit/handoffs/test_command.py::test_secrets_and_control_characters_in_its_output_are_not_kept",
        "unit/test_logs.py::test_log_injection_and_secrets_do_not_get_through",
        "scenarios/test_threats.py::test_a_secret_in_telemetry_gets_neither_into_the_state_nor_out_of_it",
    ),
    "unsafe loading": (
        "scenarios/test_threats.py::test_a_pickled_row_is_refused_and_nothing_in_it_is_run",
        "scenarios/test_threats.py::test_nothing_is_ever_loaded_that_could_run",
        "scenarios/test_threats.py::test_what_the_process_that_reads_bodies_answers_is_never_loaded",
    ),
}
"""Each threat, with the tests that show the answer to it."""


@pytest.mark.parametrize("threat", SHOWN_BY)
def test_every_threat_has_tests_that_are_there(threat: str) -> None:
    for place in SHOWN_BY[threat]:
        file, _, name = place.partition("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        names = {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in names, place


def slow(fleet: Scenario, agent: str, **fields: Any) -> None:
    fleet.finish(f"t-{agent}", agent, duration_s=70.0, **fields)


STORM, PER_SECOND = 60, 6


def test_a_storm_of_incidents_is_all_accounted_for_within_the_limits_and_done_once_each(fleet: Scenario) -> None:
    for second in range(STORM // PER_SECOND):
        fleet.at(second)
        for number in range(PER_SECOND):
            slow(fleet, f"a{second}-{number}")
    fleet.at(14)
    store = fleet.loop.store
    incidents = [each for each in store.select(Incident) if not each.is_parent]
    assert len({each.group for each in incidents}) == len(incidents) == STORM
    begun = [each for each in store.select(Execution) if each.key is not None]
    assert len({each.key for each in begun}) == len(begun)
    at_once = Counter(int(each.created_at.timestamp()) for each in begun)
    assert 0 < sum(at_once.values()) <= fleet.loop.spec.limits.actions_per_minute
    # Each either has its action, or says what it waits for, or is with a person.
    left = [each for each in incidents if each.execution is None and each.parent is None]
    assert [each.state for each in left if not each.notes] == []
    waiting = [each for each in store.select(Execution) if each.status is ExecutionStatus.DEFERRED]
    assert len(waiting) + len(begun) >= len([each for each in incidents if each.execution is not None])
    assert all(each.reason for each in waiting)
    assert fleet.loop.telemetry.accounting.aggregated == STORM


def test_the_limits_used_up_a_storm_is_told_turn_by_turn_until_all_know_that_they_wait(fleet: Scenario) -> None:
    for number in range(30):
        slow(fleet, f"a{number}")
    assert len(told(fleet)) < 30  # no turn is kept from coming
    fleet.at(3)
    assert len(told(fleet)) == 30


def told(fleet: Scenario) -> list[Incident]:
    """The incidents of whose step the gate has said something."""
    fleet.incident("slow_tasks", "a0")
    return [each for each in fleet.loop.store.select(Incident) if each.execution is not None and not each.is_parent]


def test_groups_beyond_the_most_share_one_series(scenario: MakeScenario) -> None:
    fleet = scenario(settings={"triggers": {"max_groups": 5}})
    for number in range(20):
        slow(fleet, f"a{number}")
    fleet.at(1).incident("slow_tasks", "a0")
    groups = {each.group for each in fleet.loop.verdicts()}
    assert {dict(group)["agent"] for group in groups} == {*(f"a{number}" for number in range(5)), "overflow"}


CANARY = "sk-proj-CANARY0123456789abcdefghijklmnopqrstuvwxyzABCD"
PASSWORD = "hunter2-CANARY-of-a-password"


BY_WHAT_SENDERS_SAY = """
[[trigger]]
name = "slow_by_error"
type = "custom"
signal = "task.duration_s"
aggregate = "max"
window = "5m"
group_by = ["agent", "error_type", "tool", "attributes.api_key", "attributes.note"]
condition = { kind = "threshold", value = 60 }
severity = "high"
target_agent = "Aide"
actions = ["analyze_slow_tasks"]
"""


def test_a_secret_in_telemetry_gets_neither_into_the_state_nor_out_of_it(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CANARY_KEY", CANARY)
    triggers = tmp_path / "triggers.toml"
    triggers.write_text(BY_WHAT_SENDERS_SAY)
    fleet = scenario(settings={"server": {"token": PASSWORD}, "triggers": {"files": [triggers]}})
    text = f"401 for key {CANARY}; password={PASSWORD}"
    fields: dict[str, Any] = {
        "errors": text,
        "error_type": text,
        "tool": text,
        "attributes": {"api_key": PASSWORD, "note": text},
    }
    fleet.event("log", agent="Coder", message=text)
    for number in range(3):
        fleet.finish(f"t{number}", "Coder", status="failed", duration_s=70.0, **fields)
    fleet.start("runs", "Coder", **fields)
    fleet.event("task_started", after_s=60.0, id="later", agent="Coder", attempt=1, **fields)  # waits for its time
    fleet.at(5).expect_handoff("slow_tasks")
    surface = Surface(fleet.loop)
    incident = fleet.incident("slow_tasks")
    [by_error] = fleet.loop.store.select(Incident, trigger="slow_by_error")
    assert dict(by_error.group)["attributes.api_key"] == "[redacted]"
    [handoff] = surface.call("records", {"kind": "handoffs"})["handoffs"][:1]
    asked = [surface.call(each, {}) for each in ("status", "overview", "incidents", "history", "agents")]
    asked += [surface.call("incident", {"id": incident.id}), surface.call("handoff", {"id": handoff["id"]})]
    fleet.close()
    written = [
        file for file in fleet.directory.rglob("*") if file.is_file() and fleet.telemetry_dir not in file.parents
    ]
    assert len(written) > 4
    leaks = [file for file in written for canary in (CANARY, PASSWORD) if canary.encode() in file.read_bytes()]
    assert leaks == []
    assert all(canary not in repr(asked) for canary in (CANARY, PASSWORD))


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.file,))  # type: ignore[return-value] # what a pickle would call


def test_a_pickled_row_is_refused_and_nothing_in_it_is_run(fleet: Scenario, tmp_path: Path) -> None:
    slow(fleet, "Coder")
    fleet.incident("slow_tasks")
    ran = tmp_path / "ran"
    pickled = pickle.dumps(Payload(ran))
    for table in (schema.executions, schema.incidents):
        with fleet.loop.store.transaction() as connection:
            connection.execute(sa.update(table).values(record=pickled))
    with pytest.raises(StateCorrupt):
        fleet.loop.store.select(Incident)
    with pytest.raises(StateCorrupt):
        fleet.loop.store.select(Execution)
    assert not ran.exists()


UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "joblib"}


def test_nothing_is_ever_loaded_that_could_run() -> None:
    found = []
    for file in Path(self_healing.__file__).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if not any(word in text for word in (*UNSAFE, "eval(", "exec(")):
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Import(names=names):
                    found += [(file.name, each.name) for each in names if each.name.partition(".")[0] in UNSAFE]
                case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in UNSAFE:
                    found.append((file.name, module))
                case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
                    found.append((file.name, name))
                case _:
                    pass
    # What it has its own process do; of what that answers nothing is loaded, as the next test holds.
    assert found == [("worker.py", "pickle")]


def test_what_the_process_that_reads_bodies_answers_is_never_loaded(tmp_path: Path) -> None:
    place = tmp_path / "made"
    converting = conversion()
    with pytest.raises(ConversionLost):
        asyncio.run(converting.encoded(partial(says_code, str(place)), b"", None, "otlp"))
    assert "what it said is no answer" in converting.problems[0]
    assert not place.exists()
