"""What is installed is found where the agents of a project may run, without importing it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from self_healing.cli.connecting import SOURCES, installed
from self_healing.cli.init import init

HOW_TO = Path(__file__).parents[3] / "docs/how-to/sources"


def package(environment: Path, name: str) -> None:
    directory = environment / f"lib/python3.11/site-packages/{name.replace('-', '_')}-1.0.dist-info"
    directory.mkdir(parents=True)
    (directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


def found(directory: Path, monkeypatch: pytest.MonkeyPatch, **environ: str) -> list[str]:
    monkeypatch.setattr("sys.path", [])
    return [each.name for each in installed(directory, environ)]


def test_nothing_is_found_where_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(tmp_path, monkeypatch) == []


@pytest.mark.parametrize("beside", [".venv", "venv"])
def test_an_environment_beside_the_file_is_looked_through(
    beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path / beside, "CrewAI")
    assert found(tmp_path, monkeypatch) == ["CrewAI"]


def test_an_active_environment_is_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "theirs", "pydantic_ai_slim")
    assert found(tmp_path, monkeypatch, VIRTUAL_ENV=str(tmp_path / "theirs")) == ["Pydantic AI"]


def test_a_program_is_found_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/codex"
    program.parent.mkdir()
    program.touch(0o755)
    assert found(tmp_path, monkeypatch, PATH=str(program.parent)) == ["Codex"]


def test_the_directory_that_a_variable_names_is_made_in_place_of_the_one_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SELF_HEALING_TELEMETRY_DIR", "theirs")
    assert init() == 0
    assert {each.name for each in tmp_path.iterdir()} == {"self-healing.toml", "theirs"}


def test_the_documentation_has_a_page_for_each() -> None:
    for source in SOURCES:
        page = (HOW_TO / f"{source.page}.md").read_text()
        assert re.search(re.escape(source.name.split(",")[0]), page, re.IGNORECASE), source
