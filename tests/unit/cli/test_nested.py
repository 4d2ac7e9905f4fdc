"""What is nested is shown with the units of its numbers."""

from __future__ import annotations

import pytest

from self_healing.cli.nested import tree


def test_measured_values_carry_the_unit_that_stands_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    seen = {"window_s": 300, "signal": "x", "value": 0.3}
    tree({"value": 0.25, "threshold": 0.2, "baseline": None, "unit": "%", "window": seen})
    assert capsys.readouterr().out.splitlines() == [
        "value      25 %",
        "threshold  20 %",
        "baseline   -",
        "window     window=5m, signal=x, value=30 %",
    ]


def test_a_table_takes_the_unit_out_of_a_name_and_puts_it_to_the_number(capsys: pytest.CaptureFixture[str]) -> None:
    tree([{"task": "t1", "duration_s": 90.0, "cost_usd": 0.02}, {"task": "t2", "duration_s": None, "cost_usd": 1}])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["task", "duration", "cost"],
        ["t1", "90s", "0.02", "USD"],
        ["t2", "-", "1", "USD"],
    ]


def test_a_share_is_told_in_percent_and_what_was_measured_afterwards_in_its_own_unit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tree({"value": "m-2", "share_here": 1.0, "share_elsewhere": 0.316, "value_after": 0.02, "unit_after": "USD"})
    assert capsys.readouterr().out.splitlines() == [
        "value            m-2",
        "share here       100 %",
        "share elsewhere  31.6 %",
        "value after      0.02 USD",
    ]


def test_what_was_sent_keeps_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    tree({"attributes": {"prompt_version": 7, "unit": "kg", "wait_s": 3}})
    assert capsys.readouterr().out == "attributes  prompt_version=7, unit=kg, wait_s=3\n"


def test_settings_keep_the_names_by_which_the_fleet_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    tree({"settings": {"timeout_s": 22.471608, "paused": True}})
    assert capsys.readouterr().out == "settings  timeout_s=22.47, paused=yes\n"
