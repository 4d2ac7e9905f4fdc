"""Handoffs to a real agent that speaks A2A, and to servers that only pretend to."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import msgspec
import pytest

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.a2a import A2aChannel
from self_healing.handoffs.channel import Progress, Stage
from self_healing.handoffs.declared import A2aDeclared
from self_healing.model import Handoff
from tests.contract.agent import Agent, serving_agent
from tests.contract.servers import Answer, flood, hang, nonsense, reply, serving, trickle
from tests.unit.actions.intents import handoff


def channel(url: str) -> A2aChannel:
    return A2aChannel("architects", A2aDeclared(kind="a2a", url=url, timeout=10))


def sent(channel: A2aChannel) -> Handoff:
    receipt = channel.deliver(handoff(1))
    assert receipt is not None
    assert receipt.remote is not None
    return msgspec.structs.replace(handoff(1), remote=receipt.remote)


def settled(channel: A2aChannel, given: Handoff, *stages: Stage) -> Progress:
    for _ in range(200):
        progress = channel.follow(given)
        if progress.stage in stages:
            return progress
        time.sleep(0.02)
    raise AssertionError(progress)


@pytest.fixture
def agent() -> Agent:
    return Agent("completed")


def test_the_prompt_arrives_as_text_and_the_evidence_as_data(agent: Agent) -> None:
    with serving_agent(agent) as url:
        there = sent(channel(url))
        progress = settled(channel(url), there, Stage.COMPLETED)
    assert progress == Progress(stage=Stage.COMPLETED, said="did it \\x1b with [redacted]", remote=there.remote)
    [message] = agent.messages
    text, data = message["parts"]
    assert text == {"text": "Find out why."}
    assert data["data"] == {name: value for name, value in handoff(1).message.items() if name != "prompt"}
    assert message["messageId"] == message["contextId"] == "hnd-1"


@pytest.mark.parametrize("comes_to", ["failed", "canceled", "rejected"])
def test_a_task_that_comes_to_nothing_has_failed(comes_to: str) -> None:
    with serving_agent(Agent(comes_to)) as url:
        progress = settled(channel(url), sent(channel(url)), Stage.FAILED)
    assert progress.said == "did it \\x1b with [redacted]"


@pytest.mark.parametrize("comes_to", ["input_required", "auth_required"])
def test_a_pause_is_shown(comes_to: str) -> None:
    with serving_agent(Agent(comes_to)) as url:
        progress = settled(channel(url), sent(channel(url)), Stage.PAUSED)
    assert progress.said == f"{comes_to}: did it \\x1b with [redacted]"


def test_sending_returns_while_the_agent_still_works_and_the_agent_can_be_asked_whether_it_came() -> None:
    with serving_agent(Agent("working")) as url:
        there = sent(channel(url))
        assert settled(channel(url), there, Stage.WORKING).remote == there.remote
        assert channel(url).probe(handoff(1)) is True
        assert channel(url).probe(handoff(2)) is None  # it may have forgotten it
        # After a crash the id of the task is not known here; it is found by the handoff's.
        assert settled(channel(url), handoff(1), Stage.WORKING).remote == there.remote


def test_a_card_that_leads_to_another_server_is_not_followed(agent: Agent) -> None:
    with (
        serving_agent(agent, elsewhere="http://127.0.0.1:9/a2a") as url,
        pytest.raises(EffectRefused, match="names no address on that server"),
    ):
        channel(url).deliver(handoff(1))
    assert agent.messages == []


@pytest.mark.parametrize("answer", [hang, trickle, flood, nonsense, reply(500), reply(200, b"{}"), reply(302)])
def test_a_bad_agent_costs_its_own_handoff_only(answer: Answer) -> None:
    with serving(answer) as url:
        began = time.monotonic()
        bad = A2aChannel("architects", A2aDeclared(kind="a2a", url=url, timeout=1))
        with pytest.raises(EffectError):
            bad.deliver(handoff(1))
        assert bad.probe(handoff(1)) is None
        with pytest.raises(EffectError):
            bad.follow(handoff(1))
    assert time.monotonic() - began < 10


def card(url: str, **changes: Any) -> dict[str, Any]:
    interface = {"url": f"{url}/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    return {"name": "a", "version": "1", "supportedInterfaces": [interface], **changes}


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (b'{"result": null}', EffectUntold),
        (b'{"result": {"task": 5}}', EffectUntold),
        (b'{"result": "\xff"}', EffectUntold),
        (b"[" * 100_000, EffectUntold),
        (b'{"error": {"code": -32700, "message": "no"}}', EffectRefused),
        (b'{"error": [1]}', EffectUntold),
    ],
)
def test_nonsense_in_an_answer_is_told_as_what_it_is(result: bytes, told: type[EffectError]) -> None:
    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        known = json.dumps(card(url)).encode()
        reply(200, known if handler.command == "GET" else result)(handler, body)

    with serving(answer) as url:
        with pytest.raises(told) as raised:
            channel(url).deliver(handoff(1))
        assert type(raised.value) is told
        assert channel(url).probe(handoff(1)) is None
        with pytest.raises(EffectError, match=r"no answer about handoff hnd-1|knows no task of handoff hnd-1"):
            channel(url).follow(msgspec.structs.replace(handoff(1), remote="t"))


def test_an_agent_that_says_its_token_again_does_not_give_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TOKEN", "a-token-CANARY")

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        shown = handler.headers["Authorization"]
        parts = [{"text": f"you showed me {shown}"}]
        task = {"id": "t", "contextId": "hnd-1", "status": {"state": "TASK_STATE_WORKING", "message": {"parts": parts}}}
        told = {"error": {"code": -32700, "message": shown}} if b"SendMessage" in body else {"result": task}
        reply(200, json.dumps(card(url) if handler.command == "GET" else told).encode())(handler, body)

    with serving(answer) as url:
        agent = A2aChannel("architects", A2aDeclared(kind="a2a", url=url, token_env="AGENT_TOKEN", timeout=10))
        with pytest.raises(EffectRefused, match=r"refused it: .*\[redacted\]") as raised:
            agent.deliver(handoff(1))
        said = agent.follow(msgspec.structs.replace(handoff(1), remote="t")).said or ""
    assert "CANARY" not in str(raised.value)
    assert said == "you showed me Bearer [redacted]"


@pytest.mark.parametrize(
    "changes",
    [
        {"supportedInterfaces": [{"url": "http://[::1", "protocolBinding": "JSONRPC"}]},
        {"supportedInterfaces": 5},
        {"supportedInterfaces": []},
        {"skills": [None]},
    ],
)
def test_a_card_that_is_nonsense_sends_nothing(changes: dict[str, Any]) -> None:
    sent: list[bytes] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        sent.append(body)
        reply(200, json.dumps(card(url, **changes)).encode())(handler, body)

    with serving(answer) as url, pytest.raises(EffectError) as raised:
        channel(url).deliver(handoff(1))
    assert not isinstance(raised.value, EffectUntold)
    assert sent == [b""]


def test_an_agent_that_is_not_there_is_certain_to_have_nothing(agent: Agent) -> None:
    with serving_agent(agent) as url:
        pass
    with pytest.raises(EffectError, match="the card of") as raised:
        channel(url).deliver(handoff(1))
    assert type(raised.value) is EffectError
