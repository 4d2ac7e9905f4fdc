"""What differs between two configurations is told trigger by trigger, key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from self_healing.changes import restart_changes, setting_changes, spec_changes
from self_healing.config import Settings, load_spec
from self_healing.spec import Spec


def spec(tmp_path: Path, triggers: str = "", grid: str = "1s", **sections: Any) -> Spec:
    file = tmp_path / "triggers.toml"
    file.write_text(triggers)
    settings = Settings.model_validate({**sections, "triggers": {"files": [file], "grid": grid}})
    return load_spec(settings)


def test_a_spec_does_not_differ_from_itself(tmp_path: Path) -> None:
    assert spec_changes(spec(tmp_path), spec(tmp_path)) == []


def test_each_key_of_a_trigger_is_told_with_what_it_was_and_is(tmp_path: Path) -> None:
    changed = """
        [[trigger]]
        name = "slow_tasks"
        window = "10m"
        condition = { kind = "threshold", op = ">=", value = 300 }
        """
    found = spec_changes(spec(tmp_path), spec(tmp_path, changed))
    assert list(map(str, found)) == [
        "trigger slow_tasks: window: 300 -> 600",
        "trigger slow_tasks: condition.value: 60.0 -> 300.0",
    ]


def test_what_is_new_and_what_is_gone_are_told_as_a_whole(tmp_path: Path) -> None:
    own = """
        [[trigger]]
        name = "many_tasks"
        type = "custom"
        signal = "task.duration_s"
        aggregate = "count"
        window = "1m"
        condition = { kind = "threshold", value = 100 }
        severity = "low"
        target_agent = "Operator"
        """
    before, after = spec(tmp_path), spec(tmp_path, own)
    assert list(map(str, spec_changes(before, after))) == ["trigger many_tasks: added"]
    assert list(map(str, spec_changes(after, before))) == ["trigger many_tasks: removed"]


def test_limits_and_what_is_spec_wide_are_told(tmp_path: Path) -> None:
    after = spec(tmp_path, constitution={"limits": {"cool_down": 20}}, grid="5s")
    assert list(map(str, spec_changes(spec(tmp_path), after))) == ["limits: cool_down: 10 -> 20", "spec: grid: 1 -> 5"]


def test_what_takes_a_restart_is_told_apart_from_what_does_not_and_a_token_is_never_shown() -> None:
    after = Settings.model_validate(
        {
            "environment": "staging",
            "actions": {"mode": "observe"},
            "storage": {"logs_dir": "elsewhere"},
            "server": {"port": 9000, "token": "secret-of-ours", "tokens": {"ci": {"env": "CI", "scopes": ["send"]}}},
        }
    )
    assert list(map(str, setting_changes(Settings(), after))) == ['settings: actions.mode: "act" -> "observe"']
    assert list(map(str, restart_changes(Settings(), after))) == [
        'settings: environment: "" -> "staging"',
        'settings: storage.logs_dir: "logs" -> "elsewhere"',
        'settings: server.token: "one token" -> "another"',
        'settings: server.tokens: "some tokens" -> "others"',
        "settings: server.port: 8787 -> 9000",
    ]
