"""Maintenance: windows of time in which series are muted."""

from __future__ import annotations

import difflib
import re
from enum import StrEnum
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, Field, model_validator

from self_healing.spec.declared import Day, Declared, Name


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


def _clock_time(value: str) -> str:
    if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d|24:00", value) is None:
        raise ValueError("allowed is a time such as 22:00, from 00:00 to 24:00")
    return value


def _some_day(days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
    if not days:
        raise ValueError("allowed is at least one day; leave it out for all of them")
    return days


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        zones = {zone.lower(): zone for zone in available_timezones()}
        near = difflib.get_close_matches(value.lower(), zones, n=1)
        question = f"did you mean {zones[near[0]]}? " if near else ""
        raise ValueError(f"{question}allowed is a time zone such as UTC or Europe/Berlin") from error
    return value


class Maintenance(Declared):
    """A window of time, on some days of the week, in which series are muted as by a silence.

    Args:
        name: unique among the windows.
        days: the days on which it begins.
        timezone: of which place, such as ``Europe/Berlin``.
        from_, to: by the clock there; one that ends no later than it begins ends on the next day.
        starts, ends: the first and the last day on which it begins; no such bound where left out.
        triggers: whose series; of all triggers when empty.
        keys: what a group must have among its own, such as ``{"agent": "Coder"}``.
        reason: for people.
    """

    name: Name
    days: Annotated[tuple[Weekday, ...], AfterValidator(_some_day)] = tuple(Weekday)
    from_: Annotated[str, AfterValidator(_clock_time)] = Field(default="00:00", alias="from")
    to: Annotated[str, AfterValidator(_clock_time)] = "24:00"
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    starts: Day | None = None
    ends: Day | None = None
    triggers: tuple[Name, ...] = ()
    keys: dict[str, str] = Field(default={})
    reason: str = ""

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.from_ in (self.to, "24:00"):
            raise ValueError(f"from {self.from_} to {self.to}: allowed are two times, the first one before 24:00")
        if self.starts is not None and self.ends is not None and self.ends < self.starts:
            raise ValueError(f"ends {self.ends}: allowed is {self.starts}, the day on which it starts, or later")
        return self
