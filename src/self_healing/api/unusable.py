"""What was sent lately and cannot be used: its senders are told, but few look at their answers, so health tells too."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from self_healing.problems import one_line
from self_healing.redaction import redact

LOOKED_BACK: Final = timedelta(minutes=15)

SHARE: Final = 0.05
"""More than this of what one way in was sent is an issue, as it is of the lines of a file."""

EXAMPLE_MAX: Final = 200
"""So many characters are shown of what is wrong, which holds what was sent."""


class Unusable:
    """Remembers by way in what of its items was rejected, and which of its requests were refused for what they are.

    Args:
        now: the present instant.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lately: dict[tuple[str, str], _Lately] = {}  # by way in, and what is counted: items or requests

    def took(self, source: str, items: int, rejected: Mapping[str, int], problems: list[str]) -> None:
        """A request was taken; of its items those were rejected."""
        self._of(source, "items").add(self._now(), items, rejected, problems[0] if problems else "")
        self._of(source, "requests").add(self._now(), 1, {}, "")

    def refused(self, source: str, reason: str, problem: str) -> None:
        """A request was refused for good."""
        self._of(source, "requests").add(self._now(), 1, {reason: 1}, problem)

    @property
    def problems(self) -> list[str]:
        """What could lately not be used, for people. May be called on any thread."""
        now = self._now()
        said = [(source, what, lately.says(now)) for (source, what), lately in sorted(self._lately.items())]
        return [
            f"{source}: {says[0]} {what} that were sent lately were {_BECAME[what]} {says[1]}: see what sends them"
            for source, what, says in said
            if says is not None
        ]

    def _of(self, source: str, what: str) -> _Lately:
        return self._lately.setdefault((source, what), _Lately())


_BECAME: Final = {"items": "rejected for good", "requests": "refused"}


class _Lately:
    """What came in each minute, and what of it was bad, by reason."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[datetime, list[int], Counter[str]]] = deque()
        self._example = ""  # the first since nothing was bad: were it the newest, it would be news each time

    def add(self, now: datetime, came: int, bad: Mapping[str, int], problem: str) -> None:
        at = now.replace(second=0, microsecond=0)
        if not self._minutes or self._minutes[-1][0] != at:
            self._minutes.append((at, [0], Counter()))
            while self._minutes[0][0] <= at - LOOKED_BACK:
                self._minutes.popleft()
            if not any(bad for _, _, bad in self._minutes):
                self._example = ""
        self._minutes[-1][1][0] += came
        self._minutes[-1][2].update(bad)
        if bad and not self._example:
            self._example = one_line(redact(problem))[:EXAMPLE_MAX]

    def says(self, now: datetime) -> tuple[str, str] | None:
        """How many of how many were bad, and why; None while that is no issue."""
        since = now - LOOKED_BACK
        minutes = [each for each in tuple(self._minutes) if each[0] > since]
        came = sum(count[0] for _, count, _ in minutes)
        bad: Counter[str] = Counter()
        for _, _, some in minutes:
            bad.update(dict(some))
        if bad.total() <= SHARE * came:
            return None
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(bad.items()))
        return f"{bad.total()} of {came}", f"({reasons}{f'; such as {self._example}' if self._example else ''})"
