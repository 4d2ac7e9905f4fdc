"""What is told of a health that changes."""

from __future__ import annotations

import pytest

from self_healing.loop.health import news

STOPPED = "healing is stopped by ada"


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ([], [], []),
        ([], [STOPPED], [STOPPED]),
        ([STOPPED], [STOPPED], []),
        ([STOPPED], [], [f"over: {STOPPED}"]),
        (["5 of 90 lines"], ["7 of 99 lines"], []),
        (["5 of 90 lines"], [STOPPED], ["over: 5 of 90 lines", STOPPED]),
    ],
)
def test_only_issues_that_are_new_or_over_are_told(before: list[str], now: list[str], told: list[str]) -> None:
    assert news(before, now) == told
