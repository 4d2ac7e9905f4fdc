"""What is wrong with a line in quarantine, in words: the slow path, only for the lines that somebody looks at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from self_healing.problems import shown
from self_healing.telemetry.lines import ANY_KIND, LINE_MAX_BYTES, BadLine

_AT = re.compile(r"(?P<said>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_TIMES = (BadLine.UNDATED, BadLine.FUTURE)


def describe(directory: Path, file: str, offset: int, reason: BadLine) -> str | None:
    """What is wrong with one line, such as ``duration_s: -3: allowed is float >= 0.0``.

    Args:
        directory: the telemetry directory.
        file: its name in there.
        offset: where the line begins, in bytes.
        reason: why it is in quarantine.

    Returns:
        None when the reason says it all, or the line is no longer there.
    """
    try:
        with (directory / file).open("rb") as lines:
            lines.seek(offset)
            line = lines.readline(LINE_MAX_BYTES + 1)
    except OSError:
        return None
    return None if reason is BadLine.TOO_LONG or not line.endswith(b"\n") else described(line, reason)


def described(line: bytes, reason: BadLine) -> str | None:
    """What is wrong with a whole line that is in quarantine for `reason`; None when the reason says it all."""
    try:
        ANY_KIND.decode(line)
    except msgspec.ValidationError as error:
        return _wrong_field(line, str(error))
    except ValueError as error:  # no JSON, or no text
        return str(error)
    return f"ts: {shown(_reached(line, '.ts'))}" if reason in _TIMES else None


def _wrong_field(line: bytes, said: str) -> str:
    """The decoder's words for a wrong value, with the value itself."""
    found = _AT.fullmatch(said)
    what = (found["said"] if found else said).replace("Expected", "allowed is", 1).replace("`", "")
    if found is None:
        return what
    return f"{found['path'].lstrip('.')}: {shown(_reached(line, found['path']))}: {what}"


def _reached(line: bytes, path: str) -> Any:
    """The value at a path such as ``.usage.total_usd``; None when it cannot be said."""
    try:
        value = json.loads(line)
        for name in filter(None, path.split(".")):
            value = value[name]
    except (ValueError, LookupError, TypeError):
        return None
    return value
