"""How far a command has come that takes longer than a moment."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from self_healing.handoffs.cleaning import escape

BAR_AFTER_S = 1.0
"""What is done sooner needs no bar."""

Tell = Callable[[str, float], None]
"""Is told what is being done, and how much of it is, 0 to 1."""


@contextmanager
def progress() -> Iterator[Tell]:
    """A bar on stderr, where that is a terminal, once it has taken a second; gone when all is done."""
    if not sys.stderr.isatty():
        yield lambda _what, _share: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from self_healing.terminal import Terminal

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Terminal(stderr=True), transient=True)
    task, began = bar.add_task("", total=1.0), time.monotonic()

    def tell(what: str, share: float) -> None:
        if time.monotonic() - began > BAR_AFTER_S:
            bar.start()
        bar.update(task, description=escape(what), completed=share)

    try:
        yield tell
    finally:
        bar.stop()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """The same for what cannot say how far it has come: that it goes on, and for how long already.

    Args:
        what: is being done.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from self_healing.terminal import Terminal

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())

    class WithCursor(Terminal):
        def show_cursor(self, show: bool = True) -> bool:
            """Leave it: of what a signal ends there and then, as Ctrl-C does `events`, nobody would bring it back."""
            return False

    bar = Progress(*columns, console=WithCursor(stderr=True), transient=True)
    bar.add_task(escape(what), total=None)
    # What is waited for says nothing meanwhile, so that a thread has to look at the time.
    timer = threading.Timer(BAR_AFTER_S, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
