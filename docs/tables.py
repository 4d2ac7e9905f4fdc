"""Makes the tables of the reference that the code knows: ``python docs/tables.py``; a test holds the pages to it.

A table stands in its page between two comments, with what people wrote around it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from self_healing.api.looking import Figures
from self_healing.config import Settings
from self_healing.spec import DIRECTIVES, Aggregate
from self_healing.spec.actions import MEANINGS
from self_healing.surface import open_surface
from self_healing.telemetry.signals import MEASURED, SIGNALS
from self_healing.wording import span

REFERENCE: Final = Path(__file__).parent / "reference"

SEE: Final = {
    "environment": "../how-to/operate.md#several-fleets",
    "telemetry.keep": "../how-to/bring-telemetry-in.md",
    "triggers.files": "triggers.md#the-seven-defaults",
    "triggers.tests": "trigger-tests.md",
    "triggers.max_groups": "triggers.md#groups",
    "triggers.warm_up": "triggers.md#warming-up",
    "actions.files": "actions.md#the-eight-defaults",
    "actions.channels": "channels.md",
    "constitution.files": "constitution.md#own-articles",
    "constitution.limits": "constitution.md#limits",
    "storage.keep": "../how-to/operate.md#keep",
    "storage.keep_audit": "constitution.md#trimming",
    "server.tokens": "ports.md#tokens",
    "server.otlp_http_port": "ports.md#otlp",
    "server.port": "ports.md",
    "heartbeat.url_env": "../how-to/alert-with-prometheus.md#hear-of-silence",
}
"""Where more is said about a setting."""

Rows = Iterable[tuple[str, ...]]


def settings() -> str:
    """Every setting but the limits, which have a table of their own."""
    return _table(("key", "default", "what it says"), _settings(Settings))


def _settings(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        kind, key = field.annotation, above + name
        if isinstance(kind, type) and issubclass(kind, BaseModel) and not field.description:
            yield from _settings(kind, f"{key}.")
        else:
            more = f"; [more]({SEE[key]})" if key in SEE else ""
            said = re.sub(r"\[\[\w+\]\]|[A-Z]+_[A-Z_]+|\b[a-z_]+/(?= |,|$)", r"`\g<0>`", str(field.description))
            yield f"`{key}`", _default(field), f"{said}{more}"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if isinstance(value, BaseModel):
        return "a table"
    if value is None or value == "" or value in ((), {}):
        return "none"
    lasts = isinstance(value, int) and any("parse_duration" in repr(each) for each in field.metadata)
    if lasts:
        return f"{value // 86400}d" if value % 86400 == 0 else span(value)
    return f"`{value}`"


def signals() -> str:
    """Every signal but those of metrics, which are named by whoever sends them."""
    rows = (
        (f"`{each.name}`", "" if each.ratio else each.unit, _kind(each), _said(each.says), _how(each))
        for each in SIGNALS.values()
    )
    return _table(("signal", "unit", "samples from", "what it measures", "aggregates"), rows)


def _kind(signal: Any) -> str:
    return "any event" if signal.kind is None else f"`{signal.kind.name.lower()}`"


def _how(signal: Any) -> str:
    if signal.aggregates == MEASURED:
        return "amounts"
    names = [each.value for each in signal.aggregates]
    quantiles = [each for each in names if re.fullmatch(r"p\d\d", each)]
    of_all = [each.value for each in Aggregate if re.fullmatch(r"p\d\d", each.value)]
    return ", ".join(
        [*(each for each in names if each not in quantiles), *(["quantiles"] if quantiles == of_all else quantiles)]
    )


def directives() -> str:
    """Every setting that the fleet reads."""
    types: dict[Any, str] = {bool: "true or false", str: "text", int: "whole number", (int, float): "number"}
    rows = ((f"`{name}`", types[kind], MEANINGS[name]) for name, kind in DIRECTIVES.items())
    return _table(("directive", "type", "meaning"), rows)


def metrics() -> str:
    """Every metric, as a service exposes it once it has evaluated."""
    with tempfile.TemporaryDirectory() as directory:
        places = {"state_dir": f"{directory}/state", "logs_dir": f"{directory}/logs"}
        made = Settings.model_validate({"storage": places, "telemetry": {"dir": f"{directory}/telemetry"}})
        made.telemetry.dir.mkdir()
        with open_surface(made, write=True) as surface:
            surface.call("check", {})
            families = list(Figures(surface.call("figures", {})).collect())
    rows = (
        (f"`{each.name}{'_total' if each.type == 'counter' else ''}`{_by(each)}", _said(each.documentation))
        for each in families
    )
    return _table(("metric", "what it says"), rows)


def _by(family: Any) -> str:
    labels = ", ".join(f"`{each}`" for each in family._labelnames)
    return f" by {labels}" if labels else ""


def _said(text: str) -> str:
    """A sentence as a cell has it: without its full stop, and small."""
    return text[:1].lower() + text[1:].removesuffix(".")


def _table(head: tuple[str, ...], rows: Rows) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines)


TABLES: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "settings": ("configuration.md", settings),
    "signals": ("signals.md", signals),
    "directives": ("actions.md", directives),
    "metrics": ("ports.md", metrics),
}
"""Each table with its page."""


def page(name: str) -> tuple[Path, str]:
    """The page of a table, and what it has to hold."""
    file, make = TABLES[name]
    path = REFERENCE / file
    begin, end = f"<!-- {name}, made by docs/tables.py -->\n", "<!-- end -->"
    before, found, after = path.read_text(encoding="utf-8").partition(begin)
    if not found:
        raise ValueError(f"{path}: {begin.strip()} is missing")
    return path, f"{before}{begin}{make()}\n{end}{after.partition(end)[2]}"


if __name__ == "__main__":
    for each in TABLES:
        where, text = page(each)
        where.write_text(text, encoding="utf-8")
