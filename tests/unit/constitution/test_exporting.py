"""The export: whoever has it can check it with the few lines of the how-to, and nothing that was changed passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from self_healing.constitution.audit import Audit
from self_healing.constitution.checkpoints import Checkpoints, checkpoints_file
from self_healing.constitution.exporting import export
from self_healing.errors import StateError
from self_healing.storage.store import Store

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "check-the-audit-log.md"
Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The lines of a log of ten entries, two of them checkpoints, with text that JSON can say in several ways."""
    directory = tmp_path_factory.mktemp("exported")
    store = Store(directory / "state")
    audit = Audit(store)
    checkpoints = Checkpoints(store, audit, checkpoints_file(directory / "logs"))
    for number in range(8):
        with store.transaction():
            audit.append("decision", {"n": number, "é\u2028": 1e22, "small": 1e-7, "s": 'a"\\'}, NOW)
            if number in (3, 6):
                checkpoints.take(NOW + timedelta(hours=number), closing=True)
        checkpoints.publish()
    store.close()
    return tuple(line.decode() for line in export(directory / "state", directory / "logs", "staging"))


@pytest.fixture(scope="module")
def check() -> Callable[..., str | None]:
    """The check as the how-to writes it."""
    code = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    found: Callable[..., str | None] = names["check"]
    return found


def test_a_log_as_it_was_written_passes(
    exported: tuple[str, ...], check: Callable[..., str | None], tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text("".join(exported))
    assert check(file) is None
    lines = [json.loads(line) for line in exported]
    assert lines[0]["environment"] == "staging"
    assert [each["line"] for each in lines] == ["log", *["checkpoint"] * 2, *["entry"] * 10]


def test_a_log_of_which_old_entries_left_passes_and_no_other_may_leave(
    check: Callable[..., str | None], tmp_path: Path
) -> None:
    store = Store(tmp_path / "state")
    audit = Audit(store)
    checkpoints = Checkpoints(store, audit, checkpoints_file(tmp_path / "logs"))
    with store.transaction():
        for number in range(6):
            audit.append("decision", {"n": number}, NOW + timedelta(days=number))
        checkpoints.take(NOW + timedelta(days=6), closing=True)
        trim = checkpoints.too_old(timedelta(days=3), NOW + timedelta(days=6), lambda: None)
        assert trim is not None
        assert checkpoints.trim(trim, NOW + timedelta(days=6)) == 4
    checkpoints.publish()
    store.close()
    lines, file = list(export(tmp_path / "state", tmp_path / "logs")), tmp_path / "audit.jsonl"
    file.write_bytes(b"".join(lines))
    assert check(file) is None
    file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert check(file) == "entry 5 is missing, or does not follow from those that left the log"


def changed(lines: Lines) -> None:
    lines[4]["payload"] = lines[4]["payload"].replace('"n":1', '"n":9')


def deleted(lines: Lines) -> None:
    del lines[5]


def swapped(lines: Lines) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def cut_off(lines: Lines) -> None:
    del lines[9:]


def unsigned(lines: Lines) -> None:
    checkpoint = json.loads(lines[1]["text"])
    lines[1]["text"] = json.dumps({**checkpoint, "hash": "0" * 64})


def without_a_checkpoint(lines: Lines) -> None:
    del lines[1]


def of_another_key(lines: Lines) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = Ed25519PrivateKey.generate().public_key()
    lines[0]["public_key"] = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (changed, "entry 2 was changed"),
        (deleted, "entry 3 is missing"),
        (swapped, "entry 2 is missing"),
        (cut_off, "the log ends before entry 8, which was signed"),
        (unsigned, "checkpoint 1 is not signed by this key"),
        (without_a_checkpoint, "checkpoint 1 is missing"),
        (of_another_key, "checkpoint 1 is not signed by this key"),
    ],
)
def test_what_was_changed_since_is_found_without_this_package(
    exported: tuple[str, ...],
    check: Callable[..., str | None],
    tmp_path: Path,
    tamper: Callable[[Lines], None],
    says: str,
) -> None:
    lines = [json.loads(line) for line in exported]
    tamper(lines)
    file = tmp_path / "audit.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert check(file) == says


def test_there_is_nothing_to_export_where_there_is_no_state(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no state in"):
        list(export(tmp_path / "none", tmp_path))
