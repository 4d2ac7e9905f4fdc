"""The two equations of the accounting, on whatever a test folds and on whatever state it leaves behind.

Looked at are each fold, in memory too, each state that is closed in the tests' own process, also where its directory is
gone when the test ends, and each state that lies in a directory of pytest's, whoever made it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from self_healing.config import Settings
from self_healing.errors import StateError
from self_healing.status import accounting
from self_healing.storage.readonly import DATABASE
from self_healing.telemetry.telemetry import Telemetry


def held(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts, for which both equations hold."""
    assert counts["received"] == counts["accepted"] + sum(counts["rejected"].values()), counts
    lost = sum(counts["quarantined"].values()) + sum(counts["dropped"].values())
    assert counts["accepted"] == counts["aggregated"] + lost + counts["in_flight"], counts
    assert counts["late"] <= counts["aggregated"], counts
    return counts


def committed(state_dir: Path) -> dict[str, Any]:
    """What is committed in a state, for which both equations hold."""
    return held(accounting(Settings.model_validate({"storage": {"state_dir": state_dir}})))


def all_held(directory: Path) -> None:
    """Assert both equations for every state beneath `directory`."""
    for where, _, files in os.walk(directory):
        if DATABASE in files:
            committed(Path(where))


_broken: Final[list[str]] = []
"""What did not hold, in the test that runs or in what its module made for it. Kept until the test is over, for what is
raised in the midst of a service may be lived with."""

_spoils: Final[list[bool]] = []
"""Whether the test that runs spoils its state."""


@contextmanager
def holding(*, spoils: bool) -> Iterator[None]:
    """A test, after which all has held that it folded and closed; but for one that spoils its state on purpose."""
    _spoils[:] = [spoils]
    yield
    found = [*_broken]
    _broken.clear()
    assert found == []


def watch() -> None:
    """From now on look at each fold, and at each state that is closed."""
    fold = Telemetry.fold

    def watched(self: Telemetry, until_us: int | None = None, *, evaluated_us: int = 0) -> int:
        folded = fold(self, until_us, evaluated_us=evaluated_us)
        if self.accounting.received:  # else nobody counts what is folded there, as where past events are looked at
            _look(lambda: held(msgspec.to_builtins(self.accounting)))
        return folded

    Telemetry.fold = watched  # type: ignore[method-assign]
    sa.event.listen(sa.Engine, "engine_disposed", _closed)


def _closed(engine: sa.Engine) -> None:
    database = Path((engine.url.database or "").removeprefix("file://"))
    if database.name == DATABASE and not any(_spoils):
        _look(lambda: committed(database.parent))


def _look(at: Callable[[], object]) -> None:
    try:
        at()
    except (AssertionError, StateError) as error:
        _broken.append(str(error))
