"""Maintenance windows: when one is in force, and what is refused of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.config import Settings, TriggerSettings, load_spec
from self_healing.errors import ConfigError
from self_healing.incidents.maintenance import covers, in_force, next_change
from self_healing.spec import Maintenance, Weekday

MONDAY = "2026-01-05"
CODER = (("agent", "Coder"),)


def window(**values: Any) -> Maintenance:
    return Maintenance.model_validate({"name": "work", **values})


def at(text: str) -> datetime:
    """An instant in UTC, such as ``2026-01-05 22:00``."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = {"from": "22:00", "to": "02:00"}
WEEKEND = {"days": ["sat", "sun"]}
BERLIN = {"from": "02:15", "to": "02:45", "timezone": "Europe/Berlin"}
OVER_BERLIN = {"from": "01:00", "to": "04:00", "timezone": "Europe/Berlin"}
DAYS_OFF = {"starts": "2026-01-05", "ends": "2026-01-06"}

# the window, an instant in UTC, and until when it mutes then
TABLE = [
    ({"from": "10:00", "to": "11:00"}, "2026-01-05 09:59", None),
    ({"from": "10:00", "to": "11:00"}, "2026-01-05 10:00", "2026-01-05 11:00"),
    ({"from": "10:00", "to": "11:00"}, "2026-01-05 11:00", None),
    (NIGHT, "2026-01-05 22:00", "2026-01-06 02:00"),
    (NIGHT, "2026-01-06 01:59", "2026-01-06 02:00"),
    (NIGHT, "2026-01-06 02:00", None),
    (NIGHT | {"days": ["mon"]}, "2026-01-06 01:00", "2026-01-06 02:00"),
    (NIGHT | {"days": ["tue"]}, "2026-01-06 01:00", None),
    ({}, "2026-01-05 00:00", "2026-01-06 00:00"),
    (WEEKEND, "2026-01-09 23:59", None),
    (WEEKEND, "2026-01-10 00:00", "2026-01-11 00:00"),
    (WEEKEND, "2026-01-11 23:59", "2026-01-12 00:00"),
    (WEEKEND, "2026-01-12 00:00", None),
    (NIGHT | DAYS_OFF, "2026-01-04 23:00", None),
    (NIGHT | DAYS_OFF, "2026-01-05 23:00", "2026-01-06 02:00"),
    (NIGHT | DAYS_OFF, "2026-01-07 01:00", "2026-01-07 02:00"),
    (NIGHT | DAYS_OFF, "2026-01-07 22:00", None),
    # in winter Berlin is an hour ahead
    (BERLIN, "2026-01-05 01:14", None),
    (BERLIN, "2026-01-05 01:15", "2026-01-05 01:45"),
    # set forward on 29 March at 01:00 UTC: 02:15 is never; it is an hour later by the clock
    (BERLIN, "2026-03-29 01:14", None),
    (BERLIN, "2026-03-29 01:15", "2026-03-29 01:45"),
    (BERLIN, "2026-03-30 00:15", "2026-03-30 00:45"),
    # set back on 25 October at 01:00 UTC: 02:15 is twice; it lasts from the first to the last
    (BERLIN, "2026-10-25 00:15", "2026-10-25 01:45"),
    (BERLIN, "2026-10-25 01:44", "2026-10-25 01:45"),
    (OVER_BERLIN, "2026-10-24 23:00", "2026-10-25 03:00"),
    (OVER_BERLIN, "2026-03-29 01:59", "2026-03-29 02:00"),
    ({"timezone": "Pacific/Kiritimati", "days": ["tue"]}, "2026-01-05 10:00", "2026-01-06 10:00"),
    ({"timezone": "Pacific/Midway", "days": ["sun"]}, "2026-01-05 10:59", "2026-01-05 11:00"),
]


@pytest.mark.parametrize(("values", "instant", "until"), TABLE)
def test_it_mutes_from_its_start_up_to_its_end(values: dict[str, Any], instant: str, until: str | None) -> None:
    assert in_force(window(**values), at(instant)) == (None if until is None else at(until))


times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
windows = st.builds(
    lambda days, start, to, zone: {"days": days, "from": start, "to": to, "timezone": zone},
    st.lists(st.sampled_from(Weekday), min_size=1, unique=True),
    times,
    times,
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
).filter(lambda values: values["from"] != values["to"])
instants = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))


@given(windows, instants)
def test_nothing_changes_before_the_next_change(values: dict[str, Any], instant: datetime) -> None:
    tried, change = window(**values), next_change(window(**values), instant)

    assert change > instant
    now = in_force(tried, instant) is not None
    step = (change - instant) / 50
    assert all((in_force(tried, instant + number * step) is not None) == now for number in range(50))


@given(windows, instants)
def test_what_is_in_force_is_over_when_it_says(values: dict[str, Any], instant: datetime) -> None:
    until = in_force(window(**values), instant)

    if until is not None:
        assert until > instant
        assert in_force(window(**values), until - timedelta(microseconds=1)) is not None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, True),
        ({"triggers": ["slow_tasks"]}, True),
        ({"triggers": ["high_retry_rate"]}, False),
        ({"keys": {"agent": "Coder"}}, True),
        ({"keys": {"agent": "Writer"}}, False),
        ({"keys": {"model": "m"}}, False),
    ],
)
def test_it_is_about_the_series_that_it_names(values: dict[str, Any], expected: bool) -> None:
    assert covers(window(**values), "slow_tasks", CODER) is expected


# --- as declared -----------------------------------------------------------------------------------------------------


def declared(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "triggers.toml"
    file.write_text(text)
    return Settings(triggers=TriggerSettings(files=(file,)))


def test_windows_stand_beside_triggers_in_a_file_and_are_part_of_the_spec_version(tmp_path: Path) -> None:
    text = '[[trigger]]\nname = "slow_tasks"\nseverity = "low"\n'
    plain = load_spec(declared(tmp_path, text))
    windowed = load_spec(
        declared(
            tmp_path, text + '[[maintenance]]\nname = "nightly"\nfrom = "22:00"\nto = "23:00"\nstarts = 2026-01-05\n'
        )
    )

    assert [each.name for each in windowed.maintenance] == ["nightly"]
    assert windowed.version != plain.version
    assert windowed.triggers == plain.triggers


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('from = "25:00"', '2: maintenance work: from: "25:00": allowed is a time such as 22:00, from 00:00 to 24:00'),
        ('from = "10:00"\nto = "10:00"', "from 10:00 to 10:00: allowed are two times"),
        ('timezone = "Mars/Base"', 'timezone: "Mars/Base": allowed is a time zone such as UTC or Europe/Berlin'),
        ('days = ["mond"]', 'days.0: "mond": un'),
        ("days = []", "days: []: allowed is at least one day"),
        ('triggers = ["slow_task"]', 'triggers.0: "slow_task": unknown; did you mean slow_tasks?'),
        ('keys = { model = "m" }', 'keys.model: "m": no trigger groups by it; allowed are agent'),
        ("starts = 2026-01-05\nends = 2026-01-04", "ends 2026-01-04: allowed is 2026-01-05"),
        ('starts = "soon"', 'starts: "soon": allowed is a date such as 2026-01-05'),
        ('form = "10:00"', 'form: "10:00": unknown; did you mean from?'),
    ],
)
def test_a_mistake_in_a_window_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_spec(declared(tmp_path, f'[[maintenance]]\n{text}\nname = "work"\n'))

    assert len(refused.value.problems) == 1
    assert problem in refused.value.problems[0]


def test_what_is_wrong_with_the_file_as_a_whole_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_spec(declared(tmp_path, '[[maintainance]]\nname = "work"\n'))

    assert len(refused.value.problems) == 1
    assert "allowed are tables [[trigger]] and [[maintenance]]" in refused.value.problems[0]
