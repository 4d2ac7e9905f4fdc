"""What every channel keeps to."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from self_healing.errors import EffectError
from self_healing.handoffs.file import FileChannel
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.model import Handoff
from self_healing.testing import RecordingChannel
from tests.contract.ways import WAYS, Way
from tests.unit.actions.intents import handoff


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "handoffs"


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest, directory: Path) -> Iterator[Way]:
    with request.param(directory) as way:
        yield way


def test_a_handoff_that_was_not_delivered_is_known_to_be_missing_or_nobody_can_tell(way: Way) -> None:
    assert way.channel.probe(handoff(1)) is (False if way.tells else None)


def test_a_delivered_handoff_arrives_and_is_never_said_to_be_missing(way: Way) -> None:
    way.channel.deliver(handoff(1))
    assert way.arrived() == ["hnd-1"]
    assert way.channel.probe(handoff(1)) is (True if way.tells else None)
    assert way.channel.probe(handoff(2)) is (False if way.tells else None)


def test_delivering_again_changes_nothing_for_who_keeps_to_the_id(way: Way) -> None:
    for _ in range(3):
        way.channel.deliver(handoff(1))
    assert way.arrived() == ["hnd-1"]


def test_many_threads_delivering_the_same_handoffs_deliver_each_once(way: Way) -> None:
    threads = [threading.Thread(target=way.channel.deliver, args=[handoff(n % 4)]) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert way.arrived() == ["hnd-0", "hnd-1", "hnd-2", "hnd-3"]


def delivered(channel: FileChannel) -> list[str]:
    return sorted(ContextMessageHandoff.from_json(each.read_bytes()).id for each in channel.directory.iterdir())


def test_a_file_holds_the_message_with_its_nine_keys(directory: Path) -> None:
    FileChannel(directory).deliver(handoff(1))
    [file] = directory.iterdir()
    assert file.name == handoff(1).file
    assert json.loads(file.read_text("utf-8")) == handoff(1).message


def test_a_file_with_another_handoff_is_never_overwritten(directory: Path) -> None:
    channel = FileChannel(directory)
    channel.deliver(handoff(1))
    other = msgspec.structs.replace(handoff(2), file=handoff(1).file)
    with pytest.raises(EffectError, match="holds something else than handoff hnd-2"):
        channel.deliver(other)
    assert channel.probe(other) is False
    assert delivered(channel) == ["hnd-1"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{}"])
def test_a_file_that_is_no_handoff_is_neither_taken_for_one_nor_overwritten(directory: Path, content: bytes) -> None:
    directory.mkdir(parents=True)
    (directory / handoff(1).file).write_bytes(content)
    channel = FileChannel(directory)
    assert channel.probe(handoff(1)) is False
    with pytest.raises(EffectError):
        channel.deliver(handoff(1))
    assert (directory / handoff(1).file).read_bytes() == content


def test_drafts_that_a_crash_left_are_cleared_away(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / f".{handoff(1).file}.0badcafe.tmp").write_bytes(b"{")
    FileChannel(directory).deliver(handoff(1))
    assert os.listdir(directory) == [handoff(1).file]


def test_a_directory_that_cannot_be_made_is_an_effect_error(directory: Path) -> None:
    directory.parent.mkdir()
    directory.touch()
    with pytest.raises(EffectError, match="hnd-1 could not be written"):
        FileChannel(directory).deliver(handoff(1))


def test_a_place_that_cannot_be_read_leaves_it_open_whether_it_was_delivered(directory: Path) -> None:
    (directory / handoff(1).file).mkdir(parents=True)
    assert FileChannel(directory).probe(handoff(1)) is None


def test_a_file_name_that_leads_elsewhere_is_refused(directory: Path) -> None:
    elsewhere = msgspec.structs.replace(handoff(1), file="../elsewhere.json")
    with pytest.raises(EffectError, match="not a plain file name"):
        FileChannel(directory).deliver(elsewhere)


def test_a_damaged_handoff_is_an_effect_error(directory: Path) -> None:
    damaged: Handoff = msgspec.structs.replace(handoff(1), message={"id": "hnd-1"})
    with pytest.raises(EffectError, match="hnd-1 in the state is damaged"):
        FileChannel(directory).deliver(damaged)


def test_a_recording_channel_fails_as_often_as_it_is_told_to() -> None:
    channel = RecordingChannel(fails=2)
    for _ in range(2):
        with pytest.raises(EffectError):
            channel.deliver(handoff(1))
    channel.deliver(handoff(1))
    assert (channel.calls, [each.id for each in channel.delivered]) == (3, ["hnd-1"])


def test_a_recording_channel_that_hangs_delivers_once_it_is_released() -> None:
    channel = RecordingChannel(hangs=True)
    thread = threading.Thread(target=channel.deliver, args=[handoff(1)])
    thread.start()
    assert channel.probe(handoff(1)) is False
    channel.release()
    thread.join()
    assert channel.probe(handoff(1)) is True


def test_a_recording_channel_can_be_unable_to_tell() -> None:
    channel = RecordingChannel(probes=False)
    channel.deliver(handoff(1))
    assert channel.probe(handoff(1)) is None
