"""What waits unread is counted as the reader reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from self_healing.clock import FakeClock
from self_healing.config import Settings
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.status import last_health, loaded_spec, sources, why_unreadable
from self_healing.surface import Surface

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
LATER = datetime.now(UTC) + timedelta(hours=1)


def settings(directory: Path) -> Settings:
    return Settings.model_validate(
        {
            "telemetry": {"dir": directory / "telemetry"},
            "storage": {"state_dir": directory / "state", "logs_dir": directory / "logs"},
        }
    )


def bring(loop: SelfHealingOrchestrator, directory: Path) -> None:
    """Bring one test run in, which goes into a segment."""
    (directory / "junit.xml").write_text("<testsuite><testcase name='a'/></testsuite>")
    Surface(loop).call("ingest_junit", {"paths": [str(directory / "junit.xml")], "agent": "Coder"})


def test_native_files_wait_until_they_are_read_and_our_own_never_do(tmp_path: Path) -> None:
    telemetry = tmp_path / "telemetry"
    telemetry.mkdir()
    line = {"ts": AT.isoformat(), "type": "task_finished", "id": "t", "agent": "Coder", "status": "success"}
    (telemetry / "events-20260105.jsonl").write_text(json.dumps(line) + "\n")
    (telemetry / "events-self-healing-20260105.jsonl").write_text("{}\n")
    chosen = settings(tmp_path)
    assert sources(chosen)["unread"] == ["events-20260105.jsonl"]
    with SelfHealingOrchestrator.open(chosen, clock=FakeClock(AT)) as loop:
        loop.check(AT)
    assert sources(chosen)["unread"] == []


def test_a_segment_that_nobody_reads_is_an_issue_also_where_there_is_no_native_file(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    assert why_unreadable(chosen) is not None
    with SelfHealingOrchestrator.open(chosen, clock=FakeClock(AT)) as loop:
        bring(loop, tmp_path)
    assert why_unreadable(chosen) is None
    (name,) = sources(chosen)["unread"]
    assert name.startswith("segments/")
    (issue,) = last_health(chosen, loaded_spec(chosen), at=LATER)["issues"]
    assert name in issue
    with SelfHealingOrchestrator.open(chosen, clock=FakeClock(LATER)) as loop:
        loop.check(LATER)
    assert sources(chosen)["unread"] == []
