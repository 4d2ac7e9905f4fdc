"""Where the API's answers come from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Request

from self_healing.api.looking import Ask
from self_healing.dashboard.changes import Changes
from self_healing.explaining.explain import Question
from self_healing.telemetry.query.files import Places

AT_ONCE: Final = 2

KEY: Final = "self_healing.source"
"""Where a request's scope has its source."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the service gives to those who ask.

    Args:
        ask: asks the service one of its commands.
        explain: explains a trigger; it may take a while, and is called on a thread.
        verify: whether the audit log is whole; called on a thread like that.
        places: where events are that somebody asks for.
        changes: what is new, for those who follow.
        now: the present instant, as the service has it.
    """

    ask: Ask
    explain: Callable[[Question], dict[str, Any]]
    verify: Callable[[], dict[str, Any]]
    places: Places
    changes: Changes
    now: Callable[[], datetime]
    # So many look through the files at once, or work an explanation out of them; others wait, and senders never do.
    looking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    explaining: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    verifying: asyncio.Lock = field(default_factory=asyncio.Lock)


def _here(request: Request) -> Source:
    source: Source = request.scope[KEY]
    return source


Here = Annotated[Source, Depends(_here)]
"""The source of the server that a request came to: the routes themselves are made once, whoever serves them."""
