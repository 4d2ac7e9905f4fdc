"""--watch: shown again at each change and at nothing else, and over when nobody looks any more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from self_healing.cli.following import changes, shown_as_asked
from self_healing.cli.options import Format, Watched
from self_healing.errors import NotFound, StateError

Look = Callable[[], dict[str, Any]]


def looks(*found: dict[str, Any] | BaseException) -> Look:
    """What is found, look by look; then nobody looks any more."""
    each = iter((*found, KeyboardInterrupt()))

    def look() -> dict[str, Any]:
        told = next(each)
        if isinstance(told, BaseException):
            raise told
        return told

    return look


def seen(look: Look) -> Iterator[dict[str, Any]]:
    with pytest.raises(KeyboardInterrupt):
        yield from changes(look, every_s=0.001)


def test_what_did_not_change_is_not_shown_again(capfd: pytest.CaptureFixture[str]) -> None:
    one, other = {"open": 1, "evaluated_at": "a"}, {"open": 2, "evaluated_at": "c"}
    assert list(seen(looks(one, one, {"open": 1, "evaluated_at": "b"}, other, one))) == [one, other, one]


def test_a_state_that_cannot_be_looked_at_for_a_while_is_said_once_and_waited_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    busy = StateError("the service did not answer")
    assert list(seen(looks({"open": 1}, busy, busy, {"open": 2}))) == [{"open": 1}, {"open": 2}]
    assert capfd.readouterr().err == "self-healing: the service did not answer; waiting\n"


def test_what_is_not_there_ends_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotFound):
        list(changes(looks({"open": 1}, NotFound("incident", "inc-1")), every_s=0.001))


def test_json_is_a_line_a_change_and_ctrl_c_is_the_regular_end(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("self_healing.cli.following.EVERY_S", 0.001)
    monkeypatch.setenv("SELF_HEALING_ENVIRONMENT", "staging")
    assert shown_as_asked(Watched(watch=True, format=Format.JSON), looks({"a": 1}, {"a": 2}), print) == 0
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert told == [{"environment": "staging", "a": 1}, {"environment": "staging", "a": 2}]


def test_through_a_pipe_each_change_follows_the_one_before(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("self_healing.cli.following.EVERY_S", 0.001)
    assert shown_as_asked(Watched(watch=True), looks({"a": 1}), lambda told: print(f"a is {told['a']}")) == 0
    head, *rest = capfd.readouterr().out.splitlines()
    assert (head.endswith("at each change; Ctrl-C ends it"), rest) == (True, ["", "a is 1", ""])


def test_without_it_what_is_shown_is_shown_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert shown_as_asked(Watched(), looks({"a": 1}), lambda told: print(f"a is {told['a']}")) == 0
    assert capfd.readouterr().out == "a is 1\n"
