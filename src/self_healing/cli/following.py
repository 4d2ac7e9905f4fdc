"""Shows what a command shows, and with ``--watch`` again whenever it changed, until Ctrl-C."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from self_healing.cli import output
from self_healing.cli.options import Format, Watched

Json = dict[str, Any]

EVERY_S = 1.0
"""How often it is looked for a change: what the engine does, it does once a second."""

_MOVES = ("now", "evaluated_at")
"""What goes on by itself while a service runs; a change of nothing else is none."""

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def shown_as_asked(shown: Watched, look: Callable[[], Json], people: Callable[[Json], None]) -> int:
    """Print what `look` finds, as data or as `people` print it; with ``--watch`` again after each change.

    On a terminal the new takes the place of the old; elsewhere it follows, as JSON a line a change.

    Args:
        shown: how.
        look: asks for it.
        people: print it for people.

    Returns:
        0: it was shown; of a watch, Ctrl-C is the regular end.

    Raises:
        SelfHealingError: it cannot be looked at.
        BrokenPipeError: nobody reads any more.
    """
    if not shown.watch:
        output.show(look(), shown, people)
        return 0
    as_json = shown.format is Format.JSON
    return followed(look, partial(line, shown.label()) if as_json else partial(_drawn, people=people))


def followed(look: Callable[[], Json], tell: Callable[[Json], None]) -> int:
    """Tell what `look` finds, and again after each change, until Ctrl-C.

    Args:
        look: asks for it.
        tell: prints it.

    Returns:
        0: Ctrl-C is the regular end.

    Raises:
        SelfHealingError: it cannot be looked at.
        BrokenPipeError: nobody reads any more.
    """
    try:
        for told in changes(look, EVERY_S):
            tell(told)
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    return 0


def line(label: Json, told: Json) -> None:
    """Print it as JSON, a line of it, under the label of its fleet."""
    print(json.dumps(label | told))


def changes(look: Callable[[], Json], every_s: float) -> Iterator[Json]:
    """What `look` finds at once, and then whenever it is another.

    What cannot be looked at for a while, as when a service is started anew, is said once on stderr and waited for.

    Args:
        look: asks for it.
        every_s: how often, seconds.
    """
    import time

    from self_healing.errors import StateError, StorageError

    reader, before, trouble = Reader(), look(), ""
    yield before
    while True:
        time.sleep(every_s)
        reader.heed()
        try:
            told = look()
        except (StateError, StorageError) as error:
            if str(error) != trouble:
                trouble = str(error)
                print(f"self-healing: {output.text(trouble)}; waiting", file=sys.stderr)
            continue
        trouble = ""
        if _still(told) != _still(before):
            before = told
            yield told


class Reader:
    """Whoever reads what is printed here."""

    def __init__(self) -> None:
        import select

        self._gone = select.POLLERR | select.POLLHUP
        self._poll = select.poll()
        self._poll.register(sys.stdout.fileno(), 0)  # which tells nothing but that nobody reads any more

    def heed(self) -> None:
        """Raise BrokenPipeError when nobody reads any more: who prints seldom would not notice."""
        if any(told & self._gone for _, told in self._poll.poll(0)):
            raise BrokenPipeError


def _still(told: Json) -> Json:
    return {name: value for name, value in told.items() if name not in _MOVES}


def _drawn(told: Json, people: Callable[[Json], None]) -> None:
    from datetime import UTC, datetime

    print(_CLEAR if sys.stdout.isatty() else "", end="")
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, and again at each change; Ctrl-C ends it\n")
    people(told)
    if not sys.stdout.isatty():
        print()
