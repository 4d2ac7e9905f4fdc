"""Reads what is declared in TOML tables: the shipped ones first, then a person's files, then overrides.

A table whose name is known changes only the keys that it gives; another name declares something new. Every mistake in
every file is found before anything is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from self_healing.documents import Document, Read, read_document
from self_healing.errors import ConfigError
from self_healing.problems import keys, one_line, problems_of, shown, suggestion, unknown
from self_healing.spec import parse_duration

Model = TypeVar("Model", bound=BaseModel)
Values = Mapping[str, Any]
Mistake = tuple[str, Any, str]
"""A dotted key, its value (None where it is missing), and what is allowed there."""
Check = Callable[[Values], Iterator[Mistake]]
"""Finds the mistakes in the merged values of a table."""
CheckAll = Callable[[Mapping[str, Values]], Iterator[tuple[str, Mistake]]]
"""Finds what does not agree between tables, by name, each with the table that is to blame."""


@dataclass(frozen=True)
class Declarations(Generic[Model]):
    """What was read.

    Args:
        specs: those that are valid, in the order of their first declaration.
        names: all of them, valid or not.
        problems: every mistake; a line each.
        at: where a dotted key of one of them was given, such as ``triggers.toml:3``; where it was touched last for one
            that was not.
    """

    specs: tuple[Model, ...]
    names: tuple[str, ...]
    problems: tuple[str, ...]
    at: Callable[[str, str], str]

    def checked(self) -> tuple[Model, ...]:
        """The specs. Raises ConfigError when there is any problem."""
        if self.problems:
            raise ConfigError(list(self.problems))
        return self.specs


@dataclass
class _Table:
    """One declaration as merged so far."""

    values: dict[str, Any] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)  # dotted key -> where it was given last
    last: str = ""  # where it was touched last: to blame for what is missing or does not agree
    incomplete: bool = False  # whether a part of a file that touched it could not be read

    def change(self, values: Values, where: str, places: Mapping[str, str]) -> None:
        """Lay `values` over it, given at `where`, each dotted key at its own of `places`, which a person wrote."""
        self.values.update(values)
        self.last = where
        self.given = {key: place for key, place in self.given.items() if key.partition(".")[0] not in values}
        self.given.update(places)

    def changed(self, values: Values, where: str, places: Mapping[str, str]) -> _Table:
        """One with `values` laid over it, which itself stays as it is."""
        copy = replace(self, values=dict(self.values))
        copy.change(values, where, places)
        return copy

    def at(self, key: str) -> str:
        """Where the dotted `key`, or what it is a part of, was given; where the table was, when it was not."""
        while key and key not in self.given:
            key = key.rpartition(".")[0]
        return self.given[key] if key else self.last


def seconds_of(value: Any) -> int | None:
    """The seconds of a duration as TOML has it; None when it is none, which its model says."""
    try:
        seconds = parse_duration(value)
    except ValueError:
        return None
    return seconds if isinstance(seconds, int) and not isinstance(seconds, bool) else None


def _in_order(problems: Iterable[str]) -> tuple[str, ...]:
    """Those without a line first, then those of each file by their lines, as somebody mends them."""
    found = [(_PLACE.match(problem), problem) for problem in problems]
    files = list(dict.fromkeys(place["file"] for place, _ in found if place))
    ranked = [((files.index(at["file"]), int(at["line"])) if at else (-1, 0), told) for at, told in found]
    return tuple(told for _, told in sorted(ranked, key=lambda each: each[0]))


_PLACE: Final = re.compile(r"(?P<file>.+?):(?P<line>\d+): ")


class Reader(Generic[Model]):
    """Collects tables of one kind, layer upon layer.

    Args:
        kind: what a table is called in TOML and in messages, such as ``trigger``.
        model: what a merged table must be.
        check: finds what `model` alone cannot.
        check_all: finds what no table alone shows.
        beside: kinds of tables in the same files that another reader reads.
        tells: whether it tells what is wrong with a file as a whole; one of the readers of a file does.
    """

    def __init__(
        self,
        kind: str,
        model: type[Model],
        check: Check,
        check_all: CheckAll = lambda _tables: iter(()),
        *,
        beside: Collection[str] = (),
        tells: bool = True,
    ) -> None:
        self._kind = kind
        self._model = model
        self._check = check
        self._check_all = check_all
        self._kinds = (kind, *beside)
        self._tells = tells
        self._tables: dict[str, _Table] = {}
        self._shipped: frozenset[str] = frozenset()
        self._twice: list[tuple[str, _Table]] = []  # what else a file says of a name that it has declared already
        self._offered: set[str] = set()  # of the tables, those that nobody has named yet
        self._problems: list[str] = []

    def shipped(self, file: Path) -> None:
        """Begin with the tables that come with the package."""
        self._layer(read_document(file), shipped=True)
        self._shipped = frozenset(self._tables)

    def offered(self, file: Path) -> None:
        """Hold tables ready that come with the package and are none until a file or an override names them."""
        known = set(self._tables)
        self._layer(read_document(file), shipped=True)
        self._offered = set(self._tables) - known

    def files(self, files: Sequence[Path], read: Read) -> None:
        """Lay a person's files over it, in their order, each as `read` gives it."""
        for file in files:
            self._layer(read(file), shipped=False)

    def overrides(self, overrides: Mapping[str, Values]) -> None:
        """Lay the changes made at run time over it, by name; they declare nothing new."""
        for name, values in overrides.items():
            where = f"override: {self._kind} {name}"
            if name not in self._tables:
                self._problems.append(f"{where}: name: {shown(name)}: {unknown(name, self._tables)}")
            elif "name" in values:
                self._problems.append(f"{where}: name: {shown(values['name'])}: allowed are the other keys")
            else:
                self._offered.discard(name)
                self._tables[name].change(values, "override", dict.fromkeys(values, "override"))

    def result(self) -> Declarations[Model]:
        """Validate everything that was collected."""
        for name in self._offered:
            del self._tables[name]
        self._offered = set()
        specs: list[Model] = []
        problems = list(self._problems)
        for name, table in self._tables.items():
            found, spec = self._validated(name, table)
            problems += found
            specs += [spec] if spec is not None else []
        for name, table in self._twice:
            problems += self._validated(name, table)[0]
        for name, (key, value, allowed) in self._check_all({name: each.values for name, each in self._tables.items()}):
            problems.append(f"{self._where(name, key)}: {key}: {shown(value)}: {allowed}")
        return Declarations(
            tuple(specs),
            tuple(self._tables),
            _in_order(dict.fromkeys(map(one_line, problems))),  # what is said twice has the first one's keys as well
            lambda name, key: self._tables[name].at(key),
        )

    def _layer(self, document: Document, *, shipped: bool) -> None:
        self._problems += document.problems if self._tells else ()
        seen: dict[str, str] = {}
        for number, values in enumerate(self._of(document)):
            above = f"{self._kind}.{number}"
            where = f"the shipped {self._kind}s" if shipped else document.at(above)
            name = values.get("name")
            if not isinstance(name, str):
                given = "missing" if name is None else shown(name)
                where = document.at(f"{above}.name")
                self._problems.append(f"{where}: {self._kind} number {number + 1}: name: {given}: allowed is text")
            elif name in seen:
                self._problems.append(
                    f"{document.at(f'{above}.name')}: {self._kind} {name}: name: {shown(name)}: "
                    f"allowed is once in a file; it is at {seen[name]} already"
                )
                self._twice.append((name, self._tables[name].changed(values, where, document.within(above))))
            else:
                seen[name] = where
                table = self._tables.setdefault(name, _Table())
                table.incomplete |= bool(document.problems)
                if shipped:
                    table.change(values, where, {})
                else:
                    self._offered.discard(name)
                    table.change(values, where, document.within(above))

    def _of(self, document: Document) -> list[dict[str, Any]]:
        """The tables of this kind in `document`."""
        allowed = f"allowed are tables {' and '.join(f'[[{kind}]]' for kind in self._kinds)}"
        for key, value in document.values.items():
            if self._tells and key not in self._kinds:
                self._problems.append(
                    f"{document.at(key)}: {key}: {shown(value)}: unknown;{suggestion(key, self._kinds)} {allowed}"
                )
        allowed = f"allowed are tables [[{self._kind}]]"
        tables = document.values.get(self._kind, [])
        if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
            return tables
        self._problems.append(f"{document.at(self._kind)}: {self._kind}: {shown(tables)}: {allowed}")
        return []

    def _validated(self, name: str, table: _Table) -> tuple[list[str], Model | None]:
        def where(key: str) -> str:
            return f"{table.at(key)}: {self._kind} {name}"

        problems: list[str] = []
        spec: Model | None = None
        mistakes = list(self._check(table.values))
        try:
            spec = self._model.model_validate(table.values)
        except ValidationError as error:
            if not mistakes or any(detail["loc"] for detail in error.errors()):
                # Else it is the model's guard against what does not go together, which the check told key by key.
                problems += problems_of(error, where, self._model, incomplete=table.incomplete)
                problems += [] if table.incomplete else self._misspelt(name, table, where)
        for key in table.values.keys() & self._model.model_fields.keys() - set(keys(self._model)):  # Python's own names
            problems.append(f"{where(key)}: {key}: {shown(table.values[key])}: {unknown(key, keys(self._model))}")
        for key, value, allowed in mistakes:
            place = f"{where(key)}: {key}: "
            told = allowed if value is None else f"{shown(value)}: {allowed}"
            # Else the model has said so, or it may stand in the part that could not be read.
            if not any(problem.startswith(place) for problem in problems) and not (value is None and table.incomplete):
                problems.append(place + told)
        return problems, None if problems else spec

    def _where(self, name: str, key: str) -> str:
        return f"{self._tables[name].at(key)}: {self._kind} {name}"

    def _misspelt(self, name: str, table: _Table, where: Callable[[str], str]) -> list[str]:
        """A hint when a new table is incomplete and its name is nearly that of a shipped one."""
        required = {key for key, info in self._model.model_fields.items() if info.is_required()}
        hint = suggestion(name, self._shipped - {name})
        if name in self._shipped or not hint or required <= table.values.keys():
            return []
        return [f"{where('name')}: name: {shown(name)}: declares a new {self._kind};{hint}"]
