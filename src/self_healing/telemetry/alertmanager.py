"""What Alertmanager sends to a webhook (version 4 of its payload): one `log` for each alert.

A log feeds no trigger: somebody else's judgement does not become a measure of ours. It is kept beside the fleet's own
events, with the agent whose label the alert bears.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from self_healing.model import Ingested
from self_healing.telemetry.caps import check_items, check_values
from self_healing.telemetry.lines import BadLine
from self_healing.telemetry.normalised import Normalised, key_of

SOURCE: Final = "alertmanager"


class _Alert(msgspec.Struct, rename="camel"):
    """One alert; what is not named here is ignored, as its makers ask."""

    status: str = "firing"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    starts_at: str | None = None
    ends_at: str | None = None
    fingerprint: str | None = None


class _Payload(msgspec.Struct, rename="camel"):
    alerts: list[msgspec.Raw]
    receiver: str | None = None
    group_key: str | None = None


def alerts(body: bytes) -> Normalised:
    """The alerts in one notification. The same notification again is the same batch, as when Alertmanager retries it.

    Args:
        body: what was sent, decompressed.

    Raises:
        TooMany: it holds too much.
    """
    check_values(body)
    key = key_of(body)
    batch = Normalised(key=key)
    try:
        payload = msgspec.json.decode(body, type=_Payload)
    except (msgspec.ValidationError, RecursionError) as error:
        batch.reject(BadLine.INVALID_VALUE, f"the body is no notification of Alertmanager's webhook: {error}")
        return batch
    except ValueError as error:
        batch.reject(BadLine.INVALID_JSON, f"the body is no JSON: {error}")
        return batch
    check_items(len(payload.alerts))
    for place, raw in enumerate(payload.alerts, 1):
        try:
            batch.events.append(_event(msgspec.json.decode(raw, type=_Alert), payload))
        except (ValueError, RecursionError) as error:
            batch.reject(BadLine.INVALID_VALUE, f"alert {place}: {error}")
    return batch


def _event(alert: _Alert, payload: _Payload) -> Ingested:
    at = alert.ends_at if alert.status == "resolved" else alert.starts_at
    attributes: dict[str, Any] = {
        "alertname": alert.labels.get("alertname"),
        "status": alert.status,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "fingerprint": alert.fingerprint,
        "receiver": payload.receiver,
        "group_key": payload.group_key,
    }
    known = {name: value for name, value in attributes.items() if value not in (None, {})}
    return Ingested(ts=at, kind="log", agent=alert.labels.get("agent"), attributes=known)
