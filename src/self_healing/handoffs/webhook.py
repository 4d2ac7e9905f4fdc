"""Handoffs to a web server: CloudEvents in the body, signed by the rules of Standard Webhooks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from self_healing.errors import EffectRefused
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.declared import WebhookDeclared
from self_healing.handoffs.headline import environment
from self_healing.handoffs.http import judged, post
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.model import Handoff
from self_healing.spec.outside import Networks

TYPE = "self_healing.handoff"
SOURCE = "/self-healing"


def wall() -> datetime:
    """The time that the receiver compares with its own: the machine's, whatever clock the loop lives by."""
    return datetime.now(UTC)


class Receiver(NamedTuple):
    """A web server that somebody declared: of a channel, or of an action.

    Args:
        url: where it is posted.
        secret_env: the variable with the secret of Standard Webhooks.
        allow: networks that are no public ones and may be sent to all the same.
        timeout_s: for all of it.
    """

    url: str
    secret_env: str
    allow: Networks
    timeout_s: int


class WebhookChannel:
    """Posts each handoff as a CloudEvent, signed; its id is the handoff's, by which receivers know a repetition.

    Args:
        name: what people call it.
        declared: its settings.
        now: the present instant, which is signed as well.
    """

    def __init__(self, name: str, declared: WebhookDeclared, now: Callable[[], datetime] = wall) -> None:
        self.name = name
        self._to = Receiver(declared.url, declared.secret_env, declared.allow, declared.timeout)
        self._idempotent = declared.idempotent
        self._now = now

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says."""
        who = f"channel {self.name}"
        message = ContextMessageHandoff.from_dict(handoff.message).to_dict()
        said = posted(handoff, message, self._to, id=handoff.id, type=TYPE, who=who, at=self._now())
        return Receipt(said=said or None)

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a server did with what it did not answer."""
        return None

    def repeatable(self, handoff: Handoff) -> bool:
        """A receiver that drops repetitions may be sent it again."""
        return self._idempotent


def posted(
    handoff: Handoff, data: Mapping[str, Any], to: Receiver, *, id: str, type: str, who: str, at: datetime
) -> str:
    """What the server answered that took a signed CloudEvent about `handoff`; made harmless.

    Args:
        data: what it carries.
        to: the server.
        id: of the event, by which the receiver knows a repetition.
        type: of the event.
        who: sends it, for a message.
        at: now, which is signed as well.

    Raises:
        EffectError, EffectRefused, EffectUntold: as :func:`self_healing.handoffs.http.judged` says.
    """
    body = _event(handoff, data, id, type)
    headers = {
        "content-type": "application/cloudevents+json; charset=utf-8",
        **_signature(to.secret_env, id, body, who, at),
    }
    answer = post(to.url, body, headers, allow=to.allow, timeout_s=to.timeout_s)
    return judged(answer, f"{who}: the receiver of handoff {handoff.id}").said


def _event(handoff: Handoff, data: Mapping[str, Any], id: str, type: str) -> bytes:
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

    event = CloudEvent(
        attributes={
            "id": id,
            "source": "/".join([SOURCE, *environment(handoff).values()]),
            "type": type,
            "subject": handoff.incident,
            "time": handoff.created_at,
            "datacontenttype": "application/json",
        },
        data=dict(data),
    )
    return JSONFormat().write(event)


def _signature(variable: str, id: str, body: bytes, who: str, at: datetime) -> dict[str, str]:
    from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

    try:
        signature = Webhook(os.environ.get(variable, "")).sign(id, at, body.decode())
    except (EmptyWebhookSecretError, ValueError) as error:
        raise EffectRefused(
            f"{who}: variable {variable} holds no secret of Standard Webhooks (whsec_ and base64)"
        ) from error
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }
