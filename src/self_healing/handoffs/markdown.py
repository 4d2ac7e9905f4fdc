"""A handoff as Markdown: what is asked, and the evidence in tables, for people and for models that read it better.

All of the evidence is data: each value stands in a code span, in which neither Markdown nor HTML means anything, and
whose fence is longer than any within it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from self_healing.handoffs.cleaning import escape
from self_healing.wording import worded

_SECTIONS = {
    "symptom": "Symptom",
    "wanted": "Wanted",
    "done": "What is set meanwhile",
    "in_force": "In force already",
    "tried": "What was tried",
    "examples": "Examples",
    "differs": "What differs from normal",
    "similar": "Similar incidents of the past",
    "timeline": "Timeline",
}
"""The parts of the evidence with their headings, in this order; what else there is comes after them."""


def markdown(message: Mapping[str, Any]) -> str:
    """A handoff's message, such as :attr:`self_healing.model.Handoff.message`, whose context is cleaned already."""
    context: Mapping[str, Any] = message["context"]
    names = [name for name in _SECTIONS if name in context] + [name for name in context if name not in _SECTIONS]
    lines = [
        f"# Handoff {code(message['id'])} for {code(message['target_agent'])}",
        "",
        f"Incident {code(message['incident'])}, to be answered until {code(message['deadline'])}.",
        "",
        *str(message["prompt"]).strip().splitlines(),
    ]
    for name in names:
        lines += ["", f"## {_SECTIONS.get(name) or code(name)}", "", *_part(worded(context[name]))]
    return "\n".join(lines) + "\n"


def code(value: Any) -> str:
    """`value` as a code span that nothing in it can end."""
    text = escape(value if isinstance(value, str) else msgspec.json.encode(value).decode())
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    padded = f" {text} " if text.startswith("`") or text.endswith("`") or not text.strip() else text
    return f"{fence}{padded}{fence}"


def _cell(value: Any) -> str:
    """`value` as a code span that no table takes for several cells."""
    return code(value).replace("|", r"\|")


def _part(value: Any) -> Iterator[str]:
    """One part of the evidence: an object as a table of two columns, a list of objects with a column for each key."""
    match value:
        case Mapping() | list() if not value:
            yield "None."
        case Mapping():
            yield from ("| what | value |", "|---|---|")
            yield from (f"| {_cell(key)} | {_cell(item)} |" for key, item in _flat(value))
        case [*items] if all(isinstance(item, Mapping) for item in items):
            keys = list(dict.fromkeys(key for item in items for key in item))
            yield f"| {' | '.join(map(_cell, keys))} |"
            yield "|" + "---|" * len(keys)
            for item in items:
                yield f"| {' | '.join(_cell(item[key]) if key in item else '' for key in keys)} |"
        case [*items]:
            yield from (f"- {code(item)}" for item in items)
        case _:
            yield code(value)


def _flat(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of an object, each with the way to it, such as ``window.samples``."""
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{above}{key}.")
        else:
            yield f"{above}{key}", item
