"""The documentation is true: its code runs, its links lead somewhere, its tables name all there is.

Every ``python`` block of a page is run, in order, in one fresh namespace and an empty working directory.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cyclopts import App
from pydantic import BaseModel

from docs import api, healing, measured, tables
from self_healing.actions.registry import read_actions
from self_healing.cli import build, execute
from self_healing.config import SETTING_KEYS, VARIABLE_PREFIX, Settings, load_spec
from self_healing.constitution.articles import load
from self_healing.constitution.cases import run_cases
from self_healing.constitution.gate import Gate
from self_healing.constitution.own import read_own
from self_healing.handoffs.declared import CHANNEL_KINDS
from self_healing.model import ExecutionStatus, Handoff, HandoffStatus, Outcome, Reason
from self_healing.simulation import scenario
from self_healing.spec import ActionSpec, Limits, TriggerSpec
from self_healing.spec_tests.models import Case, CaseFile, Expectation, Series
from self_healing.spec_tests.running import run_files
from self_healing.spec_tests.telling import told
from self_healing.surface import open_surface
from self_healing.telemetry.lines import BadLine
from self_healing.telemetry.signals import GROUP_COLUMNS
from self_healing.triggers.declared import read_triggers
from tests.unit.api.test_mcp_server import TOKEN, served

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SHARED_OPTIONS = {"--telemetry-dir", "--state-dir", "--logs-dir", "--config", "--format", "--watch"}
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
SENDING = sorted((DOCS / "how-to/sources").glob("*.md"))
"""Pages whose code sends to a service: they are run in ``tests/e2e/test_pages_that_send.py``."""
MCP = DOCS / "how-to/work-handoffs-over-mcp.md"
"""The page whose code asks a service for work."""
CLIENT = DOCS / "how-to/ask-from-python.md"
"""The page whose code asks a service by the client."""
TUTORIAL = DOCS / "tutorial/first-healing.md"
"""The page whose shell is run between its Python."""


def name_of(page: object) -> str:
    return page.relative_to(ROOT).as_posix() if isinstance(page, Path) else str(page)


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """The number of the first line and the text of each block of `language`."""
    text = page.read_text()
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start(1)) + 1, match[1]


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, by the rule that the site and the forges share."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(blocks(p, "python")) and p not in (*SENDING, MCP, CLIENT, TUTORIAL)], ids=name_of
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(VARIABLE_PREFIX)]:
        monkeypatch.delenv(name)
    namespace: dict[str, object] = {"__name__": "__page__"}
    for line, code in blocks(page, "python"):
        # Blank lines in front make a traceback point at the page's own line.
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)


def comparable(text: str) -> str:
    """What is printed, without what each run has others of: ids, instants, how long it took, and so widths."""
    for varies, stands in ((r"\b(inc|han)-\w+", r"\1"), (r"\d{4}-\d\d-\d\d ", ""), (r"\d\d:\d\d:\d\d", "TIME")):
        text = re.sub(varies, stands, text)
    text = re.sub(r"(1 of 1 +1 +)\S.*", r"\1SPAN", text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def test_the_tutorial_prints_what_its_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    for name in [name for name in os.environ if name.startswith(VARIABLE_PREFIX)]:
        monkeypatch.delenv(name)
    namespace: dict[str, Any] = {"__name__": "__page__"}
    for match in re.finditer(r"^```(python|console)\n(.*?)^```$", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL):
        if match[1] == "python":
            exec(match[2], namespace)
            continue
        for words, shown in re.findall(r"^\$ self-healing (.*)\n((?:(?!\$ ).*\n)*)", match[2], re.MULTILINE):
            capsys.readouterr()
            assert execute(re.sub(r"inc-\w+", namespace["handoff"]["incident"], words).split()) == 0
            printed = comparable(capsys.readouterr().out)
            pieces = [comparable(piece) for piece in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
            assert re.fullmatch(r"[\s\S]*".join(map(re.escape, pieces)), printed), printed


def test_the_python_of_the_page_on_mcp_works_a_handoff_of_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compile("\n".join(code for _, code in blocks(MCP, "python")), str(MCP), "exec")

    async def run() -> None:
        async with served(tmp_path) as (service, address):
            monkeypatch.setenv("SERVICE", address)
            monkeypatch.setenv("SELF_HEALING_SERVER_TOKEN", TOKEN)
            await asyncio.to_thread(exec, program, {"__name__": "__page__"})
            done = service.loop.store.get(Handoff, "hnd-1")
            assert (done.status, done.result) == (HandoffStatus.COMPLETED, "The tool is tried twice at most.")
            assert service.loop.store.get(Handoff, "hnd-2").status is HandoffStatus.DELIVERED

    asyncio.run(run())


def test_the_python_of_the_page_on_the_client_asks_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = compile("\n".join(code for _, code in blocks(CLIENT, "python")), str(CLIENT), "exec")

    async def run() -> None:
        async with served(tmp_path) as (service, address):
            monkeypatch.setenv("SERVICE", address)
            monkeypatch.setenv("SELF_HEALING_SERVER_TOKEN", TOKEN)
            await asyncio.to_thread(exec, program, {"__name__": "__page__"})
            assert {each.status for each in service.loop.store.select(Handoff)} == {HandoffStatus.ACCEPTED}

    asyncio.run(run())


@pytest.mark.parametrize("name", tables.TABLES)
def test_the_tables_of_the_reference_are_what_the_code_says(name: str) -> None:
    path, text = tables.page(name)
    assert path.read_text(encoding="utf-8") == text, "run python docs/tables.py"


def test_more_is_said_only_about_settings_that_there_are() -> None:
    assert set(tables.SEE) <= {*SETTING_KEYS, "constitution.limits"}


@pytest.mark.parametrize("of", [healing, measured], ids=["healing", "measured"])
def test_the_tables_of_what_was_measured_are_of_what_was_kept_of_it(of: ModuleType) -> None:
    kept = json.loads((healing.RUNS if of is healing else measured.KEPT).read_text())
    text = of.PAGE.read_text(encoding="utf-8")
    assert all(f"\n{table}\n" in text for table in of.tables(kept).values())


def test_the_reference_of_the_api_is_its_openapi() -> None:
    assert api.PAGE.read_text(encoding="utf-8") == api.page(), "run python docs/api.py"


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page, "json"))], ids=name_of)
def test_the_json_of_a_page_is_one_document_a_line(page: Path) -> None:
    for _, text in blocks(page, "json"):
        for line in text.splitlines():
            json.loads(line)


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page, "toml"))], ids=name_of)
def test_the_toml_of_a_page_is_accepted(page: Path, tmp_path: Path) -> None:
    for line, text in blocks(page, "toml"):
        file = tmp_path / f"{line}.toml"
        file.write_text(text)
        document = tomllib.loads(text)
        if "trigger" in document:
            assert read_triggers([file]).problems == ()
            shutil.copy(file, tmp_path / "triggers.toml")  # as the tests of them on the same page name it
        elif "test" in document:
            ran = run_files([file], Settings(), load_spec(Settings()))
            assert [line for each in ran for line in told(each)] == []
        elif "maintenance" in document:
            assert len(load_spec(Settings.model_validate({"triggers": {"files": [file]}})).maintenance) == 1
        elif "case" in document:  # of the policies that the how-to writes
            own = tmp_path / "own.cedar"
            own.write_text("".join(text for _, text in blocks(DOCS / "how-to/forbid.md", "cedar")))
            gate = Gate(own=read_own([own]).specs)
            assert [each for each in run_cases([file], gate, Limits()) if not each.passed] == []
        elif "fault" in document:
            scenario.load(str(file))
        elif "action" in document:
            assert read_actions([file]).problems == ()
        else:
            Settings.model_validate(document)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "zensical.toml").read_text()
    listed = set(re.findall(r'= "([^"]+\.md)"', text))
    assert listed == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


def undocumented(names: Iterable[str], page: str) -> set[str]:
    """Those of `names` that have no row in a table of that page of the reference."""
    text = (DOCS / "reference" / page).read_text()
    return {name for name in names if f"\n| `{name}` |" not in text}


@pytest.mark.parametrize(
    ("model", "page"),
    [
        (TriggerSpec, "triggers.md"),
        (ActionSpec, "actions.md"),
        (Limits, "constitution.md"),
        *((kind, "channels.md") for kind in CHANNEL_KINDS),
        (CaseFile, "trigger-tests.md"),
        (Case, "trigger-tests.md"),
        (Series, "trigger-tests.md"),
        (Expectation, "trigger-tests.md"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_field_is_documented(model: type[BaseModel], page: str) -> None:
    assert undocumented((field.alias or name for name, field in model.model_fields.items()), page) == set()


def commands(app: App, name: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str], set[str]]]:
    """Each command with its arguments and its options, those that all share left out."""
    for word in [word for word in app if not word.startswith("-")]:
        yield from commands(app[word], (*name, word))
    if name and app.default_command is not None:
        taken = [argument for argument in app.assemble_argument_collection() if argument.show]
        arguments = {each.name.removeprefix("--").upper() for each in taken if each.index is not None}
        options = {each.name for each in taken if each.index is None and each.name not in SHARED_OPTIONS}
        yield " ".join(name), arguments, options


def test_every_command_is_documented_with_all_that_it_takes() -> None:
    text = (DOCS / "reference/commands.md").read_text()
    sections = dict(re.findall(r"^### ([a-z -]+[a-z])(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL))
    missing = set()
    for name, arguments, options in commands(build()):
        same_as = name.removesuffix(" list")
        section = sections.get(same_as, "")
        if not section or (same_as != name and f"`{name}` is the same" not in section):
            missing.add(name)
        for argument in arguments:
            if not re.match(rf"(?: [A-Z]+)* {argument}(?: [A-Z]+)*\n", section) or f"\n| `{argument}` |" not in section:
                missing.add(f"{name} {argument}")
        for option in options:
            if not re.search(rf"^\| `{option}[ `]", section, re.MULTILINE):
                missing.add(f"{name} {option}")
    assert missing == set()
    assert set(sections) == {name for name, _, _ in commands(build())} - {f"{name} list" for name in sections}


def test_the_options_that_commands_share_are_documented() -> None:
    text = (DOCS / "reference/commands.md").read_text()
    assert {option for option in SHARED_OPTIONS if not re.search(rf"^\| `{option}[ `]", text, re.MULTILINE)} == set()


def test_every_reason_of_the_constitution_is_documented_as_it_is() -> None:
    text = (DOCS / "reference/constitution.md").read_text()
    policies = [(each.id, article.number, each.outcome) for article in load().infos() for each in article.policies]
    assert [policy for policy in policies if "\n| `{}` | {} | {} |".format(*policy) not in text] == []


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (Reason, "triggers.md"),
        (BadLine, "signals.md"),
        (set(ExecutionStatus) - {ExecutionStatus.INTENDED}, "actions.md"),
        (Outcome, "constitution.md"),
    ],
    ids=["verdicts", "quarantine", "executions", "outcomes"],
)
def test_every_word_for_what_may_come_out_is_documented(words: Iterable[str], page: str) -> None:
    assert undocumented(words, page) == set()


def test_the_json_of_each_command_has_the_keys_that_the_page_names(tmp_path: Path) -> None:
    settings = Settings.model_validate({"storage": {"state_dir": tmp_path / "state", "logs_dir": tmp_path / "logs"}})
    with open_surface(settings, write=True) as surface:
        check, status = surface.call("check", {}), surface.call("status", {})
        health = surface.call("health", {})
    assert undocumented({*check, *check["telemetry"], *status, *health}, "json.md") == set()


def test_every_column_to_group_by_is_documented() -> None:
    text = (DOCS / "reference/signals.md").read_text()
    assert {column for column in GROUP_COLUMNS if f"`{column}`" not in text} == set()


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "site/index.html").exists()
