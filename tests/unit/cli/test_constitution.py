"""What people read of a decision."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_healing.cli.constitution import _print_decided
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
