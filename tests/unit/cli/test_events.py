"""What a line of `events` says of an event, in a few words."""

from __future__ import annotations

import json

from self_healing.cli.events import _cells
from self_healing.telemetry.alertmanager import alerts
from self_healing.telemetry.encoding import encode_events
from self_healing.telemetry.query.files import Form
from self_healing.telemetry.query.rows import rows


def test_an_alert_is_shown_with_its_name_and_how_it_stands() -> None:
    labels = {"alertname": "HighLatency", "agent": "Coder"}
    alert = {"status": "firing", "labels": labels, "startsAt": "2026-01-05T10:00:00Z"}
    (event,) = alerts(json.dumps({"alerts": [alert]}).encode()).events
    event.source = "alertmanager"
    (line,) = encode_events([event])
    (row,) = rows([(line.rstrip(), "segment")], Form.SEGMENT)
    assert _cells(row.told)[1:] == ("log", "Coder", None, None, "HighLatency, firing")
