"""Which files hold events, for whoever only looks: native ones, segments, and compacted segments."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from self_healing.errors import TelemetryError
from self_healing.filenames import CORRUPT, OWN_EVENTS, SUFFIX
from self_healing.telemetry.native import FUTURE_MAX_US
from self_healing.telemetry.recovery import PARQUET, number_of, segment_files


class Form(StrEnum):
    """What a file of events is."""

    NATIVE = "native"  # the fleet's own JSON lines
    SEGMENT = "segment"  # what came in otherwise, as it was written
    COMPACTED = "compacted"  # the same, in columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where events are.

    Args:
        telemetry: directory of the fleet's native files.
        segments: directory of our own segments.
    """

    telemetry: Path
    segments: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFile:
    """One file of events, as it was when it was found."""

    path: Path
    form: Form
    key: tuple[int, int]  # device and inode
    modified_us: int


@dataclass(slots=True)
class Listing:
    """The files that are there, and for people, what of them cannot be read."""

    files: list[EventFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of(self, form: Form) -> list[Path]:
        return [file.path for file in self.files if file.form is form]


def list_files(places: Places, since_us: int | None = None) -> Listing:
    """The files of events in `places`, each once, whatever its names.

    Args:
        places: where to look.
        since_us: leave out what was last written before; no event in it can be younger.

    Raises:
        TelemetryError: there is no telemetry at all.
    """
    listing = Listing()
    found = [_native(places.telemetry, listing), _segments(places.segments, listing)]
    if not listing.files and not listing.problems and not any(found):
        raise TelemetryError(
            f"no telemetry yet: {places.telemetry} does not exist, and nothing came in otherwise; let the fleet write"
            " there, or name another directory with --telemetry-dir"
        )
    # A clock that is ahead by less than that is borne.
    oldest_us = -1 if since_us is None else since_us - FUTURE_MAX_US
    files = {file.key: file for file in listing.files if file.modified_us >= oldest_us}
    return Listing(list(files.values()), listing.problems)


def _native(directory: Path, listing: Listing) -> bool:
    """Whether the directory is there."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return False
    except OSError as error:
        listing.problems.append(f"{directory} is skipped: {error.strerror}")
        return True
    for name in names:
        if name.endswith(SUFFIX) and not name.startswith(OWN_EVENTS):
            _add(directory / name, Form.NATIVE, listing)
    return True


def _segments(directory: Path, listing: Listing) -> bool:
    """Whether the directory is there."""
    try:
        files = segment_files(directory)
    except FileNotFoundError:
        return False
    except OSError as error:
        listing.problems.append(f"{directory} is skipped: {error.strerror}")
        return True
    compacted = {number_of(file) for file in files if file.suffix == PARQUET}
    for file in files:
        if file.suffix == PARQUET:
            _add(file, Form.COMPACTED, listing)
        elif file.suffix in (SUFFIX, CORRUPT) and number_of(file) not in compacted:
            # Both are there for a moment, and hold the same.
            _add(file, Form.SEGMENT, listing)
    return True


def _add(path: Path, form: Form, listing: Listing) -> None:
    try:
        info = path.stat()
    except FileNotFoundError:  # it went away just now
        return
    if not stat.S_ISREG(info.st_mode):
        return
    if not os.access(path, os.R_OK):
        listing.problems.append(f"{path} is skipped: Permission denied; make it readable")
        return
    key = (info.st_dev, info.st_ino)
    listing.files.append(EventFile(path=path.absolute(), form=form, key=key, modified_us=info.st_mtime_ns // 1000))
