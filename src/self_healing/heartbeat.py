"""A dead man's switch: an outside monitor is called while the loop turns, and notices when it no longer is."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from self_healing.config import HeartbeatSettings
from self_healing.errors import SelfHealingError
from self_healing.handoffs.aside import Aside
from self_healing.handoffs.http import judged, post
from self_healing.labelling import marked

UNHEALTHY = "unhealthy"


class Heartbeat:
    """Posts the health to an address now and then, in a thread of its own; silent while the loop is unhealthy.

    Args:
        settings: where to, and how often.
        environment: which of several fleets this is, for the monitor.
        threads: post in a thread of its own, so that a monitor that hangs holds nothing up; otherwise at once.
    """

    def __init__(self, settings: HeartbeatSettings, *, environment: str = "", threads: bool = True) -> None:
        self._settings = settings
        self._environment = environment
        self._aside: Aside[None] = Aside(threads=threads)
        self._next: datetime | None = None
        self.problems: list[str] = []  # why the monitor could not be called, for people

    def beat(self, at: datetime, status: str) -> None:
        """Call the monitor if it is time to, and nothing is wrong with the loop.

        Args:
            at: now, aware.
            status: of the health, which is the body of what is posted, behind the label of the fleet.
        """
        for _, outcome in self._aside.outcomes():
            failed = isinstance(outcome, SelfHealingError)
            self.problems = [f"heartbeat: {outcome}"] if failed else []
        url = os.environ.get(self._settings.url_env)  # that it is named and not set, health tells by itself
        if not url or status == UNHEALTHY or self._aside.busy("heartbeat"):
            return
        if self._next is None or at >= self._next:
            self._next = at + timedelta(seconds=self._settings.every)
            self._aside.begin("heartbeat", lambda: self._post(url, status))

    def _post(self, url: str, status: str) -> None:
        settings = self._settings
        headers = {"content-type": "text/plain; charset=utf-8"}
        answer = post(
            url, marked(self._environment, status).encode(), headers, allow=settings.allow, timeout_s=settings.timeout
        )
        judged(answer, "the monitor")
