"""The program that tells people by Apprise, in a process of its own.

Apprise reads whatever its services answer, to the end, however long that is. So it is given a time and a memory, and
when either is used up only this process ends. It reads ``urls_env``, ``title`` and ``body`` as JSON from its standard
input, and its exit code says what became of it.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from contextlib import suppress

from self_healing.handoffs.program import NOT_NOW

WRONG = 78
"""The exit code (EX_CONFIG of sysexits.h) that says: an address is none that Apprise knows."""

MOST_MEMORY = 512 * 1024**2
"""Bytes of address space; Apprise itself takes half of it."""

EXHAUSTED = 70
"""The exit code (EX_SOFTWARE of sysexits.h) that says: a service's answer took all of it."""


class _Exhausted(logging.Handler):
    """Ends the program where Apprise logs that it has no memory left.

    Apprise takes that for a service that failed, which would be told again; but it may well have taken what it heard.
    """

    def emit(self, _record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], MemoryError):
            os._exit(EXHAUSTED)


def main() -> int:
    """Tell people; returns the exit code."""
    with suppress(ValueError, OSError):  # a system that does not bound it
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    import apprise

    logging.getLogger("apprise").addHandler(_Exhausted())
    asked = json.load(sys.stdin)
    services = apprise.Apprise()
    # Each by itself: add() takes what it knows of a list and says nothing of the rest but False.
    urls = os.environ.get(asked["urls_env"], "").split()
    if not urls or not all([services.add(url) for url in urls]):
        return WRONG
    told = services.notify(
        title=asked["title"],
        body=asked["body"],
        body_format=apprise.NotifyFormat.TEXT,
        notify_type=apprise.NotifyType.WARNING,
    )
    return 0 if told else NOT_NOW


if __name__ == "__main__":
    sys.exit(main())
