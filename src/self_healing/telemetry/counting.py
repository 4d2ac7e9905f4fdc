"""The accounting as events pass: each is in exactly one place at any moment, and so both equations hold."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from self_healing.model import Accounting
from self_healing.telemetry.lateness import TOO_LATE


def with_read(
    count: Accounting,
    lines: int,
    quarantined: Mapping[str, int],
    rejected: Mapping[str, int],
    dropped: Mapping[str, int],
) -> Accounting:
    """`count` with a batch that was read.

    Args:
        count: what was counted before.
        lines: that were received.
        quarantined: how many of them, by reason.
        rejected: what was received and refused before it became a line, by reason.
        dropped: what was received and accepted, and never became a line, by reason.
    """
    accepted = lines + sum(dropped.values())
    return replace(
        count,
        received=count.received + accepted + sum(rejected.values()),
        accepted=count.accepted + accepted,
        rejected=_both(count.rejected, rejected),
        quarantined=_both(count.quarantined, quarantined),
        dropped=_both(count.dropped, dropped),
    )


def with_folded(count: Accounting, folded: int, *, late: int, dropped: Mapping[str, int]) -> Accounting:
    """`count` with events that were folded.

    Args:
        count: what was counted before.
        folded: how many.
        late: of them, those that happened before the newest instant that was evaluated.
        dropped: how many of those folded are dropped, by reason.
    """
    lost = sum(dropped.values())
    if lost:
        count = replace(count, dropped=_both(count.dropped, {reason: lost for reason, lost in dropped.items() if lost}))
    late = max(late - dropped.get(TOO_LATE, 0), 0)  # in a fresh state none is late
    return replace(count, aggregated=count.aggregated + folded - lost, late=count.late + late)


def _both(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Both counts by reason, added."""
    return {reason: counts.get(reason, 0) + more.get(reason, 0) for reason in {**counts, **more}}
