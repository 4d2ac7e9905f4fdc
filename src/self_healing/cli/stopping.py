"""``stop-healing`` and ``resume-healing``: they need neither a service nor the state's lock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from self_healing.cli import output
from self_healing.cli.options import NO_REASON, By, Shown, Why, person

Json = dict[str, Any]


def stop_healing(*, reason: Why = NO_REASON, by: By = None, shown: Shown | None = None) -> int:
    """Stop every effect at once, durably; watching goes on.

    Without a reason, one that stands already stays as it is: nobody's reason is lost for none.
    """
    from self_healing.constitution.stop import stop, stopped

    shown, who, at = shown or Shown(), person(by), datetime.now(UTC)
    state_dir = shown.settings().storage.state_dir
    stands = stopped(state_dir) if reason == NO_REASON else None
    already = stands is not None and stands.by is not None  # else nobody can read it
    record = stands if stands is not None and already else stop(state_dir, reason, who, at)
    told = {"stopped": True, **record.told, "already": already}
    output.show(told, shown, _print_stopped)
    return 0


def resume_healing(*, reason: Why = NO_REASON, by: By = None, shown: Shown | None = None) -> int:
    """Let effects happen again."""
    from self_healing.constitution.stop import resume

    shown, who, at = shown or Shown(), person(by), datetime.now(UTC)
    was_stopped = resume(shown.settings().storage.state_dir, reason, who, at)
    told = {"stopped": False, "was_stopped": was_stopped, "by": who, "reason": reason, "at": at.isoformat()}
    output.show(told, shown, _print_resumed)
    return 0


def _print_stopped(told: Json) -> None:
    print(f"{'already ' if told['already'] else ''}stopped by {output.text(told['by'])}: {output.text(told['reason'])}")
    print("nothing more is done until: self-healing resume-healing")


def _print_resumed(told: Json) -> None:
    by = f"resumed by {output.text(told['by'])}: {output.text(told['reason'])}"
    print(by if told["was_stopped"] else "nothing was stopped")
