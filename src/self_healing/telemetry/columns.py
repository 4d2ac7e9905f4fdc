"""What a trigger may group by or filter on: the columns of an event, and whatever else its line carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from operator import attrgetter

from self_healing.model import Event
from self_healing.redaction import REDACTED, is_secret, redact
from self_healing.spec import TriggerSpec

ATTRIBUTE = "attributes."
"""What a column begins with that is no column of an event; the attribute's own name follows."""

Getter = Callable[[Event], str | None]


def asked_attributes(triggers: Iterable[TriggerSpec]) -> tuple[str, ...]:
    """The names of the attributes that some trigger groups by or filters on, in order."""
    columns = {column for trigger in triggers for column in (*trigger.group_by, *trigger.where)}
    return tuple(sorted(column.removeprefix(ATTRIBUTE) for column in columns if column.startswith(ATTRIBUTE)))


@cache
def getter(column: str) -> Getter:
    """Reads a column of an event, or an attribute as text; None where the event does not say."""
    if not column.startswith(ATTRIBUTE):
        return attrgetter(column)
    name = column.removeprefix(ATTRIBUTE)

    def read(event: Event) -> str | None:
        return None if event.attributes is None else text_of(event.attributes.get(name))

    return read


@lru_cache(maxsize=4096)
def harmless(column: str, value: str | None) -> str | None:
    """The value of a column or an attribute without what looks like a secret, as the state and people may have it.

    An agent's name stays as it is: by that name the fleet reads what is set for it.
    """
    if value is None or column == "agent":
        return value
    return REDACTED if is_secret(column.removeprefix(ATTRIBUTE), value) else redact(value)


def text_of(value: object) -> str | None:
    """The text of an attribute that is a text, a number, or true or false; None for anything else."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 63:  # as it is kept where all attributes of an event are
            return f"(an integer of {value.bit_length()} bits)"
        case int() | float():
            return str(value)
    return None


def put(event: Event, column: str, value: str | None) -> None:
    """Give an event that value of a column or an attribute."""
    if not column.startswith(ATTRIBUTE):
        setattr(event, column, value)
    elif value is not None:
        event.attributes = {**(event.attributes or {}), column.removeprefix(ATTRIBUTE): value}
