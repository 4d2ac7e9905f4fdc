"""What people read of a decision."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_healing.cli.constitution import _print, _print_decided
from self_healing.surface import Surface
from tests.unit.api.test_v1 import fleet_in


def test_a_decision_is_read_article_by_article_with_what_would_have_to_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fleet_in(tmp_path) as fleet:
        surface = Surface(fleet.loop)
        [asked] = surface.call("records", {"kind": "decisions", "where": {"outcome": ["ask"]}})["decisions"]
        _print_decided(surface.call("decision", {"id": asked["id"]}))
    told = capsys.readouterr().out
    assert "I  Complete context: nothing against it" in told
    assert "III  Automated enforcement: cannot_be_undone (ask)" in told
    assert "it would not hold if" in told


def test_the_newest_decisions_are_listed_whatever_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    allowed = {"at": "2026-01-05T10:00:00Z", "incident": "inc-1", "action": "a", "outcome": "allow", "articles": {}}
    denied = {**allowed, "incident": "inc-2", "outcome": "deny", "articles": {"III": [{"policy": "rate_limit"}]}}
    _print({"articles": [], "limits": [], "violations": 1, "decisions": [denied, allowed], "denials": [denied]})
    decisions, _, denials = capsys.readouterr().out.partition("violations: 1")
    assert [line.split()[2:] for line in decisions.splitlines()[-3:-1]] == [
        ["inc-2", "a", "deny", "III", "rate_limit"],
        ["inc-1", "a", "allow", "-"],
    ]
    assert ("inc-2" in denials, "inc-1" in denials) == (True, False)


def test_own_articles_are_shown_in_the_lines_in_which_they_were_written(capsys: pytest.CaptureFixture[str]) -> None:
    own = {"id": "night", "text": '@id("night")\nforbid (principal, action, resource)\nwhen { true };'}
    article = {"number": "VI", "title": "Own articles", "text": "What is forbidden.", "policies": [own]}
    _print({"articles": [article], "limits": [], "violations": 0, "decisions": [], "denials": []})
    assert '    @id("night")\n    forbid (principal, action, resource)\n    when { true };\n' in capsys.readouterr().out
