"""Paging people by PagerDuty: one alert an incident, resolved when the incident is closed."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from self_healing.errors import EffectRefused
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.declared import PagerDutyDeclared
from self_healing.handoffs.headline import about, asked, environment, headline, name
from self_healing.handoffs.http import judged, post
from self_healing.model import Handoff

SEVERITIES = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}
"""What our severities are called there."""

MOST_SUMMARY = 1024
"""Characters; PagerDuty takes no more."""


class PagerDutyChannel:
    """Sends Events v2. The incident's id is the ``dedup_key``, so that telling again changes nothing.

    Args:
        name: what people call it.
        declared: its settings.
    """

    renew_s: float | None = None  # an alert stays until it is resolved

    def __init__(self, name: str, declared: PagerDutyDeclared) -> None:
        self.name = name
        self._declared = declared

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says."""
        symptom = about(handoff)
        payload = {
            "summary": headline(handoff)[:MOST_SUMMARY],
            "source": name(handoff),
            "severity": SEVERITIES.get(str(symptom.get("severity")), "error"),
            "timestamp": handoff.message["created_at"],
            "component": symptom.get("trigger"),
            "custom_details": {
                "handoff": handoff.id,
                "prompt": handoff.message["prompt"],
                **({"approval": approval} if (approval := asked(handoff)) else {}),
                "symptom": symptom,
                **environment(handoff),
            },
        }
        self._send(handoff, "trigger", payload=payload)
        return Receipt(remote=handoff.incident)

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a server did with what it did not answer."""
        return None

    def repeatable(self, handoff: Handoff) -> bool:
        """Telling again changes nothing."""
        return True

    def resolve(self, handoff: Handoff) -> None:
        """As the port says."""
        self._send(handoff, "resolve")

    def _send(self, handoff: Handoff, action: str, **rest: Any) -> None:
        variable = self._declared.routing_key_env
        key = os.environ.get(variable)
        if not key:
            raise EffectRefused(f"channel {self.name}: variable {variable} holds no routing key of PagerDuty")
        event = {"routing_key": key, "event_action": action, "dedup_key": handoff.incident, **rest}
        answer = post(
            self._declared.url,
            msgspec.json.encode(event),
            {"content-type": "application/json"},
            allow=self._declared.allow,
            timeout_s=self._declared.timeout,
            secrets=[key],
        )
        judged(answer, f"channel {self.name}: PagerDuty")
