"""Finding events with DuckDB, in memory: nothing is locked, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from self_healing.errors import TelemetryError
from self_healing.problems import suggestion
from self_healing.telemetry.query import statements
from self_healing.telemetry.query.belonging import SPANS, belonging, place_of
from self_healing.telemetry.query.files import Form, Places, list_files
from self_healing.telemetry.query.rows import NATIVE_SOURCE, Row, Wanted, comes_from, rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TRIES: Final = 5
"""A segment that was compacted while it was read is looked for again, so many times in all."""

SPARE: Final = 8
"""So many lines more are asked for at first, for those that turn out to be none."""

MOST_SPANS: Final = 100_000
"""Of the traces of what is found, so many spans are looked at to tell whose work it is; as many as are put together."""

CHUNK_LINES: Final = 50_000
"""So many lines are handed on at once."""

MOST_NAMES: Final = 10_000
"""Among so many names the nearest to a wrong one is looked for."""

_NAMED: Final = {"agents": "agent", "models": "model", "sources": "source"}
"""The filters by names of which there are few enough to suggest one, and their fields."""

_OURS: Final = (Form.SEGMENT, Form.COMPACTED)

Statement = Callable[[Form, Sequence[Path]], tuple[str, dict[str, Any]]]

R = TypeVar("R")


@dataclass(slots=True)
class Found:
    """The events that were found, the newest first; and for people, what was skipped, and what no event says."""

    rows: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find(places: Places, wanted: Wanted, limit: int) -> Found:
    """The newest events that are wanted.

    Args:
        places: where to look.
        wanted: which.
        limit: so many at most.

    Raises:
        TelemetryError: there is no telemetry at all, or its files change faster than they can be read.
    """

    def newest(look: Look) -> Found:
        found = look.newest(limit)
        if not found:
            look.warnings += look.unheard_of()
        return Found(found, look.warnings)

    return looked(places, wanted, newest)


def looked(places: Places, wanted: Wanted, see: Callable[[Look], R]) -> R:
    """What `see` sees in one look at the files that are there; another one where a file went away meanwhile.

    Raises:
        TelemetryError: there is no telemetry at all, or its files change faster than they can be read.
    """
    for _ in range(TRIES):
        try:
            with Look(places, wanted) as look:
                return see(look)
        except _Vanished:
            continue
    raise TelemetryError(f"the files in {places.telemetry} and {places.segments} come and go too fast; try again")


@cache
def _database() -> DuckDBPyConnection:
    """The database of all looks of a process, which holds nothing: to begin one takes fifteen times as long as to ask.

    A look's own tables are temporary, so they are its cursor's and go with it.
    """
    import duckdb  # what looks at no event does without its 30 MB

    config: dict[str, Any] = {
        "autoinstall_known_extensions": False,  # none is fetched
        "temp_directory": "",  # nothing that is too large for memory goes to a file
        "enable_external_file_cache": False,  # nor does anything of a file stay in memory
    }
    return duckdb.connect(config=config)


class _Vanished(Exception):
    """A file went away while it was read, as one does that is compacted."""


class Look:
    """One look at the files that are there now."""

    def __init__(self, places: Places, wanted: Wanted) -> None:
        listing = list_files(places, wanted.since_us)
        self.warnings = listing.problems
        self._wanted = wanted
        self._files = {form: listing.of(form) for form in Form}
        if wanted.sources and not comes_from(NATIVE_SOURCE, wanted.sources):
            self._files[Form.NATIVE] = []
        self._connection: DuckDBPyConnection

    def __enter__(self) -> Look:
        self._connection = _database().cursor()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def newest(self, limit: int) -> list[Row]:
        if self._wanted.whose:
            self._connection.execute(statements.RELATED)
            for form in _OURS:
                self._ask(form, self._files[form], partial(statements.related, wanted=self._wanted))
        found = [row for form in Form for row in self._newest_of(form, limit)]
        return sorted(found, key=lambda row: row.at_us, reverse=True)[:limit]

    def _newest_of(self, form: Form, limit: int) -> list[Row]:
        """The newest of one form. More lines are asked for, until enough of those that may be wanted are."""
        most = limit + SPARE
        while True:
            asked = partial(statements.newest, wanted=self._wanted, most=most)
            fetched = self._ask(form, self._files[form], asked)
            lines = [(line.encode(), file) for _, line, file in fetched]
            good = self._good(rows(lines, form), form)
            good.sort(key=lambda row: row.at_us, reverse=True)
            # Of those that were not fetched, none is younger than the oldest that was.
            oldest_us = min((at_us for at_us, *_ in fetched if at_us is not None), default=None)
            enough = len(good) >= limit and oldest_us is not None and good[limit - 1].at_us >= oldest_us
            if enough or len(fetched) < most:
                return good[:limit]
            most *= 4

    def _good(self, found: list[Row], form: Form) -> list[Row]:
        """Of these events those that are wanted, by what they say or by whose they are, which is what is told then."""
        found = [row for row in found if self._wanted.may_admit(row)]
        places = () if form is Form.NATIVE else (place_of(row) for row in found)
        traces = tuple({place[0] for place in places if place is not None})
        whose = belonging(found, self._spans_of(traces)) if traces else found
        both = zip(found, whose, strict=True)
        return [owned for row, owned in both if self._wanted.admits(row) or self._wanted.admits(owned)]

    def _spans_of(self, traces: tuple[str, ...]) -> Iterator[Row]:
        for form in _OURS:
            asked = partial(statements.newest, wanted=Wanted(traces=traces, kinds=SPANS), most=MOST_SPANS)
            fetched = self._ask(form, self._files[form], asked)
            yield from rows([(line.encode(), file) for _, line, file in fetched], form)

    def within(self, agent: str | None) -> Iterator[tuple[Form, list[bytes]]]:
        """The lines of the time that is wanted, in the order in which they stand in their files, some at a time.

        Args:
            agent: leave out what is certainly another agent's.
        """
        for form in Form:
            asked = partial(statements.within, wanted=self._wanted, agent=agent)
            lines = self._ask(form, self._files[form], asked)
            for start in range(0, len(lines), CHUNK_LINES):
                yield form, [line.encode() for (line,) in lines[start : start + CHUNK_LINES]]

    def reaches(self, since_us: int) -> bool:
        """Whether it is certain at once that an event of the files that were not left out happened by then."""
        asked = partial(statements.reaches, since_us=since_us)
        return any(self._ask(form, files, asked) for form, files in self._files.items())

    def oldest_us(self) -> int | None:
        """When the oldest event of the files that were not left out happened, microseconds; None when there is none."""
        found = [row for form, files in self._files.items() for row in self._ask(form, files, statements.oldest)]
        return min((at_us for (at_us,) in found if at_us is not None), default=None)

    def unheard_of(self) -> list[str]:
        """Of the names that were asked for and that no event has, the nearest that one has."""
        told = []
        for name, field_name in _NAMED.items():
            asked = getattr(self._wanted, name)
            known = self.names(field_name) if asked else []
            wrong = [value for value in asked if value not in known]
            told += [
                f"no event has the {field_name} {value!r};{suggestion(value, known)}".rstrip(";") for value in wrong
            ]
        return told

    def names(self, field_name: str) -> list[str]:
        """What the events say in that field, each value once, sorted."""
        found = set()
        for form, files in self._files.items():
            if field_name != "source" or form is not Form.NATIVE:
                asked = partial(statements.names, field=field_name, most=MOST_NAMES)
                found |= {str(name) for (name,) in self._ask(form, files, asked)}
        if field_name == "source":
            found |= {NATIVE_SOURCE, *(name.partition("/")[0] for name in found)}
        return sorted(found)

    def _ask(self, form: Form, files: Sequence[Path], statement: Statement) -> list[tuple[Any, ...]]:
        """What a statement finds in `files`; one that cannot be read is skipped, and named."""
        import duckdb

        if not files:
            return []
        try:
            return self._connection.execute(*statement(form, files)).fetchall()
        except duckdb.OutOfMemoryException:
            raise
        except (duckdb.FatalException, duckdb.InternalException):
            _database.cache_clear()  # it answers nothing any more; the next look begins another
            raise
        except RuntimeError as error:
            if str(error) == "Query interrupted":  # what it makes of Ctrl-C
                raise KeyboardInterrupt from error
            raise
        except duckdb.Error as error:
            if not all(file.exists() for file in files):
                raise _Vanished from error
            if len(files) == 1:
                self._files[form].remove(files[0])
                self.warnings.append(f"{files[0]} is skipped: {str(error).splitlines()[0]}")
                return []
        half = len(files) // 2
        return [*self._ask(form, files[:half], statement), *self._ask(form, files[half:], statement)]
