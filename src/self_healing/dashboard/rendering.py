"""Rendering: values in the words that people read, and the templates that hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from self_healing.dashboard.story import story
from self_healing.wording import INSTANT, amount, counted, course, number, plain, span, stands, worded

NOTHING = "-"
_PARTS = re.compile(r"(?<=\d) (?=[%A-Za-z])|(?<=[<>=]) (?=\S)")


def group(told: Mapping[str, str] | None) -> str:
    """A group as people read it: the agent alone where it is by agent."""
    if not told:
        return "all"
    return next(iter(told.values())) if list(told) == ["agent"] else ", ".join(f"{k}={v}" for k, v in told.items())


def when(told: str | None) -> Markup | str:
    """An instant, which the page's script turns into how long ago it is; the time of day without one."""
    if told is None:
        return NOTHING
    at = datetime.fromisoformat(told)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), _full(at), f"{at:%H:%M:%S}")


def _full(at: datetime) -> str:
    """An instant to the second; strftime would write the year 987 with three digits."""
    return f"{at.replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


def instant(text: str) -> Markup | str:
    """A text that is an instant as JSON has it, as one; any other, which may have come as telemetry, as it is."""
    try:
        return when(text) if INSTANT.fullmatch(text) else plain(text)
    except ValueError:  # it only looks like one, such as of a thirteenth month
        return text


def since(told: str, start: str) -> Markup:
    """How long after `start` something happened; the instant itself where one points at it."""
    at = datetime.fromisoformat(told)
    passed = (at - datetime.fromisoformat(start)).total_seconds()
    return Markup('<span class="since" title="{}">+{}</span>').format(
        _full(at), span(max(round(passed), 0), parted_from=1)
    )


def words(name: str | None) -> str:
    """A name such as ``below_threshold`` in plain words."""
    return NOTHING if name is None else name.replace("_", " ")


def figures(value: Any) -> Markup:
    """JSON for an attribute that a script reads."""
    return Markup("{}").format(json.dumps(value, separators=(",", ":")))


def columns(rows: Iterable[Mapping[str, Any] | str]) -> list[str]:
    """What any of the rows says something of, in the order in which it comes first; what none does is left out.

    Args:
        rows: the last may be text, which says how many more there are.
    """
    told = [row for row in rows if isinstance(row, Mapping)]
    return list(dict.fromkeys(name for row in told for name, value in row.items() if value not in (None, "", [], {})))


def unparted(text: str) -> str:
    """`text`, in which no line ends between a number and its unit, or what compares and its number."""
    return _PARTS.sub("\N{NO-BREAK SPACE}", text)


def latest(values: Sequence[float | None]) -> float | None:
    """The newest value of a course; None where it has none."""
    return next((value for value in reversed(values) if value is not None), None)


def in_words(told: Mapping[str, Any]) -> str:
    """What a chart shows, for whoever does not see it."""
    values = told["series"][0]["values"]
    limits = next((each["values"] for each in told["series"] if each["label"] == "limit"), ())
    if "at" in told:
        at = [datetime.fromisoformat(each) for each in told["at"]]
    else:
        until, step = datetime.fromisoformat(told["until"]), timedelta(seconds=told["step"])
        at = [until - back * step for back in range(len(values) - 1, -1, -1)]
    return course(values, told.get("unit", ""), at, limits, rising=told.get("rising", True))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("self_healing.dashboard"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "amount": amount,
        "columns": columns,
        "count": "{:,}".format,
        "counted": counted,
        "course": course,
        "figures": figures,
        "group": group,
        "in_words": in_words,
        "instant": instant,
        "latest": latest,
        "number": number,
        "plain": plain,
        "pretty": partial(json.dumps, indent=2, ensure_ascii=False),
        "since": since,
        "span": span,
        "stands": stands,
        "story": story,
        "unparted": unparted,
        "when": when,
        "worded": worded,
        "words": words,
    }
    return environment


def render(template: str, **values: Any) -> str:
    """The page that `template` makes of `values`."""
    return _environment().get_template(template).render(**values)
