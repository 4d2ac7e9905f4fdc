"""The page of foreign names is what the tables of the code say."""

from __future__ import annotations

from docs.mapping import PAGE, TITLES, page
from self_healing.telemetry.otlp.names import COLUMNS


def test_the_page_is_written_from_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python docs/mapping.py"


def test_every_source_has_a_title() -> None:
    assert set(TITLES) == set(COLUMNS)
