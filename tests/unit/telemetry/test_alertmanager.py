from __future__ import annotations

import json
from typing import Any

import pytest

from self_healing.telemetry.alertmanager import alerts

FIRING: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "HighLatency", "agent": "Coder", "severity": "page"},
    "annotations": {"summary": "slow"},
    "startsAt": "2026-01-05T10:00:00.000Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "ab12",
}
PAYLOAD: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="HighLatency"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "self-healing",
    "groupLabels": {"alertname": "HighLatency"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager",
    "alerts": [FIRING],
}


def body(*items: Any, **changes: Any) -> bytes:
    return json.dumps({**PAYLOAD, "alerts": items, **changes}).encode()


def test_an_alert_is_a_log_about_the_agent_that_it_names() -> None:
    (event,) = alerts(body(FIRING)).events
    assert (event.kind, event.agent, event.ts) == ("log", "Coder", "2026-01-05T10:00:00.000Z")
    assert event.attributes == {
        "alertname": "HighLatency",
        "status": "firing",
        "labels": FIRING["labels"],
        "annotations": {"summary": "slow"},
        "fingerprint": "ab12",
        "receiver": "self-healing",
        "group_key": PAYLOAD["groupKey"],
    }


def test_a_resolved_alert_happened_when_it_ended() -> None:
    resolved = {**FIRING, "status": "resolved", "endsAt": "2026-01-05T11:00:00Z", "labels": {}}
    (event,) = alerts(body(resolved)).events
    assert (event.ts, event.agent) == ("2026-01-05T11:00:00Z", None)


def test_a_bad_alert_is_rejected_and_the_others_are_taken() -> None:
    batch = alerts(body(FIRING, {"labels": 5}, "text"))
    assert (len(batch.events), batch.rejected, batch.received) == (1, {"invalid_value": 2}, 3)
    assert batch.problems == [
        "alert 2: Expected `object`, got `int` - at `$.labels`",
        "alert 3: Expected `object`, got `str`",
    ]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"{", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"[]", "invalid_value"),
        (b"{}", "invalid_value"),
        (b'{"alerts":' + b"[" * 100_000, "invalid_value"),
    ],
)
def test_what_is_no_notification_is_rejected(sent: bytes, reason: str) -> None:
    assert alerts(sent).rejected == {reason: 1}


def test_the_same_notification_is_the_same_batch_and_another_is_not() -> None:
    assert alerts(body(FIRING)).key == alerts(body(FIRING)).key != alerts(body(FIRING, FIRING)).key
