"""What is declared of channels, before anything is sent by them."""

from __future__ import annotations

import pytest

from self_healing.config import Settings
from self_healing.handoffs.declared import unset
from self_healing.spec import ActionSpec

WEBHOOK = {"kind": "webhook", "url": "https://example.org", "secret_env": "SECRET"}


@pytest.mark.parametrize("environment", [{}, {"SECRET": ""}])
@pytest.mark.parametrize(
    ("channel", "key"),
    [
        (WEBHOOK, "secret_env"),
        ({"kind": "pagerduty", "routing_key_env": "SECRET"}, "routing_key_env"),
        ({"kind": "apprise", "urls_env": "SECRET"}, "urls_env"),
        ({"kind": "a2a", "url": "https://example.org", "token_env": "SECRET"}, "token_env"),
    ],
)
def test_each_variable_that_is_not_set_is_named_with_its_channel_and_key(
    channel: dict[str, str], key: str, environment: dict[str, str]
) -> None:
    settings = Settings.model_validate({"actions": {"channels": {"mine": channel}}})
    [line] = unset(settings.actions.channels, settings.heartbeat, (), environment)
    assert line.startswith(f"channel mine: {key} names SECRET, and no such variable is set")


def test_the_variable_of_the_heartbeat_is_told_likewise() -> None:
    settings = Settings.model_validate({"heartbeat": {"url_env": "MONITOR_URL"}})
    [line] = unset(settings.actions.channels, settings.heartbeat, (), {})
    assert line.startswith("heartbeat: url_env names MONITOR_URL, and no such variable is set")
    assert unset(settings.actions.channels, settings.heartbeat, (), {"MONITOR_URL": "https://monitor.example"}) == []


def test_the_variable_of_an_action_that_calls_a_web_server_is_told_likewise() -> None:
    restart = {"name": "restart", "target_agent": "Aide", "prompt": "Look.", "priority": "high"}
    calls = {"type": "webhook", "url": "https://example.org", "secret_env": "SECRET"}
    actions = [
        ActionSpec.model_validate({**restart, **more}) for more in (calls, {"type": "diagnostic", "name": "look"})
    ]
    settings = Settings()
    [line] = unset(settings.actions.channels, settings.heartbeat, actions, {})
    assert line.startswith("action restart: secret_env names SECRET, and no such variable is set")


def test_what_is_set_or_not_asked_for_is_not_told() -> None:
    without = {"kind": "a2a", "url": "https://example.org"}
    settings = Settings.model_validate({"actions": {"channels": {"hook": WEBHOOK, "agent": without}}})
    assert unset(settings.actions.channels, settings.heartbeat, (), {"SECRET": "whsec_"}) == []
