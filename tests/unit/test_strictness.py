"""Whatever a person writes has the type that it is read as: no truth is a number, no number a truth, no text either."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from self_healing.config import Settings
from self_healing.constitution.cases import CaseFile as ArticleCases
from self_healing.problems import field_type
from self_healing.spec import ActionSpec, Maintenance, TriggerSpec
from self_healing.spec_tests.models import CaseFile as TriggerCases

WRITTEN = (Settings, TriggerSpec, ActionSpec, Maintenance, TriggerCases, ArticleCases)
"""The models of all files that people write."""


def models(at: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation is made of, and those within them."""
    if isinstance(at, type) and issubclass(at, BaseModel):
        yield at
        for info in at.model_fields.values():
            yield from models(field_type(info))
    for argument in get_args(at):
        yield from models(argument)


FIELDS = {
    f"{model.__module__}.{model.__name__}.{name}": field_type(info)
    for each in WRITTEN
    for model in models(each)
    for name, info in model.model_fields.items()
}


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_written_as_one_type_is_never_read_as_another(field: str) -> None:
    for written in (True, 0, 1, 86_400, "1", "true"):
        try:
            read = TypeAdapter(FIELDS[field]).validate_python(written)
        except ValidationError:
            continue
        assert isinstance(read, bool) == isinstance(written, bool)
        assert isinstance(read, int | float) == isinstance(written, int | float)
        assert not isinstance(read, date)
