"""Handoffs to programs: what they see, what their exit codes say, and that nothing of them stays."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.channel import Receipt
from self_healing.handoffs.command import CommandChannel
from self_healing.handoffs.declared import CommandDeclared
from tests.unit.actions.intents import handoff


def channel(program: str, *arguments: str, **settings: object) -> CommandChannel:
    given = {"kind": "command", "argv": (sys.executable, "-c", program, *arguments), **settings}
    return CommandChannel("tickets", CommandDeclared.model_validate(given))


def test_a_program_reads_the_nine_keys_and_what_it_prints_is_kept(tmp_path: Path) -> None:
    program = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read()); print('ticket 7')"
    receipt = channel(program, str(tmp_path / "in.json")).deliver(handoff(1))
    assert json.loads((tmp_path / "in.json").read_text()) == handoff(1).message
    assert receipt == Receipt(said="ticket 7\\n")


def test_a_program_sees_only_the_variables_that_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "sk-0123456789abcdefghij")
    monkeypatch.setenv("TICKET_HOST", "tickets.test")
    print_all = "import os; print(sorted(name for name in os.environ if name != 'LC_CTYPE'))"
    receipt = channel(print_all, environment=["TICKET_HOST", "NOT_THERE"]).deliver(handoff(1))
    assert receipt == Receipt(said="['TICKET_HOST']\\n")


def test_no_shell_reads_the_arguments() -> None:
    receipt = channel("import sys; print(sys.argv[1])", "$(id); `id` && id").deliver(handoff(1))
    assert receipt == Receipt(said="$(id); `id` && id\\n")


def test_secrets_and_control_characters_in_its_output_are_not_kept() -> None:
    receipt = channel("print('\\x1b[2J key=sk-0123456789abcdefghij')").deliver(handoff(1))
    assert receipt == Receipt(said="\\x1b[2J key=[redacted]\\n")


def test_what_it_was_shown_in_a_variable_is_not_kept_where_it_says_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKET_LOGIN", "correct horse CANARY")
    program = "import os; print('as', os.environ['TICKET_LOGIN'], 'in', os.environ['HOME'])"
    receipt = channel(program, environment=["TICKET_LOGIN", "HOME"]).deliver(handoff(1))
    assert receipt == Receipt(said=f"as [redacted] in {os.environ['HOME']}\\n")


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        (75, EffectError, "asks to be tried again"),
        (1, EffectRefused, "failed with exit code 1; it said: no such queue"),
        (-9, EffectUntold, "was ended by signal 9"),
    ],
)
def test_its_exit_code_says_what_became_of_it(code: int, error: type[EffectError], says: str) -> None:
    end = f"os.kill(os.getpid(), {-code})" if code < 0 else f"sys.exit({code})"
    program = f"import os, sys; print('no such queue', flush=True); {end}"
    with pytest.raises(error, match=says) as raised:
        channel(program).deliver(handoff(1))
    assert type(raised.value) is error


def test_a_program_that_is_not_there_is_refused_for_good() -> None:
    missing = CommandChannel("tickets", CommandDeclared(kind="command", argv=("./nowhere",)))
    with pytest.raises(EffectRefused, match="tickets: the program for handoff hnd-1 cannot be started: No such file"):
        missing.deliver(handoff(1))


HANGS = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""


def test_a_program_that_hangs_is_killed_in_time_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(EffectUntold, match="was killed after 1 s"):
        channel(HANGS, str(tmp_path / "pids"), timeout=1).deliver(handoff(1))
    assert time.monotonic() - began < 5
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        assert gone(pid)


def test_what_a_program_leaves_running_is_killed_and_does_not_hold_it_up(tmp_path: Path) -> None:
    leaves = HANGS.replace("time.sleep(60)\n", "") + "\n"
    began = time.monotonic()
    channel(leaves, str(tmp_path / "pids")).deliver(handoff(1))
    assert time.monotonic() - began < 5
    assert gone(int((tmp_path / "pids").read_text().split()[1]))


def gone(pid: int) -> bool:
    """Whether that process runs no more; it may take a moment until somebody has buried it."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_output_without_an_end_is_cut_and_costs_its_own_handoff_only() -> None:
    with pytest.raises(EffectUntold) as raised:
        channel("while True: print('x' * 1000)", timeout=1).deliver(handoff(1))
    assert len(str(raised.value)) < 3_000


def test_a_program_that_reads_nothing_is_fine() -> None:
    assert channel("pass").deliver(handoff(1)) == Receipt()
