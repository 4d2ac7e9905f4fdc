"""Answers a command: the service does when one runs on the state, else this process opens the state itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from self_healing.config import Settings
from self_healing.errors import StateBusy
from self_healing.local_socket import ask

Json = dict[str, Any]


def call(
    settings: Settings,
    command: str,
    arguments: Json | None = None,
    *,
    timeout_s: float = 30.0,
    now: datetime | None = None,
) -> Json:
    """The answer to one command of :data:`self_healing.surface.COMMANDS`. Raises SelfHealingError.

    Args:
        settings: which state.
        command: its name.
        arguments: by name, as JSON has them.
        timeout_s: how long a service may take.
        now: what the clock shows where no service runs; the machine's time when left out.
    """
    given = arguments or {}
    state_dir = settings.storage.state_dir
    answer = ask(state_dir, command, given, timeout_s)
    if answer is not None:
        return answer
    from self_healing.clock import FakeClock, SystemClock
    from self_healing.status import evaluated_at
    from self_healing.surface import COMMANDS, open_surface
    from self_healing.watching import refuse_far_ahead

    if now is not None:
        refuse_far_ahead(evaluated_at(settings), now, datetime.now(UTC))
    clock = SystemClock() if now is None else FakeClock(now)
    try:
        with open_surface(settings, write=COMMANDS[command].writes, clock=clock) as surface:
            return surface.call(command, given)
    except StateBusy:
        # A service that has just begun owns the state now, and answers in a moment.
        answer = ask(state_dir, command, given, timeout_s)
        if answer is None:
            raise
        return answer
