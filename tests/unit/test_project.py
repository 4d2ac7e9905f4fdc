"""The repository itself: what is locked, what is tracked, what is named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))


def project_files() -> list[Path]:
    """What is tracked or would be, that is everything that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def pins(path: Path) -> dict[str, str]:
    """Name and version of each requirement."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ \\;]+)", path.read_text(), re.MULTILINE))


def test_there_are_locked_requirements_to_run_and_to_develop() -> None:
    assert [path.name for path in REQUIREMENTS] == ["dev.txt", "run.txt"]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_a_hash_and_without_an_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    # A requirement and its hashes are one logical line.
    logical = text.replace("\\\n", " ").splitlines()
    lines = [line for line in logical if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_what_runs_is_what_was_developed_with() -> None:
    run, dev = pins(ROOT / "requirements/run.txt"), pins(ROOT / "requirements/dev.txt")
    assert run
    assert {name: dev.get(name) for name in run} == run


def test_no_file_is_over_one_mebibyte() -> None:
    assert [path for path in project_files() if path.stat().st_size > 2**20] == []


def test_only_the_ci_script_looks_outside_of_the_checkout() -> None:
    outside = b"../" + b"shared"
    naming = {path.relative_to(ROOT).as_posix() for path in project_files() if outside in path.read_bytes()}
    assert naming <= {".ci/run"}


def test_the_changelog_has_an_unreleased_section_with_entries() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert unreleased is not None
    assert re.search(r"^- ", unreleased[1], re.MULTILINE)


def test_make_help_lists_every_command_that_has_a_word_of_help() -> None:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    told = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    declared = re.findall(r"^([^\s:.]+):.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"bench", "bench-peers"} < set(declared)
    assert [line.split()[1] for line in told.splitlines()] == declared


def test_a_comparison_without_a_peer_says_how_to_get_one(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")  # what was fetched lies beside it, in .cache
    command = [sys.executable, "-m", "benchmarks.peers"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("bench-peers: no apt-get and no dpkg here")
    assert "on the PATH or into .cache/prometheus/usr/bin" in ended.stderr
