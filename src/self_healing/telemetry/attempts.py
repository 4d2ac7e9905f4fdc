"""How many attempts a task took, by what its parts say, in whatever order they come."""

from __future__ import annotations

from bisect import bisect_right, insort
from zlib import crc32

import msgspec


class Call(msgspec.Struct, gc=False, array_like=True):
    """What is known of one call of a task, made once or again.

    Args:
        last: when it was made last, microseconds, and whether that went well.
        failures: when it failed, ascending.
    """

    last: tuple[int, bool]
    failures: list[int] = []

    @property
    def attempts(self) -> int:
        """Which attempt the last one was: one more than failed before it."""
        ts_us, good = self.last
        return bisect_right(self.failures, ts_us) + good


class Attempts(msgspec.Struct, gc=False, array_like=True):
    """The attempts of one task: the most that a part names, or that one of its calls took.

    Args:
        most: that a part names, or 1 for one that names none; None when there was no part.
        calls: by a hash of what a repeated call shares with the one before: their ids are long, and there are many.
    """

    most: int | None = None
    calls: dict[int, Call] = {}

    def add(self, call: str | None, ts_us: int, attempt: int | None, *, failed: bool) -> None:
        """A part ended.

        Args:
            call: what a repeated call shares with the one before; None when nothing says so.
            ts_us: when.
            attempt: which attempt it names.
            failed: whether it failed.
        """
        named = attempt or 1
        if self.most is None or named > self.most:
            self.most = named
        if call is None:
            return
        key, now = crc32(call.encode()), (ts_us, not failed)
        known = self.calls.get(key)
        if known is None:
            known = self.calls[key] = Call(now)
        known.last = max(known.last, now)
        if failed:
            insort(known.failures, ts_us)

    @property
    def total(self) -> int | None:
        """How many; None when nothing is known."""
        if self.most is None:
            return None
        return max([self.most, *(call.attempts for call in self.calls.values())])
