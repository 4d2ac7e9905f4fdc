"""Fakes that users need in their own tests: clocks that are told the time, a channel that remembers."""

from __future__ import annotations

import threading

from self_healing.clock import FakeClock, ScaledClock
from self_healing.errors import EffectError
from self_healing.model import Handoff

__all__ = ["FakeClock", "RecordingChannel", "ScaledClock"]


class RecordingChannel:
    """A channel that keeps the handoffs that it was given, and can be told to misbehave.

    Args:
        fails: so many deliveries fail first.
        hangs: deliveries hang until `release`, and arrive then.
        probes: whether it can tell what was delivered.
    """

    name = "recording"

    def __init__(self, *, fails: int = 0, hangs: bool = False, probes: bool = True) -> None:
        self.delivered: list[Handoff] = []  # each once
        self.calls = 0  # of deliver, whatever became of them
        self._fails = fails
        self._probes = probes
        self._lock = threading.Lock()
        self._released = threading.Event()
        if not hangs:
            self._released.set()

    def release(self) -> None:
        """Let what hangs go on."""
        self._released.set()

    def deliver(self, handoff: Handoff) -> None:
        """Keep `handoff`; once, however often it comes. Raises EffectError as often as it was told to."""
        with self._lock:
            self.calls += 1
            if self._fails:
                self._fails -= 1
                raise EffectError(f"handoff {handoff.id} was refused, as this channel was told to")
        self._released.wait()
        with self._lock:
            if all(kept.id != handoff.id for kept in self.delivered):
                self.delivered.append(handoff)

    def probe(self, handoff: Handoff) -> bool | None:
        """Whether `handoff` was delivered; None when told to be unable to tell."""
        if not self._probes:
            return None
        with self._lock:
            return any(kept.id == handoff.id for kept in self.delivered)
