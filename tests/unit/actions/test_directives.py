from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.actions.directing import Directives, directive_id
from self_healing.actions.directives import effective, read_all, read_directives
from self_healing.constitution.audit import Audit
from self_healing.errors import ConstitutionBypass, NotFound, StateCorrupt
from self_healing.model import Decision, Directive, Execution
from self_healing.spec import DIRECTIVES
from self_healing.storage.readonly import DATABASE
from self_healing.storage.store import Store
from tests.unit.actions.intents import START, decision, execution

HOUR = timedelta(hours=1)
END = START + HOUR


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as opened:
        yield opened


def whatever(execution: Execution, renewal: str | None = None) -> Decision:
    """Allows what an execution is about; whether a decision is on record is for others to test."""
    return decision(execution)


@pytest.fixture
def directives(store: Store) -> Directives:
    return Directives(store, allowing=whatever, audit=Audit(store).append)


def directive(name: str, value: Any, age_s: float = 0, **changes: Any) -> Directive:
    fields: dict[str, Any] = {
        "id": f"dir-{name}-{value}-{age_s}",
        "agent": "Coder",
        "name": name,
        "value": value,
        "owner": "inc-1",
        "execution": "exe-1",
        "kind": "configuration",
        "reason": "why",
        "created_at": START - timedelta(seconds=age_s),
        "expires_at": END,
    }
    return Directive(**{**fields, **changes})


def put_in_force(
    directives: Directives, number: int, settings: dict[str, Any], at: datetime = START
) -> list[Directive]:
    ours = execution(number, settings=settings)
    return directives.set(ours, settings, at=at, expires_at=at + HOUR, reason="why")


SAFER = [
    ("paused", True, False),
    ("quality_gate", "strict", "normal"),
    ("max_concurrency", 1, 4),
    ("max_retries", 0, 2),
    ("token_budget", 100, 1000),
    ("max_output_tokens", 10, 20),
    ("max_cost_usd", 0.25, 1),
    ("timeout_s", 12.5, 30),
]


@pytest.mark.parametrize(("name", "safer", "other"), SAFER)
def test_of_several_values_the_safer_one_holds(name: str, safer: Any, other: Any) -> None:
    older, newer = directive(name, safer, 9), directive(name, other, 1)
    assert effective([older, newer], START) == effective([newer, older], START) == {name: safer}


def test_of_several_models_none_is_safer_and_the_newest_holds() -> None:
    older, newer = directive("model", "old", 9), directive("model", "new", 1)
    assert effective([older, newer], START) == effective([newer, older], START) == {"model": "new"}
    assert {name for name, _, _ in SAFER} == DIRECTIVES.keys() - {"model"}


@given(st.permutations([directive("token_budget", n, n) for n in range(1, 6)]))
def test_the_order_in_which_directives_are_given_does_not_matter(given: list[Directive]) -> None:
    assert effective(given, START) == {"token_budget": 1}


def test_expired_and_undone_directives_do_not_count() -> None:
    over = directive("paused", True, expires_at=START)
    undone = directive("model", "m", undone_at=START)
    assert effective([over, undone], START) == {}
    assert effective([over], START - timedelta(microseconds=1)) == {"paused": True}


def test_a_directive_says_whose_it_is_and_what_it_replaced(directives: Directives) -> None:
    put_in_force(directives, 1, {"model": "big"})
    [second] = put_in_force(directives, 2, {"model": "small"}, START + timedelta(seconds=1))
    assert (second.agent, second.owner, second.execution, second.replaced) == ("Coder", "inc-2", "exe-2", "big")


def test_setting_again_changes_nothing(directives: Directives, store: Store) -> None:
    first = put_in_force(directives, 1, {"paused": True})
    assert put_in_force(directives, 1, {"paused": True}, START + HOUR) == first
    assert store.count(Directive) == 1


def test_setting_again_does_not_bring_back_what_was_undone(directives: Directives) -> None:
    [paused] = put_in_force(directives, 1, {"paused": True})
    directives.undo([paused.id], at=START, reason="a person")
    put_in_force(directives, 1, {"paused": True})
    assert directives.in_force(at=START) == []


@pytest.mark.parametrize("value", [False, 1, "yes"])
def test_only_what_the_decision_names_can_be_set(directives: Directives, store: Store, value: Any) -> None:
    ours = execution(1, settings={"paused": True})
    with pytest.raises(ConstitutionBypass, match="does not allow paused"):
        directives.set(ours, {"paused": value}, at=START, expires_at=END, reason="why")
    with pytest.raises(ConstitutionBypass, match="does not allow model"):
        directives.set(ours, {"paused": True, "model": "m"}, at=START, expires_at=END, reason="why")
    assert (store.count(Directive), Audit(store).tail(1)) == (0, [])


def test_only_what_the_renewal_names_and_the_execution_set_can_be_restored(directives: Directives) -> None:
    [paused] = put_in_force(directives, 1, {"paused": True})
    directives.undo([paused.id], at=START, reason="good")
    with pytest.raises(ConstitutionBypass, match="does not allow paused"):
        directives.restore(execution(1), [paused.id], at=END, expires_at=END + HOUR, renewal="dec-1")
    other = execution(2, settings={"paused": True})
    with pytest.raises(ConstitutionBypass, match="is not its own"):
        directives.restore(other, [paused.id], at=END, expires_at=END + HOUR, renewal="dec-1")
    assert directives.in_force(at=END) == []


def test_whatever_becomes_of_a_directive_has_its_entry_on_the_audit_log(directives: Directives, store: Store) -> None:
    ours = execution(1, settings={"paused": True})
    [paused] = put_in_force(directives, 1, {"paused": True})
    directives.undo([paused.id], at=START, reason="a drill", by="Ada")
    directives.restore(ours, [paused.id], at=START, expires_at=END, renewal="dec-1")
    directives.undo_owned("inc-1", at=START, reason="healed")
    directives.restore(ours, [paused.id], at=START, expires_at=END, renewal="dec-1")
    directives.expire(END)

    told = [(entry.kind, entry.payload["by"], entry.payload.get("reason")) for entry in Audit(store).tail(9)]
    assert told == [
        ("directive_set", "self-healing", "why"),
        ("directive_undone", "Ada", "a drill"),
        ("directive_restored", "self-healing", None),
        ("directive_undone", "self-healing", "healed"),
        ("directive_restored", "self-healing", None),
        ("directive_expired", "self-healing", None),
    ]
    assert {entry.payload["directive"] for entry in Audit(store).tail(9)} == {paused.id}


def test_the_directives_in_force_are_those_of_the_agent_at_the_instant(directives: Directives, store: Store) -> None:
    [ours] = put_in_force(directives, 1, {"paused": True})
    other = directive("model", "m", agent="Tester")
    store.put(other)
    assert directives.in_force(at=START) == [ours, other]
    assert directives.in_force("Tester", at=START) == [other]
    assert directives.in_force("Coder", at=END) == []


def test_undoing_says_when_and_why_and_twice_does_no_harm(directives: Directives, store: Store) -> None:
    [paused] = put_in_force(directives, 1, {"paused": True})
    [undone] = directives.undo([paused.id], at=START, reason="good")
    assert (undone.undone_at, undone.undone_reason) == (START, "good")
    assert directives.undo([paused.id], at=END, reason="again") == []
    assert store.get(Directive, paused.id) == undone


def test_undoing_an_unknown_directive_undoes_none(directives: Directives) -> None:
    [paused] = put_in_force(directives, 1, {"paused": True})
    with pytest.raises(NotFound):
        directives.undo([paused.id, "dir-no"], at=START, reason="good")
    assert directives.in_force(at=START) == [paused]


def test_all_that_an_incident_owns_is_undone_together(directives: Directives) -> None:
    put_in_force(directives, 1, {"token_budget": 1, "max_output_tokens": 2})
    [kept] = put_in_force(directives, 2, {"paused": True})
    assert len(directives.undo_owned("inc-1", at=START, reason="healed")) == 2
    assert directives.in_force(at=START) == [kept]


def test_a_restored_directive_is_in_force_anew(directives: Directives) -> None:
    [paused] = put_in_force(directives, 1, {"paused": True})
    directives.undo([paused.id], at=START, reason="good")
    ours = execution(1, settings={"paused": True})
    [restored] = directives.restore(ours, [paused.id], at=END, expires_at=END + HOUR, renewal="dec-1")
    assert directives.in_force(at=END) == [restored]
    assert (restored.id, restored.created_at, restored.undone_reason) == (paused.id, END, None)


def test_directives_whose_time_is_over_are_closed_at_their_instant(directives: Directives, store: Store) -> None:
    [paused] = put_in_force(directives, 1, {"paused": True})
    assert directives.expire(END - timedelta(microseconds=1)) == []
    [expired] = directives.expire(END + HOUR)
    assert (expired.id, expired.undone_at, expired.undone_reason) == (paused.id, END, "expired")
    assert store.count(Directive, open="yes") == 0


def test_what_an_execution_set_is_found_again(directives: Directives) -> None:
    put_in_force(directives, 1, {"token_budget": 1, "max_output_tokens": 2})
    put_in_force(directives, 2, {"paused": True})
    key = execution(1).key or ""
    assert [each.id for each in directives.of(execution(1))] == [
        directive_id(key, "token_budget"),
        directive_id(key, "max_output_tokens"),
    ]


def test_an_agent_reads_what_is_in_force_while_the_owner_has_the_state_open(
    directives: Directives, store: Store, tmp_path: Path
) -> None:
    put_in_force(directives, 1, {"max_concurrency": 2})
    put_in_force(directives, 2, {"max_concurrency": 1, "model": "m"})
    store.put(directive("paused", True, agent="Tester"))
    state = tmp_path / "state"
    assert read_directives("Coder", state_dir=state, now=START) == {"max_concurrency": 1, "model": "m"}
    assert read_directives("Coder", state_dir=state, now=END) == {}
    assert read_directives("Nobody", state_dir=state, now=START) == {}
    assert read_all(state, START)["Tester"] == {"paused": True}


def test_an_agent_reads_the_same_after_the_owner_is_gone(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        put_in_force(Directives(store, allowing=whatever, audit=Audit(store).append), 1, {"paused": True})
    assert read_directives("Coder", state_dir=str(tmp_path), now=START) == {"paused": True}


def test_reading_agrees_with_what_is_effective(store: Store, tmp_path: Path) -> None:
    given = [
        directive("model", "old", 9),
        directive("model", "new", 1.5),
        directive("paused", True, undone_at=START),
        directive("token_budget", 7, 3),
        directive("token_budget", 5, 8),
        directive("timeout_s", 1, expires_at=START),
    ]
    store.put(*given)
    assert read_directives("Coder", state_dir=tmp_path / "state", now=START) == effective(given, START)


def test_without_now_the_machines_time_counts(store: Store, tmp_path: Path) -> None:
    year = timedelta(days=365)
    now = datetime.now(UTC)
    store.put(directive("paused", True, expires_at=now + year), directive("model", "m", expires_at=now - year))
    assert read_directives("Coder", state_dir=tmp_path / "state") == {"paused": True}


def test_an_agents_environment_says_which_state_is_meant(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(directive("paused", True))
    monkeypatch.setenv("SELF_HEALING_STORAGE_STATE_DIR", str(tmp_path / "state"))
    assert read_directives("Coder", now=START) == {"paused": True}
    assert read_directives("Coder", state_dir=tmp_path / "none", now=START) == {}


def test_without_a_state_nothing_is_in_force(tmp_path: Path) -> None:
    assert read_directives("Coder", state_dir=tmp_path / "none", now=START) == {}
    assert read_all(tmp_path / "none", START) == {}


def test_a_state_that_is_being_made_has_nothing_in_force(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / DATABASE).close()
    assert read_directives("Coder", state_dir=tmp_path, now=START) == {}


@pytest.mark.spoils_state
def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database, whatever its name says")
    with pytest.raises(StateCorrupt):
        read_directives("Coder", state_dir=tmp_path, now=START)


def test_reading_directives_imports_nothing_heavy() -> None:
    heavy = ["sqlalchemy", "numpy", "pydantic", "structlog", "msgspec", "asyncio"]
    code = (
        "import sys, json; import self_healing.actions.directives;"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_directive_can_hold_any_declared_value(directives: Directives, tmp_path: Path) -> None:
    settings = {"paused": True, "max_cost_usd": 0.5, "token_budget": 10, "model": "m", "quality_gate": "strict"}
    put_in_force(directives, 1, settings)
    assert read_directives("Coder", state_dir=tmp_path / "state", now=START) == settings
    assert msgspec.json.encode(settings)
