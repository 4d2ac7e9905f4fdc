"""Trying: what a trigger with another threshold would have opened, on the newest stored history, and what to commit."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from self_healing.backtest_report import compare
from self_healing.errors import SelfHealingError, TelemetryError
from self_healing.problems import problems_of
from self_healing.spec import Spec, TriggerSpec
from self_healing.telemetry.query.files import Form, Places, list_files

Json = dict[str, Any]

MOST_BYTES: Final = 16 << 20
"""So much of the newest history is replayed: some seconds, in which the service has a little less of its machine."""

VALUES: Final = {"threshold": ("value",), "rate_of_change": ("value",), "baseline": ("ratio", "percent", "plus")}
"""Of each kind of condition the keys of which one is its threshold; the other kinds have none."""


def threshold_of(trigger: Json) -> tuple[str, float] | None:
    """The key and the value of what a trigger is held against; None where that is no number of its own.

    Args:
        trigger: as it is declared.
    """
    condition = trigger["condition"]
    for key in VALUES.get(condition["kind"], ()):
        if condition.get(key) is not None:
            return key, condition[key]
    return None


def try_threshold(places: Places, trigger: Json, text: str) -> Json:
    """Both thresholds on the same history, side by side, and the difference of the spec; it may take some seconds.

    The trigger is tried alone: no silence, maintenance window or other trigger mutes it, and nothing is healed.

    Args:
        places: where history is.
        trigger: as it is declared.
        text: the other threshold, in the unit of the spec.

    Raises:
        SelfHealingError: that is none that the trigger could have.
        TelemetryError: there is no history of the fleet's own files.
    """
    alone = {**trigger, "enabled": True, "inhibited_by": []}
    mine, other = TriggerSpec.model_validate(alone), _changed(alone, text)
    with _newest(places) as (files, whole):
        told = compare(Spec(triggers=(mine,), actions=()), Spec(triggers=(other,), actions=()), files)
    [compared] = told["compared"]
    return {
        **compared,
        "events": told["events"],
        "span_s": told["span_s"],
        "whole": whole,
        "diff": _diff(trigger, other.model_dump(mode="json", by_alias=True)),
    }


def _changed(trigger: Json, text: str) -> TriggerSpec:
    found = threshold_of(trigger)
    if found is None:
        raise SelfHealingError(
            f"{trigger['name']} has no threshold to change; `triggers backtest --against` tries any spec"
        )
    try:
        value = float(text)
    except ValueError as error:
        raise SelfHealingError(f"threshold {text!r}: allowed is a number") from error
    try:
        condition = {**trigger["condition"], found[0]: value}
        return TriggerSpec.model_validate({**trigger, "condition": condition})
    except ValidationError as error:
        problems = problems_of(error, lambda _key: f"trigger {trigger['name']}", TriggerSpec)
        raise SelfHealingError("; ".join(problems)) from error


@contextmanager
def _newest(places: Places) -> Iterator[tuple[Sequence[Path], bool]]:
    """The newest of the fleet's own files, the oldest of them cut where there is too much; and whether that is all."""
    files = list_files(places).of(Form.NATIVE)
    if not files:
        raise TelemetryError("there is no history in the fleet's own files yet; what came in otherwise is not replayed")
    kept: list[Path] = []
    left = MOST_BYTES
    with tempfile.TemporaryDirectory(prefix="self-healing-try-") as directory:
        for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
            size = path.stat().st_size
            if size > left:
                kept.append(_end_of(path, left, Path(directory)))
                yield kept, False
                return
            kept.append(path)
            left -= size
        yield kept, True


def _end_of(path: Path, size: int, directory: Path) -> Path:
    """The last bytes of a file, from the beginning of a line on, as a file of its own."""
    cut = directory / path.name
    with path.open("rb") as source, cut.open("wb") as target:
        source.seek(-size, 2)
        source.readline()
        shutil.copyfileobj(source, target)
    return cut


def _diff(before: Json, after: Json) -> list[str]:
    """The lines of a file of triggers that differ, as a diff has them."""
    return [
        " [[trigger]]",
        f" name = {json.dumps(before['name'])}",
        f"-condition = {_toml(before['condition'])}",
        f"+condition = {_toml(after['condition'])}",
    ]


def _toml(condition: Json) -> str:
    told = (f"{key} = {json.dumps(value)}" for key, value in condition.items() if value is not None)
    return f"{{ {', '.join(told)} }}"
