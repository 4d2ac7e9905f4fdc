"""What is under deploy/: it speaks of metrics, commands, settings and directories that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.api.test_server import refuse, request, serving
from tests.unit.triggers.promtool import NOT_HERE, promtool

DEPLOY = Path(__file__).parents[2] / "deploy"
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
