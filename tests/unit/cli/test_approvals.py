"""What ``approvals`` prints, and what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from self_healing.cli import execute
from self_healing.model import Approval
from self_healing.testing import Scenario
from tests.scenarios.test_approvals import options

HOSTILE = "Co\x1b[31mder\u202e"


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Approval, list[str]]:
    """What waits for a person, about an agent with a hostile name; and the options that lead to it."""
    # Asked for now, by the clock of this machine, by which the commands go.
    with Scenario(tmp_path, settings=options(tmp_path), start=datetime.now(UTC).replace(microsecond=0)) as fleet:
        fleet.finish("slow", HOSTILE, duration_s=70.0).expect_actions("slow_tasks", HOSTILE, erase="awaiting_approval")
        [approval] = fleet.loop.store.select(Approval)
    config = tmp_path / "self-healing.toml"
    config.write_text(
        f'triggers.files = ["{tmp_path}/triggers.toml"]\nactions.files = ["{tmp_path}/actions.toml"]\n'
        "constitution.limits.independent_signals = 1\n"
    )
    where = ("--telemetry-dir", "telemetry"), ("--state-dir", "state"), ("--logs-dir", "logs")
    options_ = [word for name, directory in where for word in (name, str(tmp_path / directory))]
    return approval, [*options_, "--config", str(config)]


def test_what_waits_is_listed_and_shown_in_full_and_obeys_no_name(
    asked: tuple[Approval, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    approval, where = asked
    assert execute(["approvals", *where]) == 0
    listed = capsys.readouterr().out
    assert execute(["approvals", "show", approval.id, *where]) == 0
    shown = capsys.readouterr().out
    assert approval.id in listed
    assert "pending" in listed
    assert approval.plan in shown
    assert "Janitor" in shown
    assert "III cannot_be_undone" in shown
    assert not any(line.endswith("  -") for line in (listed + shown).splitlines())
    assert "reason" not in listed
    assert not any(sign in listed + shown for sign in "\x1b\u202e")


@pytest.mark.parametrize(("answer", "became"), [("approve", "approved"), ("deny", "denied")])
def test_an_answer_is_given_once_and_for_the_plan_that_was_seen(
    answer: str, became: str, asked: tuple[Approval, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    approval, where = asked
    said = ["--by", "Ada", "--reason", "a copy", *where]
    assert execute(["approvals", answer, approval.id, "--plan", "0" * 64, *said]) != 0
    assert "look at it again" in capsys.readouterr().err

    assert execute(["approvals", answer, approval.id, "--plan", approval.plan, *said, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["approval"]
    assert (told["status"], told["by"], told["reason"]) == (became, "Ada", "a copy")

    assert execute(["approvals", answer, approval.id, *said]) != 0
    assert "answered once only" in capsys.readouterr().err
    assert execute(["approvals", "list", "--all", *where]) == 0
    assert became in capsys.readouterr().out
