from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from self_healing.telemetry.caps import ITEMS_MAX
from self_healing.telemetry.junit import MAX_BYTES, junit
from self_healing.telemetry.normalised import Normalised

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
CASES = (
    "<testcase name='a'/><testcase name='b'><failure>x</failure></testcase><testcase name='c'><error/></testcase>"
    "<testcase name='d'><skipped/></testcase><testcase name='e'><system-out>hello</system-out></testcase>"
)


def read(text: str, agent: str | None = "Tester") -> Normalised:
    return junit(text.encode(), at=AT, agent=agent)


def counts(batch: Normalised) -> list[tuple[str | None, str | None, int | None, int | None]]:
    return [(event.task_id, event.agent, event.passed, event.failed) for event in batch.events]


def test_a_suite_is_a_test_run_of_what_passed_and_what_did_not() -> None:
    batch = read(f"<testsuite name='unit' time='1.5' tests='99'>{CASES}</testsuite>")
    assert counts(batch) == [(None, "Tester", 2, 2)]
    (event,) = batch.events
    assert (event.kind, event.ts, event.duration_s) == ("test_run", "2026-01-05T10:00:00.000Z", 1.5)
    assert event.attributes == {"suite": "unit"}


def test_properties_name_the_task_and_the_agent() -> None:
    own = "<properties><property name='task_id' value='t1'/><property name='agent' value='Coder'/></properties>"
    outer = "<properties><property name='task_id' value='t0'/></properties>"
    inner = f"<testsuite>{own}{CASES}</testsuite><testsuite>{CASES}</testsuite>"
    batch = read(f"<testsuites><testsuite>{outer}{inner}</testsuite><testsuite>{CASES}</testsuite></testsuites>")
    assert counts(batch) == [("t1", "Coder", 2, 2), ("t0", "Tester", 2, 2), (None, "Tester", 2, 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<testsuite tests='50' failures='2' errors='1' skipped='7'/>", [(None, None, 40, 3)]),
        ("<testsuite tests='1' failures='2'/>", [(None, None, 0, 2)]),
        ("<testsuite/>", []),
        ("<testsuites/>", []),
        ("<testsuite tests='5'><testsuite tests='5'/></testsuite>", [(None, None, 5, 0)]),
        ("<testsuite><testcase name='x'><skipped/></testcase></testsuite>", [(None, None, 0, 0)]),
    ],
)
def test_a_suite_that_lists_no_tests_is_taken_by_its_own_count(text: str, expected: list[object]) -> None:
    assert counts(read(text, agent=None)) == expected


@pytest.mark.parametrize(
    ("timestamp", "ts"),
    [
        ("2026-01-05T08:00:00+01:00", "2026-01-05T07:00:00.000Z"),
        ("2026-01-05T08:00:00", "2026-01-05T10:00:00.000Z"),  # whose morning that is, nobody knows
        ("yesterday", "2026-01-05T10:00:00.000Z"),
    ],
)
def test_a_time_counts_where_it_names_its_zone(timestamp: str, ts: str) -> None:
    assert [each.ts for each in read(f"<testsuite timestamp='{timestamp}'>{CASES}</testsuite>").events] == [ts]


BOMB = "<!DOCTYPE x [" + "<!ENTITY a 'ha'>" + "<!ENTITY b '&a;&a;&a;'>" + "]><testsuite name='&b;'/>"
REMOTE = "<!DOCTYPE x SYSTEM 'file:///etc/passwd'><testsuite/>"


@pytest.mark.parametrize(
    ("data", "reason", "why"),
    [
        (b"", "invalid_xml", "it is no XML: no element found: line 1, column 0"),
        (b"<testsuite", "invalid_xml", "it is no XML: unclosed token: line 1, column 0"),
        (b"<html/>", "invalid_xml", "its root is neither testsuites nor testsuite"),
        (
            b"<testsuite tests='many'/>",
            "invalid_xml",
            "it is no JUnit XML: invalid literal for int() with base 10: 'many'",
        ),
        (b"<?xml version='1.0' encoding='nonsense'?><testsuite/>", "invalid_xml", "unknown encoding: nonsense"),
        (BOMB.encode(), "invalid_xml", "a document type is not allowed"),
        (BOMB.encode("utf-16"), "invalid_xml", "a document type is not allowed"),
        (REMOTE.encode(), "invalid_xml", "a document type is not allowed"),
        (b"<testsuite>" * 5_000 + b"</testsuite>" * 5_000, "invalid_xml", "its suites nest too deep"),
        (b" " * (MAX_BYTES + 1), "too_large", "it is larger than 20 MiB"),
    ],
    ids=range(10),
)
def test_what_cannot_be_used_is_rejected_whole_and_says_why(data: bytes, reason: str, why: str) -> None:
    batch = junit(data, at=AT)
    assert (batch.events, batch.rejected) == ([], {reason: 1})
    (problem,) = batch.problems
    assert why in problem


def test_the_same_file_is_the_same_batch_and_another_is_not() -> None:
    first, again, other = read("<testsuite/>"), read("<testsuite/>"), read("<testsuites/>")
    assert first.key == again.key != other.key


def test_what_pytest_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_a(record_testsuite_property):\n    record_testsuite_property('task_id', 't7')\n"
        "def test_b():\n    assert False\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=out.xml", "."]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    assert counts(junit((tmp_path / "out.xml").read_bytes(), at=AT)) == [("t7", None, 1, 1)]


def test_the_same_bytes_are_the_tests_of_two_where_they_are_brought_for_two() -> None:
    file = "<testsuite><testcase name='a'/></testsuite>"
    assert read(file, "Coder").key != read(file, "Tester").key
    assert read(file, "Coder").key == read(file, "Coder").key


def test_a_file_of_more_runs_than_are_taken_at_once_is_refused() -> None:
    suites = "<testsuite name='s'><testcase/></testsuite>" * (ITEMS_MAX + 1)
    many = read(f"<testsuites>{suites}</testsuites>")
    assert (many.events, many.rejected) == ([], {"too_large": 1})
