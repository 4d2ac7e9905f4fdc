"""Looking changes nothing: every GET of the API and of the dashboard leaves all that is kept as it was."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from starlette.routing import Route

from self_healing.api.v1.app import PATH, api
from self_healing.dashboard.pages import Pages
from self_healing.labelling import HEADER
from self_healing.model import Approval, Decision, Execution, Handoff, Incident
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.storage.readonly import DATABASE
from self_healing.storage.schema import metadata
from tests.unit.api.test_v1 import fleet_in
from tests.unit.dashboard.test_pages import get, serving

BESIDE = ("/metrics", "/healthz", "/readyz", "/static/style.css", f"{PATH}/openapi.json")


def kept(loop: SelfHealingOrchestrator) -> dict[str, Any]:
    """Every row of every table, and what every other file holds."""
    rows = {name: sorted(map(repr, loop.store.rows(sa.select(table)))) for name, table in metadata.tables.items()}
    storage = loop.settings.storage
    below = (
        path for root in (storage.state_dir, storage.logs_dir, loop.settings.telemetry.dir) for path in root.rglob("*")
    )
    # The files of the database itself differ by who reads them.
    return rows | {
        str(each): each.read_bytes() for each in below if each.is_file() and not each.name.startswith(DATABASE)
    }


def looks(loop: SelfHealingOrchestrator) -> list[str]:
    """The path of every GET, each about something that there is."""
    nothing = cast("Any", dict)  # only the routes are looked at
    pages = Pages(nothing, nothing, nothing, nothing, nothing, nothing).routes()
    paths = [each.path for each in pages if isinstance(each, Route) and "GET" in (each.methods or ())]
    told = api().openapi()["paths"].items()
    paths += [PATH + path for path, operations in told if "get" in operations and path != "/changes"]  # it does not end
    kinds: dict[str, Any] = {
        "incidents": Incident,
        "handoffs": Handoff,
        "approvals": Approval,
        "decisions": Decision,
        "executions": Execution,
    }
    known: dict[str, str] = {name: loop.store.select(kind)[0].id for name, kind in kinds.items()}
    known |= {"triggers": "slow_tasks", "agents": "Tester"}
    named = [re.sub(r"/(\w+)/{[^}]*}", lambda found: f"/{found[1]}/{known[found[1]]}", path) for path in paths]
    return [*BESIDE, *(f"{path}?threshold=70" if path.endswith("/try") else path for path in named)]


def test_nothing_is_changed_by_a_get(tmp_path: Path) -> None:
    with fleet_in(tmp_path) as fleet, serving(fleet.loop, environment="staging") as port:
        paths, before = looks(fleet.loop), kept(fleet.loop)
        answers = {path: get(port, path) for path in paths}
        assert {path: status for path, (status, _, _) in answers.items() if status != 200} == {}
        assert {headers[HEADER] for _, _, headers in answers.values()} == {"staging"}  # and each says of which fleet
        assert kept(fleet.loop) == before
    assert len(paths) > 40
    assert before["incidents"]
    assert before["audit"]
