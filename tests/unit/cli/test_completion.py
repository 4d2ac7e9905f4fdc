"""The shell completes what the command line has."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from self_healing.cli import COMMANDS, build, execute


@pytest.fixture(scope="module")
def bash() -> str:
    found = shutil.which("bash")
    if found is None:
        pytest.skip("no bash is installed, which completes what is tried here")
    return found


@pytest.fixture(scope="module")
def script() -> str:
    return build().generate_completion(prog_name="self-healing", shell="bash")


def completed(bash: str, script: str, *words: str) -> set[str]:
    """What bash offers for the last of `words`."""
    line = " ".join(f"'{word}'" for word in words)
    tab = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _self_healing; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    ran = subprocess.run([bash, "-c", f"{script}\n{tab}"], capture_output=True, text=True, check=True, timeout=20)
    return set(ran.stdout.split())


def test_every_command_is_offered(bash: str, script: str) -> None:
    assert completed(bash, script, "self-healing", "") >= set(COMMANDS)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tri",), {"triggers"}),
        (("triggers", "back"), {"backtest"}),
        (("status", "--hea"), {"--health"}),
        (("handoffs", "acc"), {"accept"}),
    ],
)
def test_commands_and_options_are_completed(bash: str, script: str, words: tuple[str, ...], offered: set[str]) -> None:
    assert completed(bash, script, "self-healing", *words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["completion", shell]) == 0
    assert "self-healing" in capsys.readouterr().out


def test_another_shell_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["completion", "tcsh"]) == 1
    assert 'Choose from: "bash", "zsh", "fish"' in capsys.readouterr().err
