"""Reads the configuration once into frozen settings: the file, then ``SELF_HEALING_*`` variables, then flags.

A bad value stops the start, with where it was given, the key, the value and what is allowed; all of them at once, and
with them what is wrong in the files of triggers, actions and articles, so that nobody mends in rounds.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from self_healing.config import CONFIG_FILE, SETTING_KEYS, VARIABLE_PREFIX, VARIABLES, Settings, load_spec
from self_healing.documents import Document, read_document
from self_healing.errors import ConfigError
from self_healing.problems import Place, one_line, problems_of, shown, unknown

Way = tuple[int | str, ...]
"""The way to a value, from the whole configuration on."""

_APART: Final = set(SETTING_KEYS) - {"triggers.files", "actions.files"}
"""What may be wrong without leaving open which triggers and actions are declared."""


def load_settings(config: Path | None, *, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The settings to run with.

    Args:
        config: the file; when None, ``self-healing.toml`` in the current directory, if there is one.
        environ: the environment; of it, the ``SELF_HEALING_*`` variables are read, and an unknown one is refused.
        flags: values from the command line by dotted key, such as ``{"telemetry.dir": path}``; None is not given.

    Raises ConfigError with every problem.
    """
    given = _Given()
    if config is not None or os.path.lexists(CONFIG_FILE):
        given.file(config or CONFIG_FILE)
    given.variables(environ)
    given.flags(flags)
    return given.settings()


class _Given:
    """The values given so far, each with where it was given."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._where: dict[str, str] = {}
        self._file = Document(file="")
        self._problems: list[str] = []

    def file(self, path: Path) -> None:
        self._file = read_document(path)
        self._values = self._file.values
        self._problems += self._file.problems

    def variables(self, environ: Mapping[str, str]) -> None:
        for name in sorted(name for name in environ if name.startswith(VARIABLE_PREFIX)):
            key = VARIABLES.get(name)
            if key is None:
                self._problems.append(f"variable {name}: {shown(environ[name])}: {unknown(name, VARIABLES)}")
            else:
                self._put(key, _from_text(key, environ[name]), f"variable {name}")

    def flags(self, flags: Mapping[str, Any]) -> None:
        for key, value in flags.items():
            if value is None:
                continue
            if key in SETTING_KEYS:
                self._put(key, value, "flag")
            else:
                self._problems.append(f"flag: {key}: {shown(value)}: {unknown(key, SETTING_KEYS)}")

    def settings(self) -> Settings:
        """Everything validated. Raises ConfigError."""
        try:
            settings = Settings.model_validate(self._values)
        except ValidationError as error:
            self._problems += problems_of(error, self._given_at, Settings)
            raise self._refused(_sound(self._values)) from error
        if self._problems:
            raise self._refused(settings)
        return settings

    def _refused(self, sound: Settings | None) -> ConfigError:
        """All that is wrong, with what is wrong of the files that `sound` names; None where nobody knows which."""
        problems = [one_line(problem) for problem in self._problems]
        if sound is not None and not self._file.problems:  # what is no TOML may have named files
            try:
                load_spec(sound)
            except ConfigError as error:
                problems += error.problems
        return ConfigError(problems)

    def _put(self, key: str, value: Any, where: str) -> None:
        table = self._values
        *sections, last = key.split(".")
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                return  # the file has a value in the section's place, which is refused as it stands
        table[last] = value
        self._where[key] = where

    def _given_at(self, key: str) -> str:
        """Where the setting was given that `key` is, or is a part of."""
        owners = [name for name in self._where if key == name or key.startswith(f"{name}.")]
        return self._where[owners[0]] if owners else self._file.at(key)


def _from_text(key: str, text: str) -> Any:
    """The value that a variable's text stands for: the text where text is wanted, else TOML where it is some."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed.get("value") if len(parsed) == 1 else text  # a line break could bring further keys
    wants_text = Place(Settings, tuple(key.split("."))).holds(str, Path)
    return text if wants_text and not isinstance(value, str) else value


def _sound(given: Mapping[str, Any]) -> Settings | None:
    """The settings without those that are wrong.

    None where one of these may have named files: what these declare would be told as missing.
    """
    values: Any = deepcopy(dict(given))
    while True:
        try:
            return Settings.model_validate(values)
        except ValidationError as error:
            ways = {_way(values, detail["loc"]): None for detail in error.errors(include_url=False)}
        if not all(_apart(way) for way in ways):
            return None
        # What is within another is gone with it. In a list the last goes first, so that the others keep their place.
        for way in reversed([way for way in ways if not any(way[:length] in ways for length in range(len(way)))]):
            *above, last = way
            del reduce(getitem, above, values)[last]


def _way(values: Any, loc: Way) -> Way:
    """The way to the innermost value there is at pydantic's location, which also has the labels of unions."""
    found: list[int | str] = []
    for item in loc:
        if item in (range(len(values)) if isinstance(values, list) else values if isinstance(values, dict) else ()):
            values = values[item]
            found.append(item)
    return tuple(found)


def _apart(way: Way) -> bool:
    """Whether what is wrong there leaves no question which triggers and actions are declared."""
    section, *_ = map(str, way or ("",))
    if section in ("triggers", "actions"):
        return ".".join(map(str, way[:2])) in _APART
    return section in Settings.model_fields
