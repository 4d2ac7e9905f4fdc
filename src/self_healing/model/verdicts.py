"""Triggers: the states of series, verdicts with their one reason, and what changes."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum

from self_healing.model.base import Group, Record


class SeriesState(IntEnum):
    """Where a series stands.

    ::

        inactive -> pending -> firing <-> recovering -> inactive
    """

    INACTIVE = 0  # the condition is not met
    PENDING = 1  # met, but not yet for `for`
    FIRING = 2  # met for `for`
    RECOVERING = 3  # `clear` was met; waiting for `keep_firing_for`


class Reason(StrEnum):
    """Why a verdict is what it is; each verdict has exactly one."""

    CONDITION_MET = "condition_met"  # the series fires
    BELOW_THRESHOLD = "below_threshold"  # there are enough samples, and the condition is not met
    PENDING = "pending"  # met, but not yet for `for`
    NOT_CLEARED = "not_cleared"  # firing; the condition is no longer met, nor is `clear`
    RECOVERING = "recovering"  # `clear` was met less than `keep_firing_for` ago
    FLAPPING = "flapping"  # recovering, and kept there for longer since it began to fire too often
    TOO_FEW_SAMPLES = "too_few_samples"  # some samples, fewer than `min_samples`
    NO_DATA = "no_data"  # not one sample in the window
    NO_BASELINE = "no_baseline"  # too few samples before the window to compare with
    SILENCED = "silenced"  # muted by a person, whatever its value; it opens no incident
    MAINTENANCE = "maintenance"  # muted by a declared maintenance window
    INHIBITED = "inhibited"  # muted while another trigger fires for the same group
    WARMING_UP = "warming_up"  # muted for a moment after a start, since its silence may be our own
    DISABLED = "disabled"  # the trigger is switched off


class Muted(Record, frozen=True, kw_only=True):
    """What keeps a series from opening an incident at an instant, whatever its value."""

    why: Reason  # silenced, maintenance, inhibited or warming_up
    what: str  # the id of the silence, the name of the window or of the trigger; start, window
    by: str  # whose word it is: a person, or the spec
    until: datetime | None  # when that ends by itself; None where nobody knows
    text: str  # in words

    @property
    def suppresses(self) -> bool:
        """Whether what is open of the series closes; else it only takes no further action."""
        return self.why in (Reason.SILENCED, Reason.MAINTENANCE)

    def __str__(self) -> str:
        until = "" if self.until is None else f" until {self.until:%Y-%m-%d %H:%M:%S}"
        return f"{self.why} by {self.what}{until}: {self.text}"


class Verdict(Record, frozen=True, kw_only=True):
    """What a trigger says of one series at one instant."""

    trigger: str
    group: Group
    at: datetime
    state: SeriesState
    reason: Reason
    samples: int
    value: float | None  # in the signal's unit
    threshold: float | None  # in the signal's unit; for a baseline condition the baseline times its ratio
    baseline: float | None = None  # what it was before the window, in the signal's unit
    since: datetime | None = None  # since when it is in this state
    muted: Muted | None = None  # by what; then that is its reason
    flapping: bool = False  # it began to fire too often, and has not rested since
    spec_version: str = ""


class Transition(Record, frozen=True, kw_only=True):
    """A series changed its state."""

    before: SeriesState
    after: SeriesState
    verdict: Verdict
