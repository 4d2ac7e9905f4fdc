"""Declared: the base of all records that people write, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from self_healing.durations import ALLOWED, TEXT, UNITS

LONGEST_S = 3650 * 86400
"""Ten years: whatever is worked out with a duration stays within what a time, and a column, can hold."""


def parse_duration(value: Any) -> Any:
    """Whole seconds of a duration such as ``90s``, ``24h`` or ``1h30m``; numbers pass as seconds."""
    if isinstance(value, bool) or (isinstance(value, str) and re.fullmatch(TEXT, value) is None):
        raise ValueError(ALLOWED)
    parts = re.findall(r"(\d+)([smhd])", value) if isinstance(value, str) else None
    seconds = value if parts is None else sum(int(number) * UNITS[unit] for number, unit in parts)
    if isinstance(seconds, int | float) and seconds > LONGEST_S:
        raise ValueError(f"allowed is at most {LONGEST_S // UNITS['d']}d")
    return seconds


Duration = Annotated[int, BeforeValidator(parse_duration), Field(ge=0)]
"""Seconds, written as ``90s``, ``5m``, ``24h`` or ``1h30m``."""

Whole = Annotated[int, Field(strict=True)]

Number = Annotated[float, Field(strict=True)]

Flag = Annotated[bool, Field(strict=True)]
"""What TOML has types for is of that type: neither ``"5"`` nor ``true`` is a number, and ``"yes"`` is no truth."""


def _is_number(value: Any) -> bool:
    """Whether it is a number, or text that may be one: as a date it would mean the seconds since 1970."""
    text = isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value) is None
    return text or isinstance(value, int | float)


def _day(value: Any) -> Any:
    if _is_number(value):
        raise ValueError("allowed is a date such as 2026-01-05")
    return value


def _moment(value: Any) -> Any:
    if _is_number(value):
        raise ValueError("allowed is a time with its zone, such as 2026-01-05T10:00:00Z")
    return value


Day = Annotated[date, BeforeValidator(_day)]

Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


def _name(value: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9_]*", value) is None:
        raise ValueError("allowed are small letters, digits and _, a letter first")
    return value


Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": r"^[a-z][a-z0-9_]*$"})]
"""The name of a trigger or an action, such as ``slow_tasks``."""


class Declared(BaseModel):
    """Base of what is declared: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with `update` in place of what it says, and without what was worked out of the original."""
        copied = super().model_copy(update=update, deep=deep)
        for worked_out in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[worked_out]
        return copied
