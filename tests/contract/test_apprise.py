"""Telling people by Apprise: what a real service gets, and that a bad one costs its own notification only."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import msgspec
import pytest

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.declared import AppriseDeclared
from self_healing.handoffs.notify import AppriseChannel
from tests.contract.servers import Answer, flood, hang, nonsense, reply, serving, trickle
from tests.unit.actions.intents import handoff


class Chat:
    """A service that Apprise tells in JSON."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def __call__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.said.append(json.loads(body))
        reply(200)(handler, body)


def chat(monkeypatch: pytest.MonkeyPatch, *urls: str, timeout_s: int = 20) -> AppriseChannel:
    """A channel to these services; plain http is Apprise's ``json://``."""
    monkeypatch.setenv("CHAT_URLS", " ".join(url.replace("http://", "json://") for url in urls))
    declared = {"kind": "apprise", "urls_env": "CHAT_URLS", "timeout": timeout_s}
    return AppriseChannel("chat", AppriseDeclared.model_validate(declared))


def test_every_service_hears_what_is_wrong_and_what_is_wanted_as_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = handoff(1)
    symptom = {"trigger": "slow_tasks", "value": 90.0, "unit": "s", "note": "<b>*bold*</b>"}
    approval = {"id": "apr-1", "action": "erase", "parameters": {"pool": "slow"}}
    context = {"symptom": symptom, "wanted": "a person's decision", "approval": approval}
    told = msgspec.structs.replace(plain, message={**plain.message, "context": context})
    first, second = Chat(), Chat()
    with serving(first) as one, serving(second) as two:
        chat(monkeypatch, one, two).deliver(told)
    assert first.said == second.said
    [said] = first.said
    assert (said["title"], said["type"]) == ("slow_tasks of Coder: a person's decision", "warning")
    assert said["message"].splitlines() == [
        "Find out why.",
        "",
        'approval id: "apr-1"',
        'approval action: "erase"',
        'approval parameters: {"pool":"slow"}',
        'incident: "inc-1"',
        'handoff: "hnd-1"',
        'trigger: "slow_tasks"',
        'value: "90s"',
        'note: "<b>*bold*</b>"',
    ]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (reply(500), EffectError, "not every service of CHAT_URLS took handoff hnd-1"),
        (hang, EffectUntold, "not every service of CHAT_URLS answered within 3 s"),
        (trickle, EffectUntold, "answered within 3 s"),
        (flood, EffectUntold, "broke off"),
        (nonsense, EffectError, "took handoff"),
    ],
)
def test_a_bad_service_costs_its_own_notification_only(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, error: type[EffectError], says: str
) -> None:
    bounded = {"timeout_s": 3} if answer in (hang, trickle) else {}  # a busy machine is no bad service
    began = time.monotonic()
    with serving(answer) as url, pytest.raises(error, match=says) as raised:
        chat(monkeypatch, url, **bounded).deliver(handoff(1))
    assert type(raised.value) is error
    assert time.monotonic() - began < 25


@pytest.mark.parametrize("urls", [(), ("json://127.0.0.1:1", "nothing://known")])
def test_an_address_that_apprise_does_not_know_is_refused_before_anybody_is_told(
    monkeypatch: pytest.MonkeyPatch, urls: tuple[str, ...]
) -> None:
    with pytest.raises(EffectRefused, match="variable CHAT_URLS holds no address of Apprise, or a wrong one"):
        chat(monkeypatch, *urls).deliver(handoff(1))
