"""Health: whether the framework itself is well, with every issue in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from self_healing.clock import MINUTE_US, SECOND_US
from self_healing.filenames import SEGMENTS
from self_healing.telemetry.native import BadLine
from self_healing.telemetry.reader import Batch, Quarantined

QUARANTINE_SHARE = 0.05
"""More of a file's lines than this in quarantine is an issue."""

CLOCK_OFF_US = 5 * SECOND_US
"""A source whose clock is ahead by more than this is an issue."""

LOOKED_BACK_US = 15 * MINUTE_US

MISNAMED_MAX = 8
"""So many names that no field has are told; senders can think of any number."""


class Intake(msgspec.Struct):
    """What was read of one file in one minute.

    Args:
        at_us: when the minute began.
        received: lines.
        quarantined: of them, by reason.
        newest: where the newest of those is, in bytes from the file's beginning; None without one.
        what: what is wrong with that one, in words; empty when its reason says it all.
    """

    at_us: int
    received: int = 0
    quarantined: dict[str, int] = {}
    newest: int | None = None
    what: str = ""


class BadLines(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be used of one file in one reading."""

    file: str
    lines: int
    offset: int  # of the newest, in bytes
    reason: str  # of the newest
    what: str  # is wrong with the newest; empty when its reason says it all


class Health:
    """Remembers what went wrong lately.

    Args:
        intake: what :attr:`intake` was when it was last stored.
        describe: says what is wrong with a line, by its file, where it begins, and its reason.
    """

    def __init__(
        self, intake: dict[str, list[Intake]] | None, *, describe: Callable[[str, int, BadLine], str | None]
    ) -> None:
        self._describe = describe
        self.intake: dict[str, list[Intake]] = intake or {}
        self._unreadable: str | None = None  # why the telemetry directory cannot be read
        self._files: list[str] = []  # why single files cannot
        self._ahead: list[str] = []  # files whose clock is ahead
        self._misnamed: dict[str, tuple[int, str]] = {}  # what was not read for its name, when it came last, and where

    def unreadable(self, why: str) -> None:
        """The telemetry directory could not be read."""
        self._unreadable = why

    def read(self, batch: Batch, now_us: int) -> list[BadLines]:
        """The telemetry directory was read; returns what of it could not be used."""
        self._unreadable = None
        self._files = batch.problems
        ahead = [each.label for each in batch.positions if (each.ts_us or 0) > now_us + CLOCK_OFF_US]
        self._ahead = [f"{name}: the clock of what {_brings(name)} is more than 5 s ahead; set it" for name in ahead]
        minute_us = now_us // MINUTE_US * MINUTE_US
        for file, received in batch.lines.items():
            intakes = self.intake.setdefault(file, [])
            if not intakes or intakes[-1].at_us != minute_us:
                intakes.append(Intake(minute_us))
            intakes[-1].received += received
        bad_lines = self._quarantined(batch.bad)
        since_us = now_us - LOOKED_BACK_US
        self._misread(batch.misnamed, now_us, since_us)
        for file, intakes in list(self.intake.items()):
            if intakes[0].at_us < since_us:
                self.intake[file] = [each for each in intakes if each.at_us >= since_us]
            if not self.intake[file]:
                del self.intake[file]
        return bad_lines

    def _misread(self, misnamed: Mapping[str, str], now_us: int, since_us: int) -> None:
        """Remember what was not read for its name, and forget what has not come lately."""
        self._misnamed = {what: last for what, last in self._misnamed.items() if last[0] >= since_us}
        for what, where in misnamed.items():
            if what in self._misnamed or len(self._misnamed) < MISNAMED_MAX:
                self._misnamed[what] = (now_us, where)

    def _quarantined(self, bad: Iterable[Quarantined]) -> list[BadLines]:
        """Count them by file and reason, and say of the newest of each file what is wrong with it."""
        newest: dict[str, Quarantined] = {}
        count: Counter[str] = Counter()
        for each in bad:
            minute = self.intake[each.file][-1]
            minute.quarantined[each.reason.value] = minute.quarantined.get(each.reason.value, 0) + 1
            newest[each.file] = each
            count[each.file] += 1
        found = []
        for file, each in newest.items():
            what = self._describe(file, each.offset, each.reason) or ""
            self.intake[file][-1].newest, self.intake[file][-1].what = each.offset, what
            lines = BadLines(file=file, lines=count[file], offset=each.offset, reason=each.reason.value, what=what)
            found.append(lines)
        return found

    @property
    def readable(self) -> bool:
        """Whether the telemetry directory could be read when it was last looked at."""
        return self._unreadable is None

    @property
    def telemetry_issues(self) -> list[str]:
        """What is wrong with the telemetry that comes in."""
        found = [] if self._unreadable is None else [self._unreadable]
        found += [*self._files, *self._ahead]
        found += [f"telemetry: {what} ({where})" for what, (_, where) in self._misnamed.items()]
        return found + [text for file, intakes in sorted(self.intake.items()) for text in _issues(file, intakes)]

    def report(self, *, broken: str | None, triggers: int, actions: int, others: Iterable[str]) -> dict[str, Any]:
        """Health in the words of the contract.

        Args:
            broken: why the state cannot be written; None while it can.
            triggers: how many are enabled.
            actions: how many are declared.
            others: further issues.
        """
        telemetry = self.telemetry_issues
        issues = [*([] if broken is None else [broken]), *telemetry, *others]
        status = "unhealthy" if broken is not None else "degraded" if issues else "healthy"
        return {
            "status": status,
            "telemetry_healthy": not telemetry,
            "triggers_enabled": triggers,
            "actions_available": actions,
            "issues": issues,
        }


def news(before: Iterable[str], now: Iterable[str]) -> list[str]:
    """What changed between two lists of issues, a line each. That only its numbers changed is no news of an issue."""
    old, new = ({_about(issue): issue for issue in issues} for issues in (before, now))
    stays = len(old.keys() & new.keys())
    others = f"; {stays} more {'stays' if stays == 1 else 'stay'}, see `self-healing status --health`" if stays else ""
    gone = [f"over: {issue}{others}" for about, issue in old.items() if about not in new]
    return gone + [issue for about, issue in new.items() if about not in old]


def _about(issue: str) -> str:
    return re.sub(r"\d+", "#", issue)


def _do(file: str, reasons: Iterable[str]) -> str:
    """What to do about the lines of a file that are in quarantine for those reasons."""
    if file.startswith(f"{SEGMENTS}/") and not {*reasons} <= _SENT:
        return "what is written there is good, so it was damaged since; look at the disk"
    return f"see what {_brings(file)}"


_SENT: Final = {BadLine.UNDATED.value, BadLine.FUTURE.value}
"""The reasons for which a line of a segment may be in quarantine though it stands there as it was written."""


def _brings(file: str) -> str:
    """What is done by whoever is to blame for the lines of a file; our own segments are what senders bring."""
    return "sends it" if file.startswith(f"{SEGMENTS}/") else "writes it"


def _issues(file: str, intakes: list[Intake]) -> list[str]:
    received = sum(each.received for each in intakes)
    quarantined: Counter[str] = Counter()
    for each in intakes:
        quarantined.update(each.quarantined)
    found = []
    if quarantined.total() > QUARANTINE_SHARE * received:
        newest = max(intakes, key=lambda each: each.newest or 0)
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(quarantined.items()))
        found.append(
            f"{file}: {quarantined.total()} of {received} lines that were read lately are quarantined ({reasons}); the"
            f" newest is at byte {newest.newest}{f', {newest.what}' if newest.what else ''}: {_do(file, quarantined)}"
        )
    future = quarantined[BadLine.FUTURE.value]
    if future:
        found.append(f"{file}: lines more than 5 min ahead: {future}; set the clock of what {_brings(file)}")
    return found
