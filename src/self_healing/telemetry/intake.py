"""The one way in for telemetry that is not a native file.

Each event once, without secrets, synced, and only then acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime

import msgspec

from self_healing.clock import to_us
from self_healing.errors import StorageError
from self_healing.telemetry.encoded import Encoded
from self_healing.telemetry.encoding import IntakeLine, encode_intake
from self_healing.telemetry.identities import KEPT_US, MOST, Remembered, identity
from self_healing.telemetry.lateness import TOO_LATE
from self_healing.telemetry.lines import INTAKE
from self_healing.telemetry.recovery import key_identity, remember
from self_healing.telemetry.segments import Segments
from self_healing.telemetry.timestamps import UNREAD, encode_ts


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch, once that is durable.

    Args:
        accepted: events that were written, and will be folded.
        rejected: items that are bad for good, by reason; they must not be sent again.
        dropped: good events that were not written, by reason: `duplicate` came before, `too_late` is older than what
            duplicates can still be told by.
        problems: what is wrong with the first of the rejected items, and where, for people.
    """

    accepted: int = 0
    rejected: dict[str, int] = {}
    dropped: dict[str, int] = {}
    problems: list[str] = []


DUPLICATE = "duplicate"


class Intake:
    """Takes batches, drops what came before, and writes the rest to the segments.

    A batch comes again when its sender did not hear of it, so again it is acknowledged only when it is durable. What
    came before is told by the batch's key, if it has one, for each way in by itself, and by trace and span id, for a
    score also by its number. Both are remembered for 24 hours, two million at most, and learnt from the segments at a
    start.

    Args:
        segments: where events are written; started and stopped with the intake.
        now: the present instant.
        most: how many keys and spans are remembered.

    Raises:
        StorageError: a segment cannot be read.
    """

    def __init__(self, segments: Segments, *, now: Callable[[], datetime], most: int = MOST) -> None:
        self.segments = segments
        self._now = now
        self._remembered = Remembered(most=most)
        self._fresh: set[int] = set()  # identities in what is being written; on the writer's thread
        self._damaged = remember(segments.directory, self._remembered, to_us(now()), KEPT_US, most)

    @property
    def damaged(self) -> list[str]:
        """The compacted segments that were found damaged at the start, while they are there, for people."""
        return [
            f"segment {file.name} is damaged ({why}): its events were folded, but are not found any more, and what is"
            " older than it and comes late is dropped as too_late; put a copy of it back, or delete it"
            for file, why in self._damaged.items()
            if file.exists()
        ]

    def start(self) -> None:
        """Begin to take batches; safe to call twice."""
        self.segments.start()

    def stop(self) -> None:
        """Write what was taken, and end; safe to call twice."""
        self.segments.stop()

    def submit(self, batch: Encoded) -> Future[Receipt]:
        """Take a batch. May be called from several threads.

        Args:
            batch: what came, as it is written.

        Returns:
            Its receipt, when the batch is durable; StorageError when it is not, and is to be sent again.

        Raises:
            Overloaded: too much waits to be written; nothing of the batch was taken.
            StorageError: the intake is not open.
        """
        pending = _Batch(self, batch)
        self.segments.append(pending)
        return pending.receipt

    # -- on the writer's thread

    def known(self, ids: list[int]) -> list[bool]:
        """Which of the spans `ids` came before, or are being written."""
        before = self._remembered.spans.known(ids)
        if self._fresh.isdisjoint(ids):  # as nearly always
            return before
        return [known or id in self._fresh for id, known in zip(ids, before, strict=True)]

    def knows_key(self, key: int) -> bool:
        """Whether the batch of that key came before, or is being written."""
        return key in self._fresh or self._remembered.keys.known([key])[0]

    def writing(self, ids: set[int]) -> None:
        """What `ids` are for is being written."""
        self._fresh |= ids

    def settled(self, spans: set[int], keys: set[int], *, kept: bool) -> None:
        """What they are for is synced, or was not kept."""
        self._fresh -= spans | keys
        if kept:
            at_us = to_us(self._now())
            for ids, remembered in ((spans, self._remembered.spans), (keys, self._remembered.keys)):
                if ids:
                    remembered.add(ids, at_us)

    @property
    def forgotten(self) -> tuple[int, int]:
        """Up to when spans, and batches with a key, cannot be told from those that came before, microseconds."""
        return self._remembered.spans.forgotten_us, self._remembered.keys.forgotten_us

    def at(self) -> datetime:
        """The present instant."""
        return self._now()


class _Batch:
    """A batch on its way into the segments."""

    def __init__(self, intake: Intake, batch: Encoded) -> None:
        self._batch = batch
        self._intake = intake
        self._fresh: set[int] = set()  # the spans that it brings,
        self._fresh_key: set[int] = set()  # and its key
        self._result = Receipt()
        self.receipt: Future[Receipt] = Future()
        self.receipt.set_running_or_notify_cancel()  # nobody can take back what may be on the disk already
        self.size_bytes = len(batch.lines)

    def lines(self) -> bytes:
        batch = self._batch
        key = None if batch.key is None else key_identity(batch.source, batch.key)
        if key is not None and self._intake.knows_key(key):
            dropped = _counts({DUPLICATE: len(batch.sizes)})
            self._result = Receipt(rejected=batch.rejected, dropped=dropped, problems=batch.problems)
            return self._head(None)  # what is remembered already need not be learnt once more
        chosen, accepted, dropped = self._chosen()
        if key is not None:
            self._fresh_key.add(key)
        self._intake.writing(self._fresh | self._fresh_key)
        self._result = Receipt(accepted=accepted, rejected=batch.rejected, dropped=dropped, problems=batch.problems)
        return self._head(batch.key) + chosen

    def _chosen(self) -> tuple[bytes, int, dict[str, int]]:
        """The lines to write, how many those are, and how many of the others there are for each reason."""
        batch, (forgotten_us, batch_forgotten_us) = self._batch, self._intake.forgotten
        if batch.key is None:  # what has nothing to be known by was never known again
            batch_forgotten_us = UNREAD
        ids = [None if known_by is None else identity(known_by) for known_by in batch.known_by]
        spans = [id for id in ids if id is not None]
        before = self._intake.known(spans)
        fresh = {*spans}
        new = len(fresh) == len(spans) and True not in before
        if new and min(batch.times_us, default=0) >= max(forgotten_us, batch_forgotten_us):  # as nearly always
            self._fresh = fresh
            return batch.lines, len(ids), {}
        known = iter(before)
        chosen: list[bytes] = []
        duplicate = late = 0
        for line, id, ts_us in zip(batch.each_line(), ids, batch.times_us, strict=True):
            if id is None:
                if UNREAD < ts_us < batch_forgotten_us:
                    late += 1
                else:
                    chosen.append(line)
            elif next(known) or id in self._fresh:
                duplicate += 1
            elif UNREAD < ts_us < forgotten_us:
                late += 1
            else:
                chosen.append(line)
                self._fresh.add(id)
        return b"".join(chosen), len(chosen), _counts({DUPLICATE: duplicate, TOO_LATE: late})

    def _head(self, key: str | None) -> bytes:
        """The line that says what the events alone do not; none when there is nothing to say."""
        result = self._result
        if key is None and not result.rejected and not result.dropped:
            return b""
        return encode_intake(
            IntakeLine(
                ts=encode_ts(to_us(self._intake.at())),
                type=INTAKE,
                source=self._batch.source,
                key=key,
                events=result.accepted,
                rejected=result.rejected,
                dropped=result.dropped,
            )
        )

    def settle(self, error: StorageError | None) -> None:
        self._intake.settled(self._fresh, self._fresh_key, kept=error is None)
        if error is not None:
            self.receipt.set_exception(error)
        else:
            self.receipt.set_result(self._result)


def _counts(counts: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}
