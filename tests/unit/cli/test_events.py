"""What a line of `events` says of an event, in a few words."""

from __future__ import annotations

import json
from typing import Any

import pytest

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


def told(line: dict[str, Any]) -> str | None:
    (row,) = rows([(json.dumps({"ts": "2026-01-05T10:00:00Z", **line}).encode(), "a.jsonl")], Form.NATIVE)
    return _cells(row.told)[-1]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            {"body": "the disk is full", "severity": "ERROR", "error_type": "OSError"},
            "ERROR, the disk is full, OSError",
        ),
        ({"message": "a\n" + "b" * 100, "level": "WARNING"}, f"WARNING, a {'b' * 78}..."),
        ({"type": "deployed", "message": {"to": "production"}}, "deployed"),
        ({}, ""),
    ],
)
def test_a_log_is_shown_with_how_grave_it_is_and_what_it_says(line: dict[str, Any], what: str) -> None:
    assert told({"type": "log", **line}) == what


@pytest.mark.parametrize(
    ("point", "what"),
    [
        ({"name": "latency", "unit": "s", "count": 4, "sum": 10.0}, "latency, 4 of 2.5s on average"),
        ({"name": "tokens", "unit": "{token}", "count": None, "sum": 5}, "tokens, 5 {token}"),
        ({"name": "load", "unit": "1", "count": 1, "sum": 0.25, "temporality": "instant"}, "load, 0.25"),
        ({"name": "latency", "count": 0}, "latency, -"),
    ],
)
def test_a_metric_is_shown_with_its_name_and_its_value(point: dict[str, Any], what: str) -> None:
    assert told({"type": "metric", "attributes": {"point": point}}) == what


def test_a_metric_without_a_point_is_shown_without_a_value() -> None:
    assert told({"type": "metric", "point": "of no return"}) == ""
