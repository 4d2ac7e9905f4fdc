"""What is wrong with a line that cannot be used, in words: the slow path, only for the lines that somebody looks at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from self_healing.filenames import CORRUPT, SEGMENTS
from self_healing.model import StatusName
from self_healing.problems import shown
from self_healing.telemetry.lines import ANY_KIND, DEPTH_MAX, LINE_MAX_BYTES, BadLine

SAYS: Final = {
    BadLine.INVALID_UTF8: "its bytes are no text in UTF-8",
    BadLine.INVALID_JSON: "it is no JSON",
    BadLine.INVALID_VALUE: "it is no event",
    BadLine.NON_FINITE: "NaN, Infinity and numbers too large to be held are none; leave the field out",
    BadLine.TOO_DEEP: f"it nests deeper than {DEPTH_MAX} levels",
    BadLine.TOO_LONG: f"it is longer than {LINE_MAX_BYTES >> 20} MiB",
    BadLine.UNDATED: "it has no usable time",
    BadLine.FUTURE: "its time is more than 5 minutes ahead",
    BadLine.TORN: "it was never finished",
}
"""How people are told of each reason where nothing more can be said."""

_AT = re.compile(r"(?P<said>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_TIMES = (BadLine.UNDATED, BadLine.FUTURE)


def describe(telemetry: Path, state: Path, file: str, offset: int, reason: BadLine) -> str | None:
    """What is wrong with one line, such as ``duration_s: -3: allowed is float >= 0.0``.

    Args:
        telemetry: the telemetry directory.
        state: the state directory, where the segments are.
        file: its name in the former, or ``segments/NAME``.
        offset: where the line begins, in bytes.
        reason: why it is in quarantine.

    Returns:
        None when the reason says it all, or the line is no longer there.
    """
    path = telemetry / file
    if file.startswith(f"{SEGMENTS}/"):
        path = state / file
        if not path.exists():
            path = path.with_name(path.name + CORRUPT)
    try:
        with path.open("rb") as lines:
            lines.seek(offset)
            line = lines.readline(LINE_MAX_BYTES + 1)
    except OSError:
        return None
    return described(line, reason) if line.endswith(b"\n") else None


def described(line: bytes, reason: BadLine) -> str | None:
    """What is wrong with a whole line that cannot be used for `reason`; None when the reason says it all."""
    if reason in (BadLine.TOO_LONG, BadLine.TOO_DEEP):
        return None
    try:
        ANY_KIND.decode(line)
    except msgspec.ValidationError as error:
        return _wrong_field(line, str(error))
    except ValueError as error:  # no JSON, or no text
        return None if reason is BadLine.NON_FINITE else str(error)
    except RecursionError:  # its bytes were no text, so nobody looked how deep it is
        return None
    return f"ts: {shown(_reached(line, '.ts'))}: {_TIME}" if reason in _TIMES else None


_TIME: Final = "allowed is a time with its zone, such as 2026-01-05T10:00:00Z, from 1970 to 5 minutes ahead"


def _wrong_field(line: bytes, said: str) -> str:
    """The decoder's words for a wrong value, with the value itself."""
    found = _AT.fullmatch(said)
    what = (found["said"] if found else said).replace("Expected", "allowed is", 1).replace("`", "")
    if found is None:
        return what
    if found["path"] == ".status":
        what = f"allowed are {', '.join(get_args(StatusName))}"
    return f"{found['path'].lstrip('.')}: {shown(_reached(line, found['path']))}: {what}"


def _reached(line: bytes, path: str) -> Any:
    """The value at a path such as ``.usage.total_usd``; None when it cannot be said."""
    try:
        value = json.loads(line)
        for name in filter(None, path.split(".")):
            value = value[name]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return value
