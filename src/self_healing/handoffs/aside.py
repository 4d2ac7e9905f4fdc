"""Calls that may block, made aside, so that one that hangs holds nobody up; what came of them is fetched later."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from self_healing.errors import EffectUntold, SelfHealingError
from self_healing.handoffs.cleaning import clean_text

T = TypeVar("T")


class Aside(Generic[T]):
    """One call at a time for each id.

    Args:
        threads: make each in a thread of its own; otherwise at once.
    """

    def __init__(self, *, threads: bool) -> None:
        self._threads = threads
        self._ended: queue.SimpleQueue[tuple[str, T | SelfHealingError]] = queue.SimpleQueue()
        self._under_way: set[str] = set()

    @property
    def ended(self) -> bool:
        """Whether any call came to an end."""
        return not self._ended.empty()

    def busy(self, id: str) -> bool:
        """Whether the call for `id` is under way, or what came of it was not fetched yet."""
        return id in self._under_way

    def begin(self, id: str, call: Callable[[], T]) -> None:
        """Make the call for `id`."""
        self._under_way.add(id)
        if self._threads:
            threading.Thread(target=self._make, args=(id, call), name=f"aside {id}", daemon=True).start()
        else:
            self._make(id, call)

    def outcomes(self) -> Iterator[tuple[str, T | SelfHealingError]]:
        """What came of those that ended, each once."""
        while not self._ended.empty():
            id, outcome = self._ended.get()
            self._under_way.discard(id)
            yield id, outcome

    def _make(self, id: str, call: Callable[[], T]) -> None:
        outcome: T | SelfHealingError
        try:
            outcome = call()
        except SelfHealingError as error:
            outcome = error
        except Exception as error:  # a channel's mistake ends here, told, and not in a thread that nobody looks at
            outcome = EffectUntold(clean_text(repr(error)))
        self._ended.put((id, outcome))
