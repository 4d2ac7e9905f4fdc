"""Steps: what a plan says of when its steps are made, as far as it does not agree with the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from self_healing.declarations import Mistake, Values
from self_healing.problems import unknown

_GROUP_BY = ("agent",)
"""What a trigger groups by that does not say."""


def steps(values: Values) -> Iterator[Mistake]:
    """The mistakes in a trigger's ``when``; values of a wrong type are left to the model."""
    plan = [action for action in _listed(values.get("actions")) if isinstance(action, str)]
    columns = [column for column in _listed(values.get("group_by", _GROUP_BY)) if isinstance(column, str)]
    for name, when in _table(values.get("when")).items():
        if name not in plan:
            yield f"when.{name}", when, unknown(name, plan)
            continue
        for key, value in _table(_table(when).get("group")).items():
            if key not in columns:
                yield f"when.{name}.group.{key}", value, unknown(key, columns)
        earlier = plan[: plan.index(name)]
        for other, outcomes in _table(_table(when).get("after")).items():
            if other not in earlier:
                yield f"when.{name}.after.{other}", outcomes, f"no earlier step; {unknown(other, earlier)}"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
