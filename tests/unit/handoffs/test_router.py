"""The way of a handoff: chosen once, by its recipient, and always a file as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from self_healing.config import ActionSettings
from self_healing.errors import EffectError, EffectUntold
from self_healing.handoffs.channel import Channel
from self_healing.handoffs.declared import ChannelSettings
from self_healing.handoffs.file import FileChannel
from self_healing.handoffs.router import Route, Router
from self_healing.model import Handoff
from self_healing.testing import RecordingChannel
from tests.unit.actions.intents import handoff

SENT: list[str] = []

BY_FUNCTION = {"kind": "python", "function": f"{__name__}:send", "agents": ["Auditor"]}


def send(handoff: dict[str, Any]) -> None:
    if handoff["id"] == "hnd-9":
        raise EffectError("not now")
    SENT.append(handoff["id"])


def router(file: Any, fallback: str = "file", **channels: Any) -> Router:
    settings = ActionSettings.model_validate({"channels": channels, "fallback_channel": fallback})
    return Router(file, settings.channels, settings.fallback_channel)


def test_a_recipient_is_served_by_the_first_channel_that_names_it_and_others_by_the_fallback() -> None:
    plain = {"kind": "file", "agents": ["Planner"]}
    ways = router(RecordingChannel(), "second", first=BY_FUNCTION, second=BY_FUNCTION, third=plain)
    assert ways.route("Auditor") == Route("first")
    assert ways.routes("Auditor") == [Route("first"), Route("second")]
    assert ways.route("Planner") == Route("third")
    assert ways.route("Stranger") == Route("second", served=False)


def test_where_no_channel_is_declared_files_serve_everybody() -> None:
    assert router(RecordingChannel()).route("Stranger") == Route("file")


def test_whatever_delivers_it_the_file_is_written_first(tmp_path: Path) -> None:
    SENT.clear()
    by_function = msgspec.structs.replace(handoff(1), channel="fleet")
    router(FileChannel(tmp_path), fleet=BY_FUNCTION).deliver(by_function)
    assert (SENT, [each.name for each in tmp_path.iterdir()]) == (["hnd-1"], [by_function.file])

    refused = msgspec.structs.replace(handoff(9), channel="fleet")
    with pytest.raises(EffectError, match="not now"):
        router(FileChannel(tmp_path), fleet=BY_FUNCTION).deliver(refused)
    assert sorted(each.name for each in tmp_path.iterdir()) == [by_function.file, refused.file]


def test_without_its_file_nothing_was_delivered_and_with_it_the_channel_is_asked(tmp_path: Path) -> None:
    ways = router(FileChannel(tmp_path), fleet=BY_FUNCTION)
    by_function = msgspec.structs.replace(handoff(1), channel="fleet")
    assert ways.probe(by_function) is False
    ways.deliver(by_function)
    assert ways.probe(by_function) is None


class Broken(RecordingChannel):
    """Cannot make anything of an answer."""

    def deliver(self, handoff: Handoff) -> None:
        raise UnicodeEncodeError("ascii", "\xff", 0, 1, "out of range")


class Breaking(Router):
    """Every channel that is declared is broken."""

    def _made(self, name: str, declared: ChannelSettings) -> Channel:
        return Broken()


def test_what_a_channel_did_not_foresee_costs_its_own_handoff_only(tmp_path: Path) -> None:
    declared = ActionSettings.model_validate({"channels": {"fleet": BY_FUNCTION}}).channels
    ways = Breaking(FileChannel(tmp_path), declared, "file")
    with pytest.raises(EffectUntold, match=r"broke over handoff hnd-1: UnicodeEncodeError"):
        ways.deliver(msgspec.structs.replace(handoff(1), channel="fleet"))


def test_what_is_on_its_way_stays_on_it_when_the_configuration_changes() -> None:
    ways = router(RecordingChannel(), fleet=BY_FUNCTION)
    by_function = msgspec.structs.replace(handoff(1), channel="fleet")
    ways.follow({}, "file")
    assert ways.route("Auditor") == Route("file")
    with pytest.raises(EffectError, match=r"channel fleet of handoff hnd-1 is no longer declared in actions\.channels"):
        ways.deliver(by_function)
