"""What an item's attributes say, made into what an event has: its cells, its usage, its status, and what it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from operator import attrgetter
from typing import Any, cast

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from self_healing.measures import LARGEST
from self_healing.model import Usage
from self_healing.telemetry.otlp import values
from self_healing.telemetry.otlp.names import CACHE_APART, CANCELLATIONS, LABELS, TIMEOUT_CODES, TIMEOUTS
from self_healing.telemetry.otlp.plan import CUT, READERS, Origin, Plan
from self_healing.telemetry.otlp.rejection import BadItem, Rejection
from self_healing.telemetry.otlp.values import TEXT_MAX

Column = Sequence[Any] | None
"""What each of several items says of one thing, None where one does not; None for all of it where none does."""


def columns_of(plan: Plan, items: Sequence[Sequence[KeyValue]]) -> list[Column]:
    """What several items that are read alike say, by the columns of ``READERS``; a column's first usable name wins.

    Args:
        items: the attributes of each, with those that its resource adds.

    Raises:
        BadItem: a number that no column can take.
    """
    pairs = [*zip(*items, strict=True)]
    columns: list[Column] = [None] * len(READERS)
    for cell, place in plan.texts:
        known = columns[cell]
        if known is None or None in known:
            columns[cell] = _first(known, _texts(pairs[place]))
    for cell, place, read in plan.others:
        known = columns[cell]
        if known is None or None in known:
            columns[cell] = _first(known, [read(pair.value) for pair in pairs[place]])
    return columns


def cells_of(plan: Plan, pairs: list[KeyValue]) -> list[Any]:
    """The same of one item: what each column says, None where it does not. Raises BadItem."""
    return [None if column is None else column[0] for column in columns_of(plan, [pairs])]


def _texts(pairs: Sequence[KeyValue]) -> list[str | None]:
    found: list[str | None] = [pair.value.string_value for pair in pairs]
    if all(found) and max(map(len, cast("list[str]", found))) <= TEXT_MAX:  # as nearly always
        return found
    return [values.text(pair.value) for pair in pairs]


def _first(known: Column, others: list[Any]) -> list[Any]:
    """What is known, and where it is not, what the others are."""
    if known is None:
        return others
    return [other if value is None else value for value, other in zip(known, others, strict=True)]


def kept_of_all(plan: Plan, items: Sequence[Sequence[KeyValue]], origin: Origin) -> list[dict[str, Any]]:
    """The attributes that the event of each item keeps, with those of its resource."""
    names = [name for _, name in plan.rest]
    pairs = [*zip(*items, strict=True)]
    columns = [_kept(pairs[place]) for place, _ in plan.rest]
    if plan.cut:
        names, columns = [*names, CUT], [*columns, [plan.cut] * len(items)]
    if not columns:
        return [origin.kept.copy() for _ in items]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if any(None in column for column in columns):
        rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return [origin.kept | row for row in rows] if origin.kept else rows


def kept_of(plan: Plan, pairs: Sequence[KeyValue], origin: Origin) -> dict[str, Any]:
    """The same of one item."""
    return kept_of_all(plan, [pairs], origin)[0]


_STRING, _INT, _DOUBLE = map(attrgetter, ("value.string_value", "value.int_value", "value.double_value"))


def _kept(pairs: Sequence[KeyValue]) -> list[Any]:
    """The value of each as its event keeps it; None where it keeps none."""
    texts = [*map(_STRING, pairs)]
    if all(texts):
        return texts if max(map(len, texts)) <= TEXT_MAX else [text[:TEXT_MAX] for text in texts]
    numbers = [*map(_INT, pairs)]
    if all(numbers):
        return numbers
    amounts = [*map(_DOUBLE, pairs)]
    if all(amounts) and all(map(isfinite, amounts)):
        return amounts
    found = [
        (text or "")[:TEXT_MAX] or number or values.kept(pair.value)
        for text, number, pair in zip(texts, numbers, pairs, strict=True)
    ]
    return [None if value == "" else value for value in found]


def usage_of(
    source: str,
    input_tokens: int | None,
    output_tokens: int | None,
    total_tokens: int | None,
    cache_read: int | None,
    cache_write: int | None,
    cost_usd: float | None,
) -> Usage | None:
    """What was used. Cached input is part of the input: it is added where a source counts it apart, and where it is
    more than the input it should be a part of. The total is input and output, or the source's own if that is more.

    Raises:
        BadItem: the total is more than any column can take.
    """
    if cache_read or cache_write:
        cached = (cache_read or 0) + (cache_write or 0)
        if source in CACHE_APART or cached > (input_tokens or 0):
            input_tokens = (input_tokens or 0) + cached
    if input_tokens is not None or output_tokens is not None:
        used = (input_tokens or 0) + (output_tokens or 0)
        total_tokens = used if total_tokens is None or total_tokens < used else total_tokens
        if total_tokens > LARGEST:
            raise BadItem(Rejection.INVALID_VALUE)
    elif total_tokens is None and cost_usd is None:
        return None
    return Usage(input_tokens, output_tokens, total_tokens, cost_usd)


@lru_cache(maxsize=1024)
def failure(error_type: str | None) -> str:
    """The status of what ended with an error of that type."""
    if error_type is None:
        return "failed"
    last = error_type.rpartition(".")[2].lower()
    if error_type in TIMEOUT_CODES or any(word in last for word in TIMEOUTS):
        return "timeout"
    return "canceled" if any(word in last for word in CANCELLATIONS) else "failed"


def attempt_of(attempt: int | None, resends: int | None) -> int | None:
    """Which attempt it was, the first being 1; None where nothing says so.

    Raises:
        BadItem: it is more than any column can take.
    """
    if attempt:
        return attempt
    if resends == LARGEST:
        raise BadItem(Rejection.INVALID_VALUE)
    return None if resends is None else resends + 1


def score(quality: float | None, label: str | None) -> float | None:
    """A score from 0 to 1; None for one on another scale, and for a label that stands for none."""
    if quality is None:
        return LABELS.get(label.lower()) if label else None
    return quality if 0 <= quality <= 1 else None
