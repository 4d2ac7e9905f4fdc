"""Actions that run a program or call a web server: once, on the gate's word, and what came back is kept."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from self_healing.actions.calling import call
from self_healing.actions.registry import read_actions
from self_healing.actions.runner import InlineExecutor
from self_healing.config import Settings, load_spec
from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.model import Execution, ExecutionStatus, Handoff
from self_healing.spec import ActionSpec, ActionType
from self_healing.storage.store import Store
from self_healing.testing import RecordingChannel
from tests.contract.servers import LOOPBACK, SECRET, Answer, Receiver, hang, reply, serving
from tests.scenarios.conftest import MakeScenario, empty_state, scenario  # noqa: F401 the fixtures
from tests.unit.actions.intents import ACTIONS, effect_on, handoff, intend

S = ExecutionStatus


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_SECRET", SECRET)


def command(program: str, *arguments: str, **more: Any) -> ActionSpec:
    return action("command", argv=(sys.executable, "-c", program, *arguments), **more)


def webhook(url: str, **more: Any) -> ActionSpec:
    return action("webhook", url=url, secret_env="OPS_SECRET", allow=LOOPBACK, **more)


def action(kind: str, **more: Any) -> ActionSpec:
    plain = ACTIONS["ask"].model_dump(exclude={"directives", "type", "reversible"})
    return ActionSpec.model_validate({**plain, "type": kind, "timeout": 30, **more})


def run(store: Store, spec: ActionSpec, *, tries: int = 0) -> Execution:
    executor = InlineExecutor(effect_on(store, RecordingChannel(), action=lambda _execution: spec))
    executor.submit([intend(store, action="ask", tries=tries)])
    return store.get(Execution, "exe-1")


TABLE = """
[[action]]
name = "restart_worker"
type = "command"
priority = "high"
target_agent = "Aide"
prompt = "The worker was restarted. Find out why it hung."
argv = [{argv}]
parameters = {{ queue = "slow", keep = 10 }}
parameter_types = {{ queue = "string", keep = "integer" }}
"""

KEEP = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read()); print('restarted')"


def test_a_program_is_run_before_its_handoff_goes_and_its_work_is_judged(
    scenario: MakeScenario,  # noqa: F811 the fixture
    tmp_path: Path,
) -> None:
    argv = ", ".join(json.dumps(each) for each in (sys.executable, "-c", KEEP, str(tmp_path / "told.json")))
    (tmp_path / "actions.toml").write_text(TABLE.format(argv=argv) + "reversible = true\n")
    (tmp_path / "triggers.toml").write_text('[[trigger]]\nname = "slow_tasks"\nactions = ["restart_worker"]\n')
    files = {"actions": "actions.toml", "triggers": "triggers.toml"}
    fleet = scenario(settings={kind: {"files": [tmp_path / file]} for kind, file in files.items()})
    fleet.finish("slow", duration_s=70.0)
    handoff = fleet.expect_handoff("slow_tasks", target_agent="Aide")
    told = json.loads((tmp_path / "told.json").read_text())
    assert told.pop("parameters") == {"queue": "slow", "keep": 10}
    assert told == handoff.message
    assert told["context"]["done"] == {"settings": {}, "called": sys.executable}
    assert [(note.what, note.text) for note in handoff.notes] == [("output", "restarted\\n")]
    fleet.at(1).expect_incident("slow_tasks", "Coder", "verifying")  # from when the program had done its work
    for number in range(3):
        fleet.at(10 + number).finish(f"t{number}", duration_s=2.0)
    fleet.at(20).expect_incident("slow_tasks", "Coder", "closed", "healed")


def test_what_is_called_is_not_taken_for_what_can_be_undone_and_a_person_is_asked(
    scenario: MakeScenario,  # noqa: F811 the fixture
    tmp_path: Path,
) -> None:
    (tmp_path / "actions.toml").write_text(TABLE.format(argv='"./restart"'))
    (tmp_path / "triggers.toml").write_text('[[trigger]]\nname = "slow_tasks"\nactions = ["restart_worker"]\n')
    files = {"actions": "actions.toml", "triggers": "triggers.toml"}
    limits = {"limits": {"independent_signals": 1}}
    settings = {kind: {"files": [tmp_path / file]} for kind, file in files.items()}
    fleet = scenario(settings={**settings, "constitution": limits})
    fleet.finish("slow", duration_s=70.0)
    fleet.expect_actions("slow_tasks", restart_worker="awaiting_approval")


def test_a_webhook_is_not_taken_for_what_can_be_undone_either() -> None:
    assert [webhook("https://ops.example.com", **said).reversible for said in ({}, {"reversible": True})] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("program", "status", "tries", "says"),
    [
        ("print('ok')", S.DISPATCHED, 1, ""),
        ("import sys; print('no such worker'); sys.exit(3)", S.FAILED, 1, "exit code 3; it said: no such worker"),
        ("import sys; sys.exit(75)", S.FAILED, 3, "asks to be tried again"),
        ("import os; print('half', flush=True); os.kill(os.getpid(), 9)", S.UNKNOWN, 1, "signal 9; it said: half"),
    ],
)
def test_its_exit_code_says_what_it_did_and_what_nobody_can_tell_is_not_done_again(
    store: Store, program: str, status: ExecutionStatus, tries: int, says: str
) -> None:
    ended = run(store, command(program))
    assert (ended.status, ended.tries) == (status, tries)
    assert says in (ended.error or "")


def test_a_program_is_killed_when_its_time_is_over_and_what_it_said_is_kept(store: Store) -> None:
    ended = run(store, action("command", argv=("/bin/sh", "-c", "echo at it; sleep 60"), timeout=1))
    assert ended.status is S.UNKNOWN
    assert "was killed after 1 s; it said: at it" in (ended.error or "")
    assert "it is not called twice; look whether it did" in (ended.error or "")


@contextmanager
def nothing_more_opened() -> Iterator[None]:
    """This process may open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_program_that_cannot_be_started_now_may_be_later() -> None:
    spec = command("print('ok')")
    with nothing_more_opened(), pytest.raises(EffectError, match="cannot be started: Too many open files") as refused:
        call(spec, handoff(1))
    assert not isinstance(refused.value, EffectRefused | EffectUntold)
    assert call(spec, handoff(1)) == "ok\\n"


def test_what_nobody_foresaw_of_a_call_costs_its_own_execution_only(store: Store) -> None:
    ended = run(store, command("print('ok')", parameters={"no": object()}))
    assert (ended.status, ended.tries) == (S.UNKNOWN, 1)
    assert "Encoding objects of type object is unsupported" in (ended.error or "")


def test_a_secret_that_is_none_refuses_the_call(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_SECRET", "whsec_Schlüssel")
    ended = run(store, webhook("http://127.0.0.1:9"))
    assert (ended.status, ended.tries) == (S.FAILED, 1)
    assert "variable OPS_SECRET holds no secret of Standard Webhooks" in (ended.error or "")


def test_what_a_program_may_do_again_is_done_again_after_a_crash(store: Store) -> None:
    assert run(store, command("print('ok')", idempotent=True), tries=1).status is S.DISPATCHED
    assert [note.text for note in store.get(Handoff, "hnd-1").notes] == ["ok\\n"]


def test_a_web_server_gets_a_signed_event_with_the_parameters_under_the_executions_id(store: Store) -> None:
    receiver = Receiver()
    with serving(receiver) as url:
        assert run(store, webhook(url, parameters={"queue": "slow"})).status is S.DISPATCHED
    [(id, event)] = receiver.events.items()
    assert (id, event["id"], event["type"], event["subject"]) == ("exe-1", "exe-1", "self_healing.action", "inc-1")
    assert event["data"] == {**handoff(1).message, "parameters": {"queue": "slow"}}
    assert [note.text for note in store.get(Handoff, "hnd-1").notes] == ["queued"]


@pytest.mark.parametrize(
    ("answer", "idempotent", "status", "tries"),
    [
        (reply(400, b"no"), False, S.FAILED, 1),
        (reply(503), False, S.FAILED, 3),
        (reply(504), False, S.UNKNOWN, 1),
        (reply(504), True, S.UNKNOWN, 3),
        (hang, False, S.UNKNOWN, 1),
    ],
)
def test_its_answer_says_what_it_did(
    store: Store, answer: Answer, idempotent: bool, status: ExecutionStatus, tries: int
) -> None:
    with serving(answer) as url:
        ended = run(store, webhook(url, idempotent=idempotent, timeout=1))
    assert (ended.status, ended.tries) == (status, tries)


def test_what_it_calls_is_named_without_what_may_be_a_secret_in_an_address() -> None:
    assert webhook("https://ops.example.com/hooks/s3cr3t").calls == "ops.example.com"


def test_a_spec_is_refused_that_cannot_call_what_it_says() -> None:
    for kind, more, says in (
        ("command", {}, "argv: missing where type is command"),
        ("agent_handoff", {"url": "https://ops.example.com"}, "url: allowed only where type is webhook"),
        ("command", {"argv": ["x"], "function": "drain"}, "function: allowed only where type is not command"),
        ("diagnostic", {"function": "drain"}, "function: allowed only where type is not diagnostic"),
    ):
        with pytest.raises(ValueError, match=says):
            action(kind, **more)


def test_a_type_that_calls_nothing_is_written_as_before_so_that_its_specs_keep_their_version(tmp_path: Path) -> None:
    assert "argv" not in load_spec(Settings()).text
    (tmp_path / "actions.toml").write_text(TABLE.format(argv='"./restart"'))
    [restart] = [each for each in read_actions([tmp_path / "actions.toml"]).checked() if each.name == "restart_worker"]
    assert ActionSpec.model_validate(restart.model_dump(mode="json")) == restart
    assert restart.type is ActionType.COMMAND
