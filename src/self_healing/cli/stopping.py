"""``stop-healing`` and ``resume-healing``: they need neither a service nor the state's lock."""

from __future__ import annotations

from datetime import UTC, datetime

from self_healing.cli import output
from self_healing.cli.options import NO_REASON, By, Where, Why, person


def stop_healing(*, reason: Why = NO_REASON, by: By = None, where: Where | None = None) -> int:
    """Stop every effect at once, durably; watching goes on."""
    from self_healing.constitution.stop import stop

    settings = (where or Where()).settings()
    record = stop(settings.storage.state_dir, reason, person(by), datetime.now(UTC))
    print(f"stopped by {output.text(record.by)}: {output.text(record.reason)}")
    print("nothing more is done until: self-healing resume-healing")
    return 0


def resume_healing(*, reason: Why = NO_REASON, by: By = None, where: Where | None = None) -> int:
    """Let effects happen again."""
    from self_healing.constitution.stop import resume

    settings, who = (where or Where()).settings(), person(by)
    was_stopped = resume(settings.storage.state_dir, reason, who, datetime.now(UTC))
    print(f"resumed by {output.text(who)}: {output.text(reason)}" if was_stopped else "nothing was stopped")
    return 0
