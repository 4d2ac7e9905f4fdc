"""Channels to web servers: what arrives is what was signed, and a bad server costs its own handoff only."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.actions.runner import InlineExecutor
from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.alertmanager import AlertmanagerChannel
from self_healing.handoffs.channel import Receipt, repeatable
from self_healing.handoffs.declared import AlertmanagerDeclared, PagerDutyDeclared, WebhookDeclared
from self_healing.handoffs.file import FileChannel
from self_healing.handoffs.http import innermost, permitted
from self_healing.handoffs.pagerduty import PagerDutyChannel
from self_healing.handoffs.router import Router
from self_healing.handoffs.webhook import WebhookChannel
from self_healing.model import Execution, ExecutionStatus, Handoff
from self_healing.storage.store import Store
from tests.contract.alertmanager import PROGRAM, alertmanager, incidents
from tests.contract.servers import (
    LOOPBACK,
    SECRET,
    Alerting,
    Answer,
    Paging,
    Receiver,
    echo,
    flood,
    hang,
    nonsense,
    reply,
    serving,
    trickle,
)
from tests.unit.actions.intents import effect_on, handoff, intend


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("PAGER_KEY", "key-1")


def hook(url: str, **settings: Any) -> WebhookDeclared:
    given = {"kind": "webhook", "url": url, "secret_env": "HOOK_SECRET", "allow": LOOPBACK, **settings}
    return WebhookDeclared.model_validate(given)


def webhook(url: str, **settings: Any) -> WebhookChannel:
    return WebhookChannel("ops", hook(url, **settings))


def test_what_arrives_is_a_cloud_event_with_the_nine_keys_signed_under_the_handoffs_id() -> None:
    receiver = Receiver()
    with serving(receiver) as url:
        assert webhook(url).deliver(handoff(1)) == Receipt(said="queued")
    event = receiver.events["hnd-1"]
    assert event["data"] == handoff(1).message
    told = {name: event[name] for name in ("specversion", "id", "source", "type", "subject")}
    assert told == {
        "specversion": "1.0",
        "id": "hnd-1",
        "source": "/self-healing",
        "type": "self_healing.handoff",
        "subject": "inc-1",
    }


def labelled(number: int) -> Handoff:
    """The handoff of that number, out of one of several fleets."""
    plain = handoff(number)
    context = {**plain.message["context"], "environment": "staging"}
    return msgspec.structs.replace(plain, message={**plain.message, "context": context})


def asking(number: int) -> Handoff:
    plain = handoff(number)
    approval = {"id": "apr-1", "action": "erase", "target": "Coder", "calls": "wipe --all", "parameters": {"n": 1}}
    return msgspec.structs.replace(plain, message={**plain.message, "context": {"approval": approval}})


def test_what_a_person_is_asked_to_allow_stands_on_the_page_and_on_the_alert() -> None:
    paging, alerting = Paging(), Alerting()
    with serving(paging) as url:
        declared = {"kind": "pagerduty", "routing_key_env": "PAGER_KEY", "url": url, "allow": LOOPBACK}
        PagerDutyChannel("pager", PagerDutyDeclared.model_validate(declared)).deliver(asking(1))
    [page] = paging.open.values()
    assert page["custom_details"]["approval"]["calls"] == "wipe --all"
    with serving(alerting) as url:
        declared = {"kind": "alertmanager", "url": url, "allow": LOOPBACK}
        AlertmanagerChannel("alerts", AlertmanagerDeclared.model_validate(declared)).deliver(asking(1))
    [alert] = alerting.alerts.values()
    assert (alert["annotations"]["approval_id"], alert["annotations"]["approval_parameters"]) == ("apr-1", '{"n":1}')


def test_which_fleet_it_is_stands_on_what_leaves() -> None:
    receiver, paging, alerting = Receiver(), Paging(), Alerting()
    with serving(receiver) as url:
        webhook(url).deliver(labelled(1))
    assert receiver.events["hnd-1"]["source"] == "/self-healing/staging"
    with serving(paging) as url:
        declared = {"kind": "pagerduty", "routing_key_env": "PAGER_KEY", "url": url, "allow": LOOPBACK}
        PagerDutyChannel("pager", PagerDutyDeclared.model_validate(declared)).deliver(labelled(1))
    [page] = paging.open.values()
    assert page["summary"].startswith("[staging] ")
    assert page["custom_details"]["environment"] == "staging"
    with serving(alerting) as url:
        declared = {"kind": "alertmanager", "url": url, "allow": LOOPBACK}
        AlertmanagerChannel("alerts", AlertmanagerDeclared.model_validate(declared)).deliver(labelled(1))
    [alert] = alerting.alerts.values()
    assert alert["labels"]["environment"] == "staging"


def test_a_repetition_carries_the_same_id_and_only_who_drops_it_may_be_sent_it_again() -> None:
    receiver = Receiver()
    with serving(receiver) as url:
        for _ in range(2):
            webhook(url).deliver(handoff(1))
        assert (receiver.requests, list(receiver.events)) == (2, ["hnd-1"])
        assert webhook(url).probe(handoff(1)) is None
        assert [repeatable(webhook(url, idempotent=each), handoff(1)) for each in (False, True)] == [False, True]


@pytest.mark.parametrize(
    ("idempotent", "answers", "status"),
    [
        (True, [504, 202], ExecutionStatus.DISPATCHED),
        (True, [504, 504, 504], ExecutionStatus.UNKNOWN),
        (True, [504, 503, 503], ExecutionStatus.UNKNOWN),
        (True, [503, 504, 400], ExecutionStatus.UNKNOWN),
        (True, [503, 503, 503], ExecutionStatus.FAILED),
        (False, [503, 504], ExecutionStatus.UNKNOWN),
        (False, [503, 400], ExecutionStatus.FAILED),
    ],
)
def test_what_one_of_its_tries_may_have_brought_about_is_unknown_and_not_failed(
    tmp_path: Path, idempotent: bool, answers: list[int], status: ExecutionStatus
) -> None:
    left = iter(answers)

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        reply(next(left))(handler, body)

    with serving(answer) as url, Store(tmp_path / "state") as store:
        router = Router(FileChannel(tmp_path / "handoffs"), {"ops": hook(url, idempotent=idempotent)}, "file")
        id = intend(store, action="ask")
        store.put(msgspec.structs.replace(store.get(Handoff, "hnd-1"), channel="ops"))
        InlineExecutor(effect_on(store, router)).submit([id])
        assert (store.get(Execution, id).status, list(left)) == (status, [])


def test_what_another_secret_signed_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + base64.b64encode(b"another secret of 24 byte").decode())
    receiver = Receiver()
    with serving(receiver) as url, pytest.raises(EffectRefused, match=r"refused it \(401\): bad signature"):
        webhook(url).deliver(handoff(1))
    assert not receiver.events


@pytest.mark.parametrize(("off_s", "fine"), [(-295, True), (299, True), (-301, False), (302, False)])
def test_the_time_is_signed_so_that_an_old_message_is_refused(off_s: int, fine: bool) -> None:
    receiver = Receiver()
    with serving(receiver) as url:
        late = WebhookChannel("ops", hook(url), now=lambda: datetime.now(UTC) + timedelta(seconds=off_s))
        if fine:
            late.deliver(handoff(1))
        else:
            with pytest.raises(EffectRefused, match=r"refused it \(401\): bad signature"):
                late.deliver(handoff(1))
    assert (list(receiver.events) == ["hnd-1"]) is fine


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (reply(400, b"no"), EffectRefused, r"refused it \(400\): no"),
        (reply(410), EffectRefused, r"refused it \(410\)"),
        (reply(429), EffectError, r"did not take it \(429\)"),
        (reply(500, b"\x1b[2J key=sk-0123456789abcdefghij"), EffectError, r"\(500\): \\x1b\[2J key=\[redacted\]"),
        (reply(504), EffectUntold, "does not know what became of it"),
        (reply(302, location="http://127.0.0.1:1/"), EffectRefused, "redirects are not followed"),
        (reply(302, b"", **{"location": "//", "set-cookie": "\xff=1"}), EffectRefused, "redirects are not followed"),
        (hang, EffectUntold, "did not answer within 1 s"),
        (trickle, EffectUntold, "did not answer within 1 s"),
        (nonsense, EffectUntold, "gave no answer"),
    ],
)
def test_a_bad_server_costs_its_own_handoff_only(answer: Answer, error: type[EffectError], says: str) -> None:
    began = time.monotonic()
    patience = {"timeout": 1} if answer in (hang, trickle) else {}  # a busy machine is no bad server
    with serving(answer) as url, pytest.raises(error, match=says) as raised:
        webhook(url, **patience).deliver(handoff(1))
    assert type(raised.value) is error
    assert time.monotonic() - began < 5


def test_an_answer_without_an_end_is_not_read_to_its_end() -> None:
    with serving(flood) as url:
        receipt = webhook(url).deliver(handoff(1))
    assert receipt is not None
    assert len(receipt.said or "") <= 2_000


def test_nobody_there_is_certain_and_may_be_tried_again() -> None:
    with serving(reply(200)) as url:
        pass
    with pytest.raises(EffectError, match="cannot be reached") as raised:
        webhook(url).deliver(handoff(1))
    assert type(raised.value) is EffectError


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]",
     "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
     "[fe80::1]", "[fd00::1]", "100.64.0.1", "224.0.0.1"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises((EffectRefused, EffectError)) as raised:
        webhook(f"http://{host}:9/", allow=()).deliver(handoff(1))
    assert type(raised.value) is EffectRefused, raised.value


def test_a_network_that_the_settings_name_is_allowed_and_no_other() -> None:
    allow = WebhookDeclared.model_validate(
        {"kind": "webhook", "url": "http://x.test", "secret_env": "S", "allow": ["10.0.0.0/8"]}
    ).allow
    assert [permitted(each, allow) for each in ("10.1.2.3", "::ffff:10.1.2.3", "192.168.0.1", "1.1.1.1", "::1")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert str(innermost("2002:0a01:0203::")) == "10.1.2.3"


def test_who_says_again_what_it_was_sent_gives_no_secret_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER_KEY", "R0123456789CANARY")
    with serving(echo) as url:
        declared = {"kind": "pagerduty", "routing_key_env": "PAGER_KEY", "url": url, "allow": LOOPBACK}
        pager = PagerDutyChannel("pager", PagerDutyDeclared.model_validate(declared))
        for channel in (pager, webhook(f"{url}/hooks/T0CANARY?of=CANARY")):
            with pytest.raises(EffectRefused, match=r"refused it \(400\): .*\[redacted\]") as raised:
                channel.deliver(handoff(1))
            assert "CANARY" not in str(raised.value)


def test_evidence_goes_to_a_public_server_by_https_only() -> None:
    with pytest.raises(EffectRefused, match="needs https"):
        webhook("http://1.1.1.1/", allow=()).deliver(handoff(1))


def test_without_its_secret_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET")
    receiver = Receiver()
    with serving(receiver) as url, pytest.raises(EffectRefused, match="variable HOOK_SECRET holds no secret"):
        webhook(url).deliver(handoff(1))
    assert receiver.requests == 0


def test_pagerduty_has_one_alert_an_incident_until_it_is_resolved() -> None:
    paging = Paging()
    with serving(paging) as url:
        declared = {"kind": "pagerduty", "routing_key_env": "PAGER_KEY", "url": url, "allow": LOOPBACK}
        channel = PagerDutyChannel("pager", PagerDutyDeclared.model_validate(declared))
        for _ in range(2):
            assert channel.deliver(handoff(1)) == Receipt(remote="inc-1")
        assert list(paging.open) == ["inc-1"]
        channel.resolve(handoff(1))
    assert (paging.open, paging.resolved) == ({}, ["inc-1"])


@contextmanager
def pretended(_: Path) -> Iterator[str]:
    with serving(Alerting()) as url:
        yield url


@pytest.mark.parametrize(
    "server",
    [
        pretended,
        pytest.param(
            alertmanager,
            marks=pytest.mark.skipif(PROGRAM is None, reason="no Alertmanager: `make debian` installs it where it can"),
        ),
    ],
)
def test_alertmanager_has_one_alert_an_incident_that_ends_when_it_is_resolved(
    server: Callable[[Path], AbstractContextManager[str]], tmp_path: Path
) -> None:
    with server(tmp_path) as url:
        declared = {"kind": "alertmanager", "url": url, "allow": LOOPBACK}
        channel = AlertmanagerChannel("alerts", AlertmanagerDeclared.model_validate(declared))
        for number in (1, 1, 2):
            channel.deliver(handoff(number))
        assert incidents(url) == ["inc-1", "inc-2"]
        channel.resolve(handoff(1))
        assert incidents(url) == ["inc-2"]
