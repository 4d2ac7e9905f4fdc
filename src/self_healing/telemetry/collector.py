"""Keeps the garbage collector from looking where there is no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off(*, aged: bool = False) -> Iterator[None]:
    """No collections inside: what is made there is wanted, and looking it through takes longer than making it.

    Args:
        aged: what is left of it counts as old afterwards, so that no collection of what is young looks it through.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if aged and not gc.get_freeze_count():  # else what was frozen for good would thaw
                gc.freeze()
                gc.unfreeze()
            gc.enable()
