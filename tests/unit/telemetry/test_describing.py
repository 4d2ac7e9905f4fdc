"""What people are told of a line that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from self_healing.telemetry.describing import SAYS, describe, described
from self_healing.telemetry.lines import BadLine, read_line

DEEP = b"[" * 5_000 + b"]" * 5_000


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"duration_s":-3}', "duration_s: -3: allowed is float >= 0.0"),
        (b'{"status":"ok"}', 'status: "ok": allowed are success, failed, timeout, canceled'),
        (b"{", "Input data was truncated"),
        (b'{"quality":NaN}', None),
        (b'{"ts":' + DEEP + b"}", None),
        (b'{"ts":"2026-01-05T10:00:00Z","x":' + DEEP + b"}", None),
        (b'{"x":' + DEEP + b',"y":"\xff"}', None),
    ],
)
def test_a_bad_line_is_described_by_its_field_and_what_is_allowed_there(line: bytes, what: str | None) -> None:
    reason = read_line(line)
    assert isinstance(reason, BadLine)
    assert described(line, reason) == what


@pytest.mark.parametrize("ts", [b"null", b'"soon"', b'"2999-01-01T00:00:00Z"'])
def test_a_time_that_cannot_be_used_is_shown_with_what_can(ts: bytes) -> None:
    said = described(b'{"ts":' + ts + b"}", BadLine.UNDATED)
    assert said is not None
    assert said.startswith(f"ts: {ts.decode()}: allowed is a time with its zone, such as ")


def test_a_line_is_looked_for_where_its_file_is(tmp_path: Path) -> None:
    telemetry, state = tmp_path / "telemetry", tmp_path / "state"
    (state / "segments").mkdir(parents=True)
    telemetry.mkdir()
    (telemetry / "a.jsonl").write_bytes(b'{}\n{"attempt":0}\n')
    (state / "segments" / "1.jsonl").write_bytes(b'{"attempt":-1}\n')
    (state / "segments" / "2.jsonl.corrupt").write_bytes(b'{"attempt":-2}\n')
    for file, offset, value in (("a.jsonl", 3, 0), ("segments/1.jsonl", 0, -1), ("segments/2.jsonl", 0, -2)):
        said = describe(telemetry, state, file, offset, BadLine.INVALID_VALUE)
        assert said == f"attempt: {value}: allowed is int >= 1"
    assert describe(telemetry, state, "segments/3.jsonl", 0, BadLine.INVALID_VALUE) is None


def test_there_are_words_for_every_reason() -> None:
    assert set(SAYS) == set(BadLine)
