"""Handoffs to a web server: CloudEvents in the body, signed by the rules of Standard Webhooks."""

from __future__ import annotations

import binascii
import os
from collections.abc import Callable
from datetime import UTC, datetime

from self_healing.errors import EffectRefused
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.declared import WebhookDeclared
from self_healing.handoffs.headline import environment
from self_healing.handoffs.http import judged, post
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.model import Handoff

TYPE = "self_healing.handoff"
SOURCE = "/self-healing"


def _wall() -> datetime:
    """The time that the receiver compares with its own: the machine's, whatever clock the loop lives by."""
    return datetime.now(UTC)


class WebhookChannel:
    """Posts each handoff as a CloudEvent, signed; its id is the handoff's, by which receivers know a repetition.

    Args:
        name: what people call it.
        declared: its settings.
        now: the present instant, which is signed as well.
    """

    def __init__(self, name: str, declared: WebhookDeclared, now: Callable[[], datetime] = _wall) -> None:
        self.name = name
        self._declared = declared
        self._now = now

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says."""
        body = self._body(handoff)
        headers = {"content-type": "application/cloudevents+json; charset=utf-8", **self._signature(handoff.id, body)}
        settings = self._declared
        answer = post(settings.url, body, headers, allow=settings.allow, timeout_s=settings.timeout)
        return Receipt(said=judged(answer, f"channel {self.name}: the receiver of handoff {handoff.id}").said or None)

    def probe(self, handoff: Handoff) -> bool | None:
        """Nobody can tell what a server did with what it did not answer."""
        return None

    def repeatable(self, handoff: Handoff) -> bool:
        """A receiver that drops repetitions may be sent it again."""
        return self._declared.idempotent

    def _body(self, handoff: Handoff) -> bytes:
        from cloudevents.core.formats.json import JSONFormat
        from cloudevents.core.v1.event import CloudEvent

        message = ContextMessageHandoff.from_dict(handoff.message)
        event = CloudEvent(
            attributes={
                "id": handoff.id,
                "source": "/".join([SOURCE, *environment(handoff).values()]),
                "type": TYPE,
                "subject": handoff.incident,
                "time": message.created_at,
                "datacontenttype": "application/json",
            },
            data=message.to_dict(),
        )
        return JSONFormat().write(event)

    def _signature(self, id: str, body: bytes) -> dict[str, str]:
        from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

        variable = self._declared.secret_env
        at = self._now()
        try:
            signature = Webhook(os.environ.get(variable, "")).sign(id, at, body.decode())
        except (EmptyWebhookSecretError, binascii.Error) as error:
            raise EffectRefused(
                f"channel {self.name}: variable {variable} holds no secret of Standard Webhooks (whsec_ and base64)"
            ) from error
        return {
            "webhook-id": id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signature,
        }
