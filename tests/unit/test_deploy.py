"""What is under deploy/: it speaks of metrics, commands, settings and directories that there are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from self_healing.cli import build
from self_healing.cli.drill import drill
from self_healing.cli.run import run
from self_healing.config import VARIABLES
from tests.unit.api.test_server import refuse, request, serving
from tests.unit.triggers.promtool import NOT_HERE, promtool

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/self-healing.service"
DRILL = DEPLOY / "systemd/self-healing-drill.service"
CONTAINERFILE = DEPLOY / "Containerfile"
DASHBOARD = DEPLOY / "grafana/dashboard.json"
ALERTS = DEPLOY / "prometheus/alerts.yml"
PROMETHEUS_OWN = {"instance", "job", "alertname", "alertstate"}
"""Labels that Prometheus itself puts on a series."""


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """What `/metrics` answers: the labels of each name."""
    with serving(refuse) as server:
        status, _, body = request(server, "GET", "/metrics")
    assert status == 200
    families = text_string_to_metric_families(body.decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def expressions() -> Iterator[str]:
    """Every query of the dashboard."""
    found = json.loads(DASHBOARD.read_text())
    for panel in found["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (annotation["expr"] for annotation in found["annotations"]["list"])


@pytest.mark.parametrize("file", [DASHBOARD, ALERTS, ALERTS.with_name("alerts.test.yml")], ids=lambda file: file.name)
def test_every_metric_and_label_that_is_asked_for_is_exposed(file: Path, exposed: dict[str, set[str]]) -> None:
    text = file.read_text().replace('\\"', '"')
    assert set(re.findall(r"self_healing_\w+", text)) <= set(exposed)
    for name, selectors in re.findall(r"(self_healing_\w+)\{([^}]*)\}", text):
        assert set(re.findall(r"(\w+)\s*=~?", selectors)) <= exposed[name] | PROMETHEUS_OWN, name


def test_the_dashboard_groups_and_names_series_by_labels_that_there_are(exposed: dict[str, set[str]]) -> None:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            names = re.findall(r"self_healing_\w+", target["expr"])
            labels = set[str]().union(*(exposed[name] for name in names))
            asked = re.findall(r"by \((\w+)\)", target["expr"]) + re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            assert set(asked) <= labels, panel["title"]


def test_panels_of_the_dashboard_lie_side_by_side() -> None:
    taken = set[tuple[int, int]]()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at: dict[str, Any] = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_dashboard_shows_every_metric(exposed: dict[str, set[str]]) -> None:
    shown = {name for each in expressions() for name in re.findall(r"self_healing_\w+", each)}
    assert shown == set(exposed)


def test_prometheus_takes_the_alerts_and_each_fires_for_its_trouble_alone() -> None:
    program = promtool()
    if program is None:
        pytest.skip(NOT_HERE)
    command = [program, "test", "rules", ALERTS.with_name("alerts.test.yml").name]
    asked = subprocess.run(command, cwd=ALERTS.parent, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_every_alert_is_tested() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS.read_text()))
    tested = set(re.findall(r"SelfHealing[A-Z]\w+", ALERTS.with_name("alerts.test.yml").read_text()))
    assert alerts == tested


# -- the unit and the image


def settings_of(unit: str) -> dict[str, list[str]]:
    """What a unit says, all values of each key."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def image(instruction: str) -> list[str]:
    """The arguments of each such instruction of the Containerfile."""
    text = re.sub(r"\\\n\s*", "", CONTAINERFILE.read_text())
    return re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze here")
    # The command is not installed here, where the unit says, and it is not what is asked about.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/self-healing/bin/self-healing", "/bin/true"))
    asked = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (0, "")


def test_the_unit_and_the_image_start_a_command_that_there_is() -> None:
    program, *words = settings_of(UNIT.read_text())["ExecStart"][0].split()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(program).name in scripts
    assert [json.loads(each) for each in image("ENTRYPOINT")] == [[Path(program).name]]
    assert json.loads(image("CMD")[0]) == words
    command, bound, _ = build().parse_args(words, exit_on_error=False, print_error=False)
    assert command is run
    assert bound.arguments["shown"].config == Path("/etc/self-healing/self-healing.toml")


def test_the_drill_is_a_command_that_there_is_with_the_variables_of_the_service() -> None:
    service, one = settings_of(UNIT.read_text()), settings_of(DRILL.read_text())
    _, *words = one["ExecStart"][0].split()
    command, bound, _ = build().parse_args(words, exit_on_error=False, print_error=False)
    assert command is drill
    assert bound.arguments["shown"].config == Path("/etc/self-healing/self-healing.toml")
    assert one["Environment"] == service["Environment"]
    assert one["User"] == service["User"]
    assert one["Requisite"] == [UNIT.name]


def test_the_unit_and_the_image_set_variables_that_there_are_to_directories_of_their_own() -> None:
    unit, text = settings_of(UNIT.read_text()), CONTAINERFILE.read_text()
    directories = dict(each.split("=") for each in unit["Environment"])
    assert {*directories, *re.findall(r"SELF_HEALING_[A-Z_]+", text)} <= set(VARIABLES)
    assert set(directories.items()) <= set(re.findall(r"(SELF_HEALING_\w+)=(\S+)", text))
    written = [
        f"/var/lib/{unit['StateDirectory'][0]}",
        *(f"/var/log/{each}" for each in unit["LogsDirectory"][0].split()),
    ]
    assert sorted(directories.values()) == sorted(written)
    volumes = json.loads(image("VOLUME")[0])
    assert all(any(Path(each).is_relative_to(volume) for volume in volumes) for each in written)


def test_the_image_copies_what_there_is_and_runs_as_nobody_special() -> None:
    copied = [word for line in image("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert copied
    assert [word for word in copied if not (ROOT / word).exists()] == []
    assert image("USER") == ["10001:10001"]
    # Nobody else makes them: a fresh volume is a copy of what the image has there.
    directories = set(re.findall(r"SELF_HEALING_\w+_DIR=(\S+)", CONTAINERFILE.read_text()))
    assert directories <= set(image("RUN")[-1].split("install -d")[1].split())
    assert {line.split()[0] for line in image("FROM")} == {"python:3.11-slim"}


def test_the_image_is_healthy_while_the_service_is_ready_and_not_when_none_answers() -> None:
    _, check = image("HEALTHCHECK")[0].split("CMD ")
    _, *words = json.loads(check)

    def healthy(address: str) -> bool:
        command = [sys.executable, *(word.replace("127.0.0.1:8787", address) for word in words)]
        inherited = os.environ | {"http_proxy": "http://127.0.0.1:9"}
        return subprocess.run(command, capture_output=True, check=False, env=inherited).returncode == 0

    with serving(refuse) as server:
        address = server.addresses["port"].removeprefix("http://").rstrip("/")
        assert healthy(address)
    assert not healthy(address)
