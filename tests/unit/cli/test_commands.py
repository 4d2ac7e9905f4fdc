"""Each command by itself, in this process: its help, what it prints for people, what it refuses."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing.cli import COMMANDS, GROUPS, build, execute
from self_healing.storage.store import Store
from tests.unit.actions.test_directives import directive

SUBCOMMANDS = {
    "triggers": ["list", "show", "enable", "disable", "test", "backtest"],
    "incidents": ["list", "show", "ack", "close"],
    "silences": ["list", "add", "remove"],
    "directives": ["list", "undo"],
    "handoffs": ["list", "show", "accept", "complete", "fail"],
    "approvals": ["list", "show", "approve", "deny"],
    "constitution": ["show", "explain", "test"],
    "audit": ["verify", "export"],
    "config": ["validate", "schema"],
}
ALL = [[name] for name in COMMANDS] + [[name, sub] for name, subs in SUBCOMMANDS.items() for sub in subs]
DIRECTORIES = {"--telemetry-dir", "--state-dir", "--logs-dir", "--config"}
WITHOUT_FORMAT = (["completion"], ["audit"], ["config"], ["ingest"])
WITHOUT_DIRECTORIES = (["demo"], ["completion"], ["simulate"], ["audit"], ["config"], ["config", "schema"], ["ingest"])
PRINTING = [
    ["check", "--now", "2026-01-05T10:00:00Z"],
    ["status"],
    ["status", "--health"],
    ["events"],
    ["watch"],
    ["triggers"],
    ["triggers", "list"],
    ["triggers", "show", "slow_tasks"],
    ["triggers", "disable", "slow_tasks"],
    ["explain", "slow_tasks"],
    ["actions"],
    ["incidents"],
    ["incidents", "list", "--all"],
    ["incidents", "--state", "open", "--state", "acting"],
    ["silences"],
    ["silences", "list", "--all"],
    ["silences", "add", "--trigger", "slow_tasks", "--from", "2030-01-05T22:00:00Z", "--reason", "a drill"],
    ["directives"],
    ["history"],
    ["handoffs"],
    ["handoffs", "--status", "delivered"],
    ["approvals"],
    ["approvals", "list", "--all"],
    ["constitution"],
    ["constitution", "show"],
    ["constitution", "test"],
    ["audit", "verify"],
    ["config", "validate"],
]
FOLLOWING = ["watch"]  # as JSON, a line a change, so that it does not end
WITH_A_STATE = (["status", "--health"], ["audit", "verify"])
"""What fails where nothing was evaluated yet."""
HOSTILE = "Co\x1b[31mder\u202e [bold]:bug:[/x]"


@pytest.fixture
def where(tmp_path: Path) -> list[str]:
    """Options that lead into a directory in which an agent with a hostile name is slow and errs."""
    telemetry = tmp_path / "telemetry"
    telemetry.mkdir()
    now = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
    with (telemetry / "events-20260105.jsonl").open("w") as file:
        for number in range(5):
            ts = (now - timedelta(seconds=10 - number)).isoformat()
            event = {"ts": ts, "type": "task_finished", "id": f"t{number}", "agent": HOSTILE, "attempt": 4}
            file.write(json.dumps(event | {"status": "failed", "duration_s": 90.0}) + "\n")
    (tmp_path / "empty.toml").touch()
    return [
        *("--telemetry-dir", str(telemetry)),
        *("--state-dir", str(tmp_path / "state")),
        *("--logs-dir", str(tmp_path / "logs")),
        *("--config", str(tmp_path / "empty.toml")),
    ]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help_that_names_the_shared_options(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    build()([*words, "--help"], result_action="return_value")
    printed = capsys.readouterr().out
    assert f"Usage: self-healing {' '.join(words)}" in printed
    assert (set(printed.split()) >= DIRECTORIES) is (words not in WITHOUT_DIRECTORIES)
    assert ("--format" in printed.split()) is (words not in WITHOUT_FORMAT)


def test_every_command_is_in_one_group_of_the_overview() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


def test_the_help_of_a_command_names_its_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    build()(["check", "--help"], result_action="return_value")
    assert "Exits with 1 when the telemetry directory cannot be read" in " ".join(capsys.readouterr().out.split())


def test_switching_a_trigger_off_tells_which_incidents_go_with_it(
    where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--now", "2026-01-05T10:00:00Z"]
    assert execute(["check", *at, *where, "--format", "json"]) == 0
    incidents = json.loads(capsys.readouterr().out)["incidents"]
    (id,) = [each["id"] for each in incidents if each["trigger"] == "slow_tasks"]
    assert execute(["triggers", "disable", "slow_tasks", *where]) == 0
    printed = capsys.readouterr().out
    assert "slow_tasks is off" in printed
    assert f"1 of its incidents is dismissed with it:\n  {id}\n" in printed
    assert execute(["triggers", "show", "slow_tasks", *where, "--format", "json"]) == 0
    assert {each["reason"] for each in json.loads(capsys.readouterr().out)["series"]} <= {"disabled"}


def test_the_subcommands_are_all_that_there_are() -> None:
    app = build()
    for name, subs in SUBCOMMANDS.items():
        assert {sub for sub in app[name] if not sub.startswith("-")} == set(subs)


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_what_is_printed_for_people_obeys_nothing_that_came_with_telemetry(
    words: list[str], where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["check", "--now", "2026-01-05T10:00:00Z", *where]) == 0
    capsys.readouterr()
    assert execute([*words, *where]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.strip()
    assert "\x1b" not in printed.out
    assert "\u202e" not in printed.out
    if words[0] in ("incidents", "watch"):
        assert r"Co\x1b[31mder\u202e [bold]:bug:[/x]" in printed.out


@pytest.mark.parametrize(
    "words", [words for words in PRINTING if words not in (*WITH_A_STATE, ["watch"])], ids=" ".join
)
def test_what_is_printed_as_json_is_one_document_under_the_label_of_its_fleet(
    words: list[str], where: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELF_HEALING_ENVIRONMENT", "staging")
    assert execute([*words, *where, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["environment"] == "staging"


DOING = [
    ["stop-healing", "--reason", "[/x]", "--by", "ada"],
    ["resume-healing", "--by", "ada"],
    ["init", "--force"],
    ["audit", "verify"],
    ["audit", "export", "--output", "exported.jsonl"],
    ["backup", "copy"],
    ["restore", "copy"],
]


@pytest.mark.parametrize("format", ["table", "json"])
def test_what_was_done_is_told_in_the_format_that_is_asked_for(
    where: list[str],
    format: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SELF_HEALING_ENVIRONMENT", "staging")
    assert execute(["check", "--now", "2026-01-05T10:00:00Z", *where]) == 0
    capsys.readouterr()
    for words in DOING:
        if words[0] == "restore":
            (tmp_path / "state").rename(tmp_path / "before")
        assert execute([*words, *where, "--format", format]) == 0, words
        printed = capsys.readouterr().out
        if format == "json":
            assert json.loads(printed)["environment"] == "staging", words
        else:
            assert printed.strip(), words


def test_a_log_that_is_not_there_is_not_said_to_hold(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["audit", "verify", *where]) == 1
    printed = capsys.readouterr()
    assert (printed.out, "there is no state in" in printed.err) == ("", True)


def test_an_export_writes_over_nothing_and_says_what_to_do(
    where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["check", "--now", "2026-01-05T10:00:00Z", *where]) == 0
    there = tmp_path / "exported.jsonl"
    there.write_text("mine")
    assert execute(["audit", "export", "--output", str(there), *where]) == 1
    assert f"{there} is there already, and nothing is written over; name another file" in capsys.readouterr().err
    assert there.read_text() == "mine"


def test_a_second_stop_without_a_reason_keeps_the_first_ones(
    where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["stop-healing", "--reason", "drill", "--by", "ann", *where]) == 0
    capsys.readouterr()
    assert execute(["stop-healing", "--by", "bob", *where]) == 0
    assert capsys.readouterr().out.startswith("already stopped by ann: drill\n")
    assert execute(["stop-healing", "--reason", "it burns", "--by", "bob", *where]) == 0
    assert capsys.readouterr().out.startswith("stopped by bob: it burns\n")


def test_what_a_check_tells_says_which_fleet_it_is(
    where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.toml").write_text('environment = "staging"\n')
    assert execute(["check", "--now", "2026-01-05T10:00:00Z", *where, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["environment"] == "staging"


def test_an_incident_and_a_handoff_are_shown_with_all_that_belongs_to_them(
    where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*words: str) -> str:
        assert execute([*words, *where]) == 0
        return capsys.readouterr().out

    report = json.loads(printed("check", "--now", "2026-01-05T10:00:00Z", "--format", "json"))
    acting = next(each for each in report["actions"] if each["status"] == "dispatched")
    story = printed("incidents", "show", acting["incident"])
    for title in ("timeline", "decisions", "executions", "verifications", "directives", "handoffs"):
        assert f"\n{title}\n" in story
    assert acting["action"] in story
    assert "detected" in story
    (handoff,) = json.loads(printed("handoffs", "--format", "json"))["handoffs"]
    shown = printed("handoffs", "show", handoff["id"])
    assert "All text in `context` comes from telemetry" in shown
    assert handoff["path"] in shown
    for agent, found in ((handoff["about"], [acting["incident"]]), ("Nobody", [])):
        of = ("--agent", agent, "--format", "json")
        assert {each["incident"] for each in json.loads(printed("history", *of))["history"]} >= set(found)
        assert {each["id"] for each in json.loads(printed("incidents", *of))["incidents"]} >= set(found)
        assert [each["incident"] for each in json.loads(printed("handoffs", *of))["handoffs"]] == found
    assert json.loads(printed("incidents", *of))["incidents"] == json.loads(printed("history", *of))["history"] == []


def test_one_is_told_as_one_and_what_has_a_unit_with_it(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*words: str) -> list[str]:
        execute([*words, *where])
        return capsys.readouterr().out.splitlines()

    printed("check", "--now", "2026-01-05T10:00:00Z")
    assert "flap_window      1h" in printed("triggers", "show", "slow_tasks")
    [limit] = [line for line in printed("constitution") if line.startswith("blast_radius_percent")]
    assert limit.split("  ")[-1].strip() in ("0 %", "100 %")
    [*_, said] = printed("doctor")
    assert re.match(r"(1 problem|(?!1 )\d+ problems), (1 warning|(?!1 )\d+ warnings), \d+ ok$", said)


def test_directives_that_are_overridden_are_listed_with_what_overrides_them(
    tmp_path: Path, where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    with Store(tmp_path / "state") as store:
        store.put(
            directive("max_retries", 2, id="dir-1", replaced=5, expires_at=until),
            directive("max_retries", 4, id="dir-2", expires_at=until),
        )
    assert execute(["directives", "list", *where]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:6] == ["dir-1", "Coder", "max_retries", "2", "5", "effective"]
    assert rows[2][:8] == ["dir-2", "Coder", "max_retries", "4", "-", "overridden", "by", "dir-1"]
    assert execute(["directives", "undo", "dir-1", *where]) == 0
    assert "undone (UTC)" in capsys.readouterr().out
    assert execute(["directives", *where, "--format", "json"]) == 0
    (left,) = json.loads(capsys.readouterr().out)["directives"]
    assert (left["id"], left["overridden_by"]) == ("dir-2", None)


def test_a_failing_test_of_a_trigger_is_exit_code_1_and_its_diff_is_printed(
    tmp_path: Path, where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tests.toml"
    test = """
        [[test]]
        name = "\x1b[31m fires"
        series = [{ signal = "task.duration_s", group = { agent = "Coder" }, samples = "SAMPLE" }]
        expect = [{ at = "0s", trigger = "slow_tasks", group = { agent = "Coder" }, state = "firing" }]
        """.replace("\x1b", "\\u001b")
    file.write_text(test.replace("SAMPLE", "60"))
    assert execute(["triggers", "test", str(file), *where]) == 0
    assert capsys.readouterr().out == "1 test, all passed\n"
    file.write_text(test.replace("SAMPLE", "59"))
    assert execute(["triggers", "test", str(file), *where]) == 1
    printed = capsys.readouterr().out
    assert "    state  expected firing  got inactive\n" in printed
    assert "\x1b" not in printed
    assert execute(["triggers", "test", str(file), *where, "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == 1


def test_a_silence_is_added_listed_and_removed(where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> dict[str, Any]:
        assert execute([*words, *where, "--format", "json"]) == 0
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    added = told("silences", "add", "--key", "agent=Coder", "--for", "2h", "--reason", "a drill", "--by", "Ada")
    silence = added["silence"]
    assert (silence["keys"], silence["by"], silence["reason"]) == ({"agent": "Coder"}, "Ada", "a drill")
    assert added["matches"]["series"] == 0
    assert told("silences") == {"silences": [silence]}
    removed = told("silences", "remove", silence["id"], "--by", "Bob")["silence"]
    assert (removed["state"], removed["removed_by"]) == ("over", "Bob")
    assert told("silences") == {"silences": []}
    assert told("silences", "--all") == {"silences": [removed]}


def test_triggers_that_could_not_go_live_are_not_compared(
    where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, events = tmp_path / "other.toml", tmp_path / "events.jsonl"
    other.write_text('[[trigger]]\nname = "slow_tasks"\nclear = -1\n')
    events.write_text("")
    assert execute(["triggers", "backtest", str(events), "--against", str(other), *where]) == 1
    assert f"{other}:3: trigger slow_tasks: clear: -1: no value of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["heal"], 'Unknown command "heal". `self-healing --help` lists what there is'),
        (["triggers", "heal"], "heal: triggers takes nothing of that name"),
        (["triggers", "shw"], "did you mean show?"),
        (["statsu"], "status"),
        (["check", "--exit-cod"], "--exit-code"),
        (["incidents", "show"], "ID requires an argument. `self-healing incidents` lists what there is"),
        (["check", "--loud"], "Unknown option: --loud"),
        (["handoffs", "complete", "--loud"], "`self-healing handoffs complete --help` says what it takes"),
        (["check", "--now", "2026-01-05T10:00:00"], "has no time zone"),
        (["check", "--now", "yesterday"], "allowed is a time such as"),
        (["check", "--now", "0001-01-01T00:00:00Z"], "--now '0001-01-01T00:00:00Z': allowed is a time from 1970 until"),
        (["check", "--format", "xml"], "xml"),
        (["history", "--limit", "0"], "--limit"),
        (["incidents", "--state", "asleep"], "asleep"),
        (["incidents", "show", "inc-1"], "no incident 'inc-1'"),
        (["handoffs", "complete", "han-1"], "no handoff 'han-1'"),
        (["triggers", "enable", "slow"], "no trigger 'slow'"),
        (["directives", "undo"], "name at least one directive"),
        (["directives", "undo", "dir-1"], "no directive 'dir-1'"),
        (["silences", "add"], "an empty selection means nothing"),
        (["silences", "add", "--key", "agent"], "allowed is a key and a value"),
        (["silences", "add", "--trigger", "slow"], "trigger 'slow' is unknown; allowed are slow_tasks"),
        (["silences", "add", "--trigger", "slow_tasks", "--for", "soon"], "such as 90s, 5m"),
        (["silences", "add", "--trigger", "slow_tasks", "--for", "0s"], "above 0"),
        (["silences", "add", "--trigger", "slow_tasks", "--from", "tonight"], "allowed is a time such as"),
        (["silences", "add", "--trigger", "slow_tasks", "--from", "9999-12-31T23:59:59Z"], "until before 9000"),
        (["silences", "add", "--trigger", "slow_tasks"], "it has no reason; say why (--reason)"),
        (["silences", "remove", "sil-1"], "no silence 'sil-1'"),
        (["triggers", "test"], "name at least one file"),
        (["triggers", "test", "nothing.toml"], "nothing.toml: no such file"),
        (["triggers", "backtest"], "name at least one file"),
        (["triggers", "backtest", "nothing.jsonl"], "nothing.jsonl"),
        (["triggers", "backtest", "nothing.jsonl", "--against", "nothing.toml"], "nothing.toml"),
        (["ingest", "junit"], "name at least one file"),
        (["status", "--config", "nothing.toml"], "nothing.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_clear_message_and_exit_code_1(
    words: list[str], message: str, where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = where[:-2] if "--config" in words else where  # each option once
    assert execute([*words, *options]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("self-healing: ")
    assert message in printed.err
    assert "Traceback" not in printed.err
