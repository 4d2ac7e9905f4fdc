"""The overflow of a limited trigger in the whole loop: its incident, across a restart, to its end."""

from __future__ import annotations

from pathlib import Path

from self_healing.testing import Scenario

LIMITED = """
[[trigger]]
name = "slow_tasks"
max_series = 1
keep_firing_for = "10s"
"""


def test_the_incident_of_the_overflow_outlives_a_restart_and_ends_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "triggers.toml"
    file.write_text(LIMITED)
    settings = {"triggers": {"files": [file]}, "actions": {"mode": "observe"}}
    with Scenario(tmp_path, settings=settings) as fleet:
        fleet.finish("a", "Own", duration_s=5.0).finish("b", "Bob", duration_s=70.0).at(1)
        fleet.finish("c", "Cid", duration_s=80.0).at(2)
        fleet.expect_incident("slow_tasks", "overflow", "open", peak=80.0)

        fleet.restart()
        fleet.at(10).finish("d", "Dan", duration_s=90.0).at(11)
        fleet.expect_incident("slow_tasks", "overflow", "open", peak=90.0)

        fleet.finish("e", "Bob", duration_s=3.0).at(400)
        fleet.finish("f", "Own", duration_s=3.0).finish("g", "Eve", duration_s=3.0).at(420)
        fleet.expect_incident("slow_tasks", "overflow", "closed", close_reason="recovered")
