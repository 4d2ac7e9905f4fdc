"""What all of them share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

At = AwareDatetime
Group = dict[str, str]
StateName = Literal["inactive", "pending", "firing", "recovering"]
# Python takes four control characters for blank that pydantic does not: nothing but them is no text either.
Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000, pattern=r"[^\s\x1c-\x1f]")
]


class Model(BaseModel):
    """Base of everything that the API answers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Page(Model):
    """One page of a list, the newest first."""

    next: str | None = Field(description="the cursor of the next page; null on the last")


class Note(Model):
    """One line of a timeline."""

    at: At
    what: str = Field(description="one word, such as detected, decided, acted, verified")
    text: str


class Problem(BaseModel):
    """Why a request was refused, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str = Field(description="what is wrong, where, and what is allowed")


class Told(BaseModel):
    """Base of everything that the API is told; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Person(Told):
    """Who does something, and why."""

    by: Text = Field(description="the person's name")
    reason: Text


class Named(Told):
    """Who does something."""

    by: Text = Field(description="who it is: a person, or the agent that works a handoff")


class Finished(Named):
    """How the work of a handoff ended."""

    result: Text | None = Field(default=None, description="what was done, or why it could not be")


class Answer(Person):
    """What a person says to an action that cannot be undone."""

    plan: Text = Field(description="the hash of the plan that the person saw")


class Mute(Person):
    """Which series are to open no incident, and for how long."""

    lasts_s: Annotated[int, Field(ge=1, le=366 * 86_400)] = Field(description="seconds")
    trigger: Text | None = Field(default=None, description="of which trigger; of every one when left out")
    keys: dict[str, str] = Field(default={}, description='what a group must have, such as `{"agent": "Coder"}`')
    starts_at: At | None = Field(default=None, description="now when left out")


Json = dict[str, Any]
