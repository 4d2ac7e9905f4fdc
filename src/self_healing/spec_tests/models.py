"""The tables of a file of tests, as records."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from self_healing.durations import TEXT
from self_healing.model import CloseReason, ExecutionStatus, IncidentState, Kind, Reason
from self_healing.spec import LONGEST_S, Declared, Duration, Moment, Number, Whole, parse_duration

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
"""The instant that is ``0s`` unless a test says otherwise: a Monday morning."""


KINDS = tuple(kind.name.lower() for kind in Kind if kind is not Kind.OWN)
"""The types of the events that may be pushed."""


def _offset(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("-"):
        return -parse_duration(value[1:])
    if isinstance(value, int | float) and value < 0:
        return -parse_duration(-value)
    return parse_duration(value)


_Text = Annotated[str, Field(pattern=f"^-?{TEXT}$")]
_Seconds = Annotated[int, Field(ge=-LONGEST_S, le=LONGEST_S)]

Offset = Annotated[int, BeforeValidator(_offset, json_schema_input_type=_Seconds | _Text)]
"""Seconds from the start of a test, written as ``90s`` or ``5m``; ``-24h`` lies before it."""

YEARS = range(2000, 9000)
"""A test begins in one of these: ten years to either side of it are then times that there are."""


def _start(value: datetime) -> datetime:
    if value.year not in YEARS:
        raise ValueError(f"allowed is a time in the years {YEARS[0]} to {YEARS[-1]}")
    return value


class Series(Declared):
    """Samples of one signal for one group, at even distances.

    Args:
        signal: what is measured.
        group: the columns that its events have, such as ``{agent = "Coder"}``.
        samples: in the notation, such as ``10x5 70 _ 3``.
        begins: when the first of them is (``from`` in TOML); what lies before 0s is history when the loop starts.
        interval: between two of them; the test's when left out.
        fields: what else each of its events carries.
    """

    signal: str
    group: dict[str, str] = Field(default_factory=dict)
    samples: str
    begins: Offset = Field(default=0, alias="from")
    interval: Annotated[Duration, Field(gt=0)] | None = None
    fields: dict[str, Any] = Field(default_factory=dict)


class Pushed(Declared):
    """A native event; its other keys are those of the line.

    Args:
        at: when it happens.
        type: its kind.
    """

    model_config = ConfigDict(extra="allow")

    at: Offset
    type: str


class Expectation(Declared):
    """What a series, its incident and its agent are to show; only what is named is looked at.

    Args:
        at: when.
        until: until when it is to hold, at every instant that the loop looks at; only at `at` when left out.
        trigger: of the series.
        group: of the series.
        state: of the series.
        reason: of its verdict.
        value, threshold, baseline: of its verdict, in the signal's unit.
        samples: in the window.
        incident: the state of its newest incident, or ``none``.
        close_reason: why that was closed.
        actions: the status of the newest execution of each action for that incident; no others.
        directives: the settings in force for the affected agent; no others.
    """

    at: Annotated[Duration, Field(ge=0)]
    until: Duration | None = None
    trigger: str
    group: dict[str, str] = Field(default_factory=dict)
    state: Literal["inactive", "pending", "firing", "recovering"] | None = None
    reason: Reason | None = None
    value: Number | None = None
    threshold: Number | None = None
    baseline: Number | None = None
    samples: Annotated[Whole, Field(ge=0)] | None = None
    incident: IncidentState | Literal["none"] | None = None
    close_reason: CloseReason | None = None
    actions: dict[str, ExecutionStatus] | None = None
    directives: dict[str, bool | int | float | str] | None = None

    @property
    def expected(self) -> dict[str, Any]:
        """What is expected, by name."""
        named = self.model_fields_set - {"at", "until", "trigger", "group"}
        return {name: getattr(self, name) for name in type(self).model_fields if name in named}

    @model_validator(mode="after")
    def _says(self) -> Self:
        if not self.expected:
            raise ValueError("nothing is expected; name state, value, incident or another")
        if self.until is not None and self.until < self.at:
            raise ValueError(f"until {self.until}s lies before at {self.at}s; allowed is the same or later")
        return self


class Timing(Declared):
    """What a test is called, and when it plays.

    Args:
        name: what is shown to hold, in a sentence.
        start: the instant that is 0s.
        interval: between two samples of a series.
    """

    name: str = Field(min_length=1)
    start: Annotated[Moment, AfterValidator(_start)] = START
    interval: Annotated[Duration, Field(gt=0)] = 60


class Case(Timing):
    """One test.

    Args:
        series, event: what is pushed.
        expect: what is expected.
    """

    series: tuple[Series, ...] = ()
    event: tuple[Pushed, ...] = ()
    expect: tuple[Expectation, ...]

    @model_validator(mode="after")
    def _expects(self) -> Self:
        if not self.expect:
            raise ValueError("expect: nothing is expected; allowed is one or more")
        return self


class CaseFile(Declared):
    """A file of tests.

    Args:
        triggers: files of triggers to lay over the defaults, from the file's own directory; those of the configuration
            when left out.
        test: the tests.
    """

    triggers: tuple[Path, ...] | None = None
    test: tuple[Case, ...]

    @model_validator(mode="after")
    def _tests(self) -> Self:
        if not self.test:
            raise ValueError("test: there is none; allowed are one or more tables [[test]]")
        return self
