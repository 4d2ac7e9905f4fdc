"""Being seen by existing alerting: one alert an incident in Alertmanager, said again every minute while it is open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.declared import AlertmanagerDeclared
from self_healing.handoffs.headline import about, asked, environment, headline, name
from self_healing.handoffs.http import judged, post
from self_healing.model import Handoff

AGAIN_S = 60.0
"""Alertmanager resolves by itself what it has not heard of for five minutes, unless it is told otherwise."""


def _wall() -> datetime:
    """The time that Alertmanager compares with its own: the machine's, whatever clock the loop lives by."""
    return datetime.now(UTC)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class AlertmanagerChannel:
    """Pushes alerts to its API v2. The labels are the same each time, so that telling again changes nothing.

    Args:
        name: what people call it.
        declared: its settings.
        now: the present instant.
    """

    renew_s: float | None = AGAIN_S

    def __init__(self, name: str, declared: AlertmanagerDeclared, now: Callable[[], datetime] = _wall) -> None:
        self.name = name
        self._declared = declared
        self._now = now

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says."""
        self._push(handoff, None)
        return Receipt(remote=handoff.incident)

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a server did with what it did not answer."""
        return None

    def repeatable(self, handoff: Handoff) -> bool:
        """Telling again changes nothing."""
        return True

    def resolve(self, handoff: Handoff) -> None:
        """As the port says."""
        self._push(handoff, self._now())

    def _push(self, handoff: Handoff, ends_at: datetime | None) -> None:
        symptom = about(handoff)
        labels = {
            "alertname": str(symptom.get("trigger", "incident")),
            "severity": str(symptom.get("severity", "high")),
            "incident": handoff.incident,
            "about": name(handoff),
            "job": "self-healing",
            **environment(handoff),
        }
        alert = {
            "labels": labels,
            "annotations": {
                "summary": headline(handoff),
                "description": handoff.message["prompt"],
                **{f"approval_{name}": _text(value) for name, value in asked(handoff).items()},
            },
            # No later than now: what begins in the future is not there yet.
            "startsAt": min(handoff.created_at, self._now()),
        }
        answer = post(
            f"{self._declared.url.rstrip('/')}/api/v2/alerts",
            msgspec.json.encode([alert if ends_at is None else {**alert, "endsAt": ends_at}]),
            {"content-type": "application/json"},
            allow=self._declared.allow,
            timeout_s=self._declared.timeout,
        )
        judged(answer, f"channel {self.name}: Alertmanager")
