"""Histograms: how many samples lie in which bucket, so that quantiles of merged panes can be told.

The buckets are those of OpenTelemetry's exponential histograms at scale 4: bucket i holds what is above base**i, up to
base**(i + 1), and base is 2**(1/16), some 1.0443. A bucket is told by the value in it whose relative error is the same
towards both ends, (base - 1) / (base + 1), which is below 2.2 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SCALE = 4
_PER_DOUBLING = 2**SCALE
_MICRO = 1_000_000

CODES = 2048
"""Buckets have codes from 0 up to this, ascending with what is in them: negative amounts, zero, positive ones."""

ZERO = CODES // 2
"""The code of the bucket of zero."""

_FULL = 2**40
"""A bucket counts no further, so that ranks over all buckets fit in a column."""

_SHIFT = 320
"""From the index of a positive bucket to how far its code is above zero's: the smallest amount is a millionth."""


def buckets_of(amounts: Ints) -> Ints:
    """The code of the bucket of each amount, in millionths of the unit."""
    size = np.abs(amounts)
    with np.errstate(divide="ignore"):
        index = np.ceil(np.log2(size / _MICRO) * _PER_DOUBLING) - 1
    away = np.where(size > 0, index + _SHIFT, 0).astype(np.int64)
    codes: Ints = ZERO + np.sign(amounts) * away
    return codes


def bucket_of(amount: int) -> int:
    """The code of one amount's bucket; of the outermost one for what no column holds."""
    most = 2**62
    return int(buckets_of(np.array([max(min(amount, most), -most)], np.int64))[0])


def code_of(index: int) -> int:
    """The code of the positive bucket with that index at scale 4; of the outermost one for what lies beyond."""
    return min(max(ZERO + index + _SHIFT, ZERO + 1), CODES - 1)


def middle_of(code: int) -> float:
    """What stands for the bucket of that code, in the signal's unit."""
    return float(_MIDDLES[code]) / _MICRO


def _middles() -> Floats:
    """What stands for each bucket, in millionths, by its code."""
    base = 2 ** (1 / _PER_DOUBLING)
    away = np.arange(1, ZERO)
    above = 2.0 ** ((away - _SHIFT) / _PER_DOUBLING) * (2 * base / (1 + base)) * _MICRO
    return np.concatenate([[-above[-1]], -above[::-1], [0.0], above])


_MIDDLES = _middles()


@dataclass(slots=True)
class Histograms:
    """The filled buckets of each group, one after the other.

    Args:
        starts: where those of each group begin, and at the end where the last one's end.
        codes: of the buckets, ascending within each group.
        counts: how many samples each holds.
    """

    starts: Ints
    codes: Ints
    counts: Ints

    @classmethod
    def of(cls, groups: Sequence[Mapping[int, int]]) -> Histograms:
        """Those of groups, each of samples by the code of their bucket."""
        codes = [sorted(counts) for counts in groups]
        counted = [min(counts[code], _FULL) for counts, each in zip(groups, codes, strict=True) for code in each]
        return cls(
            np.array([0, *accumulate(map(len, codes))], np.int64),
            np.array(list(chain.from_iterable(codes)), np.int64),
            np.array(counted, np.int64),
        )

    @classmethod
    def single(cls, counts: Mapping[int, int]) -> Histograms:
        """That of one group, of samples by the code of their bucket."""
        return cls.of([counts])

    @property
    def samples(self) -> Ints:
        """How many samples each group has."""
        below = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])
        samples: Ints = below[self.starts[1:]] - below[self.starts[:-1]]
        return samples

    def at(self, places: Ints | list[int]) -> Histograms:
        """Those of the groups in these places only."""
        places = np.asarray(places, np.intp)
        lengths = self.starts[places + 1] - self.starts[places]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        taken = np.repeat(self.starts[places] - starts[:-1], lengths) + np.arange(starts[-1])
        return Histograms(starts, self.codes[taken], self.counts[taken])

    def replaced(self, own: Mapping[int, Histograms]) -> Histograms:
        """The same, but for those groups, each with a histogram of its own."""
        groups = len(self.starts) - 1
        lengths = np.diff(self.starts)
        kept = ~np.isin(np.repeat(np.arange(groups), lengths), list(own))
        places = [np.repeat(np.arange(groups), lengths)[kept]]
        places += [np.full(len(each.codes), place, np.int64) for place, each in own.items()]
        codes = np.concatenate([self.codes[kept], *(each.codes for each in own.values())])
        counts = np.concatenate([self.counts[kept], *(each.counts for each in own.values())])
        whose = np.concatenate(places)
        order = np.argsort(whose, kind="stable")
        return Histograms(np.searchsorted(whose[order], np.arange(groups + 1)), codes[order], counts[order])

    def quantile(self, percent: int) -> Floats:
        """The nearest rank of each group's samples, in millionths, at most 2.2 % off; NaN where there is none.

        Args:
            percent: 50 is the sample that half of all do not exceed.
        """
        below = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])
        before = below[self.starts[:-1]]
        samples = below[self.starts[1:]] - before
        rank = np.maximum(-(-samples * percent // 100), 1)
        found = np.full(len(samples), np.nan)
        some = samples > 0
        at = np.searchsorted(below, before[some] + rank[some], side="left") - 1
        found[some] = _MIDDLES[self.codes[at]]
        return found
