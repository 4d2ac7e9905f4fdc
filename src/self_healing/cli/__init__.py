"""The command line. A command's module is imported only when it is called, so that each costs no more than its own."""

from __future__ import annotations

import gc
import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App

NAME = "self-healing"
ABOUT = "Lets a fleet of AI agents heal itself: telemetry, triggers, constitution, actions, verification, learning."

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run:run", "Run the service until it is stopped."),
    "demo": ("demo:demo", "Break a simulated fleet in seven ways, and watch it heal."),
    "simulate": ("simulate:simulate", "See what the loop would do about a simulated fleet's troubles."),
    "init": ("init:init", "Write a commented self-healing.toml, in observe mode."),
    "check": ("check:check", "Run one whole cycle: read what is new, evaluate, act."),
    "status": ("status:status", "Show how fleet and framework are; --health for a verdict."),
    "watch": ("watch:watch", "Show the fleet, what is wrong and what is done, until Ctrl-C."),
    "events": ("events:events", "Show what happened in the fleet; --follow for what happens."),
    "triggers": ("triggers:app", "List the triggers; show, enable, disable, backtest."),
    "explain": ("explain:explain", "Show why a trigger fired, or did not; now or --at a time."),
    "actions": ("actions:actions", "List the actions, and how well they work."),
    "incidents": ("incidents:app", "List what is wrong; show, ack, close."),
    "silences": ("silences:app", "List what is muted; add, remove."),
    "directives": ("directives:app", "List the settings in force; undo."),
    "history": ("history:history", "Show what was done, and what came of it."),
    "approvals": ("approvals:app", "List what waits for a person's yes; show, approve, deny."),
    "handoffs": ("handoffs:app", "List the work handed over; show, accept, complete, fail."),
    "doctor": ("doctor:doctor", "Look whether all is in place, and whether triggers fit."),
    "drill": ("drill:drill", "Send a fault on purpose, and time how it is healed."),
    "constitution": ("constitution:app", "Show the articles and the denials; explain, test."),
    "ingest": ("ingest:app", "Bring in telemetry that is no native file: junit."),
    "audit": ("audit:app", "Verify the log of decisions; export it."),
    "backup": ("copying:backup", "Copy the state; a service may run meanwhile."),
    "restore": ("copying:restore", "Bring a copy of the state back."),
    "config": ("config:app", "Validate the configuration; print its schema."),
    "completion": ("completion:completion", "Print the script by which a shell completes these commands."),
    "stop-healing": ("stopping:stop_healing", "Stop every effect at once, until a person resumes."),
    "resume-healing": ("stopping:resume_healing", "Let effects happen again."),
}
"""Each command, where it is, and what it does."""

GROUPS = {
    "The service": (
        "run",
        "check",
        "status",
        "ingest",
        "backup",
        "restore",
        "init",
        "doctor",
        "drill",
        "demo",
        "simulate",
        "completion",
    ),
    "What is wrong": ("watch", "incidents", "explain", "silences", "triggers", "events"),
    "What is done": ("history", "actions", "directives", "approvals", "handoffs"),
    "The rules": ("constitution", "audit", "config", "stop-healing", "resume-healing"),
}
"""The commands as the overview shows them."""

EXIT_CODES = """\
Exit codes: 0 it did its work; 1 it could not, and stderr says why; 130 Ctrl-C ended it.
status --health: 0 healthy, 1 degraded, 2 unhealthy. check --exit-code: 3 while incidents are open."""


def main() -> None:
    """Run one command and exit with its code."""
    words = sys.argv[1:]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that this terminal cannot show is no failure
    if words[:1] == ["status"] and "--watch" not in words:
        # It is over before the collector finds anything, and what it looks for takes an eighth of the time.
        gc.disable()
    raise SystemExit(execute(words))


def overview() -> str:
    """What there is, for somebody who asks for help."""
    width = max(map(len, COMMANDS))
    lines = [f"Usage: {NAME} COMMAND", "", ABOUT]
    for heading, names in GROUPS.items():
        lines += ["", f"{heading}:", *(f"  {name:<{width}}  {COMMANDS[name][1]}" for name in names)]
    return "\n".join([*lines, "", EXIT_CODES, f"{NAME} COMMAND --help says more."])


def build() -> App:
    """Every command, each to be imported when it is called."""
    from cyclopts import App, Parameter

    app = App(
        name=NAME, help=ABOUT, help_format="plaintext", version=_version, default_parameter=Parameter(negative=())
    )
    for name, (place, what) in COMMANDS.items():
        # A single command says more in its own docstring; a group of them has none.
        about = {"help": what} if place.endswith(":app") else {}
        app.command(f"{__name__}.{place}", name=name, **about)
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("agency-self-healing")


def execute(words: list[str]) -> int:
    """Run one command; returns its exit code. What it could not do is said on stderr, in one message."""
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        import os

        # Whoever read our output has enough of it; without this, Python complains when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(words: list[str]) -> int:
    """The same, but for a reader that has seen enough. Raises BrokenPipeError."""
    if words in ([], ["--help"], ["-h"]):
        # Not left to Cyclopts and Rich, which need 0.3 s for it.
        print(overview())
        return 0
    from cyclopts import (
        CycloptsError,
        MissingArgumentError,
        UnknownCommandError,
        UnknownOptionError,
        UnusedCliTokensError,
    )

    from self_healing.errors import SelfHealingError

    try:
        code = build()(words, result_action="return_value", exit_on_error=False, print_error=False)
    except BrokenPipeError:
        raise
    except UnusedCliTokensError as error:
        return _failed(_unused(words[0], list(error.unused_tokens or ())))
    except MissingArgumentError as error:
        # What there is, is what a group of commands lists without more words.
        grouped = COMMANDS[words[0]][0].endswith(":app")
        return _failed(
            f"{error} `{NAME} {words[0]}{'` lists what there is' if grouped else ' --help` says what it takes'}"
        )
    except UnknownCommandError as error:
        return _failed(f"{str(error).partition(' Available')[0]} `{NAME} --help` lists what there is")
    except UnknownOptionError as error:
        return _failed(f"{error} `{' '.join((NAME, *(error.command_chain or ())))} --help` says what it takes")
    except (CycloptsError, SelfHealingError, OSError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


def _unused(command: str, unused: list[str]) -> str:
    """That `command` does not take `unused`, and what was perhaps meant."""
    import difflib

    near = difflib.get_close_matches(unused[0], [str(word) for word in build()[command]], n=1) if unused else []
    meant = f"did you mean {near[0]}? " if near else ""
    return (
        f"{' '.join(unused)}: {command} takes nothing of that name; {meant}`{NAME} {command} --help` says what it takes"
    )


def _failed(message: str) -> int:
    from self_healing.handoffs.cleaning import escape

    # Names in it may come from telemetry, and a terminal obeys control characters.
    lines = [escape(line) for line in message.splitlines() if line.strip()]
    print(f"{NAME}: " + "\n  ".join(lines), file=sys.stderr)
    return 1
