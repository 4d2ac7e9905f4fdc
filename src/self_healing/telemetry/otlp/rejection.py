"""Why an item of a request is bad for good, and how its sender is told."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Rejection(StrEnum):
    """Why an item was rejected; sent again it would be as bad."""

    UNDATED = "undated"  # no usable time
    INVALID_ID = "invalid_id"  # a trace id that is not of 16 bytes, or a span id not of 8, or all zeros
    NEGATIVE_DURATION = "negative_duration"  # it ends before it starts
    NON_FINITE = "non_finite"  # NaN or an infinity where an amount is wanted
    INVALID_VALUE = "invalid_value"  # an amount below zero, or too large to be summed
    TOO_MANY_ATTRIBUTES = "too_many_attributes"  # more than ATTRIBUTES_MAX
    TOO_MANY_BUCKETS = "too_many_buckets"  # a histogram of more than BUCKETS_MAX
    INVALID_HISTOGRAM = "invalid_histogram"  # its buckets do not fit its bounds or its count, or its scale is none
    NO_TEMPORALITY = "no_temporality"  # neither delta nor cumulative
    NO_VALUE = "no_value"  # a point of a sum or a level that does not say how much it is


SAYS = {
    Rejection.UNDATED: "without a usable time",
    Rejection.INVALID_ID: "with an invalid trace or span id",
    Rejection.NEGATIVE_DURATION: "that end before they start",
    Rejection.NON_FINITE: "with a number that is not finite",
    Rejection.INVALID_VALUE: "with a number out of its range",
    Rejection.TOO_MANY_ATTRIBUTES: "with too many attributes",
    Rejection.TOO_MANY_BUCKETS: "with too many buckets",
    Rejection.INVALID_HISTOGRAM: "whose buckets do not fit",
    Rejection.NO_TEMPORALITY: "without a temporality",
    Rejection.NO_VALUE: "without a value",
}
"""How people are told of each."""


def sentence(rejected: Mapping[str, int]) -> str:
    """One sentence for people on what was rejected, as `partial_success` carries it; empty when nothing was."""
    if not rejected:
        return ""
    parts = ", ".join(f"{count} {SAYS[Rejection(reason)]}" for reason, count in sorted(rejected.items()))
    return f"Rejected for good, do not send again: {parts}."


class BadItem(Exception):
    """Ends the reading of one item; caught where its request is walked, and counted.

    Args:
        reason: why the item is bad.
    """

    def __init__(self, reason: Rejection) -> None:
        super().__init__(reason.value)
        self.reason = reason
