"""The pages: each is answered from what the service says, escapes it, and changes nothing by a GET."""

from __future__ import annotations

import html
import http.client
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from self_healing.api.server import Server
from self_healing.clock import FakeClock
from self_healing.config import ServerSettings, Settings, StorageSettings, TelemetrySettings
from self_healing.constitution.checkpoints import verified
from self_healing.dashboard.changes import Changes
from self_healing.dashboard.pages import AFTER, SHOWN, _drawn
from self_healing.explaining.explain import explain
from self_healing.filenames import SEGMENTS
from self_healing.model import (
    Approval,
    CloseReason,
    Directive,
    Execution,
    ExecutionStatus,
    Handoff,
    Incident,
    IncidentState,
    Record,
)
from self_healing.orchestrator import SelfHealingOrchestrator
from self_healing.surface import Surface
from self_healing.telemetry.query.files import Places
from self_healing.testing import Scenario
from tests.conversion import conversion
from tests.scenarios.test_approvals import options as slow_tasks_erase
from tests.scenarios.test_causes import slow_by_model
from tests.unit.actions.test_directives import directive

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"
PAGES = [
    "/",
    "/incidents",
    "/triggers",
    "/triggers/slow_tasks",
    "/actions",
    "/agents",
    "/agents/Coder",
    "/handoffs",
    "/approvals",
    "/constitution",
    "/audit",
    "/stop",
]


def slow_task(agent: str) -> str:
    at = AT.timestamp()
    told = {"ts": AT.isoformat(), "type": "task_finished", "id": f"t-{agent}", "agent": agent, "status": "success"}
    return json.dumps({**told, "started_at": at - 90, "finished_at": at, "duration_s": 90.0}) + "\n"


@pytest.fixture
def loop(tmp_path: Any) -> Iterator[SelfHealingOrchestrator]:
    settings = Settings(
        telemetry=TelemetrySettings(dir=tmp_path / "telemetry"),
        storage=StorageSettings(state_dir=tmp_path / "state", logs_dir=tmp_path / "logs"),
    )
    settings.telemetry.dir.mkdir()
    with SelfHealingOrchestrator.open(settings, clock=FakeClock(AT)) as loop:
        (settings.telemetry.dir / "events-20260105.jsonl").write_text(slow_task("Coder") + slow_task(HOSTILE))
        loop.check(AT)
        yield loop


@contextmanager
def serving(
    loop: SelfHealingOrchestrator, environment: str = "", verify: Callable[[], Any] | None = None, **settings: Any
) -> Iterator[int]:
    async def ask(command: str, **arguments: Any) -> dict[str, Any]:
        return Surface(loop).call(command, arguments)

    given = {"otlp_http_port": None, "otlp_grpc_port": None, "port": 0, **settings}
    server = Server(
        ServerSettings(**given),
        submit=lambda *_: pytest.fail("nothing is sent here"),
        conversion=conversion(),
        ask=ask,
        places=Places(telemetry=loop.settings.telemetry.dir, segments=loop.settings.storage.state_dir / SEGMENTS),
        verify=verify or (lambda: verified(loop.settings.storage.state_dir, loop.settings.storage.logs_dir)),
        explain=lambda question: explain(loop.settings, question, now=loop.now(), ask=Surface(loop).call),
        changes=Changes(),
        now=loop.now,
        environment=environment,
    )
    server.start()
    try:
        yield int(server.addresses["port"].rpartition(":")[2])
    finally:
        server.stop()


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, str, http.client.HTTPMessage]:
    return _ask(port, "GET", path, None, headers or {})


def post(port: int, path: str, form: dict[str, str], headers: dict[str, str] | None = None) -> tuple[int, str]:
    kind = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return _ask(port, "POST", path, urlencode(form), kind)[:2]


def _ask(
    port: int, method: str, path: str, body: str | None, headers: dict[str, str]
) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def test_every_page_answers(loop: SelfHealingOrchestrator) -> None:
    ids = list(loop.register.open)
    with serving(loop) as port:
        answers = {path: get(port, path)[0] for path in [*PAGES, *(f"/incidents/{id}" for id in ids)]}
    assert len(ids) == 2
    assert set(answers.values()) == {200}


def test_the_page_of_a_parent_leads_to_each_incident_beneath_it(tmp_path: Path) -> None:
    with Scenario(tmp_path) as fleet:
        ill = slow_by_model(fleet)
        [parent] = [each for each in fleet.loop.register.open.values() if each.is_parent]
        children = {each.group[0][1]: each.id for each in fleet.loop.register.children(parent)}
        with serving(fleet.loop) as port:
            first, page = get(port, "/")[1], get(port, f"/incidents/{parent.id}")[1]
    assert f"/incidents/{parent.id}" in first
    assert list(children) == ill
    assert all(f'<a href="/incidents/{id}">{agent}</a>' in page for agent, id in children.items())


def test_the_first_page_says_what_is_wrong_and_what_was_done(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        page = get(port, "/")[1]
    assert "2 of 2 agents unwell, 2 incidents open" in page
    assert "analyze slow tasks" in page


def test_the_first_page_tells_how_the_fleet_is_apart_from_how_self_healing_is(loop: SelfHealingOrchestrator) -> None:
    loop.store.put(directive("max_retries", 2, owner="inc-a", expires_at=AT + timedelta(hours=1)))
    with serving(loop) as port:
        page = get(port, "/")[1]
    assert "self-healing itself <span class=" in page
    assert "1 directive in force · 0 denials" in page


def test_a_limit_and_what_is_used_of_it_have_the_same_unit(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        page = get(port, "/constitution")[1]
    (row,) = re.findall(r"<tr><td>blast radius percent</td>.*?</tr>", page)
    assert re.findall(r'<td class="number">(\d+ %)</td>', row) == ["0 %", "10 %"]


def test_the_constitution_shows_what_it_decided_last_and_not_only_what_it_denied(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        page = get(port, "/constitution")[1]
    decided = page[page.index("Recent decisions") : page.index("Recent denials")]
    assert all(f"/incidents/{id}" in decided for id in loop.register.open)
    assert "allow</span></td><td>none" in decided


def test_a_page_that_nothing_changed_tells_the_present_all_the_same(loop: SelfHealingOrchestrator) -> None:
    assert isinstance(loop.clock, FakeClock)
    with serving(loop) as port:
        before = get(port, "/")[1]
        loop.clock.advance(600)
        after = get(port, "/")[1]
    assert 'data-now="2026-01-05T10:00:00+00:00"' in before
    assert 'data-now="2026-01-05T10:10:00+00:00"' in after


def test_text_of_telemetry_is_never_markup(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        pages = [get(port, path)[1] for path in [*PAGES, *(f"/incidents/{id}" for id in loop.register.open)]]
    assert not any(HOSTILE in page for page in pages)
    assert any("&lt;script&gt;alert(1)" in page for page in pages)


def test_no_page_may_load_anything_from_elsewhere_or_be_framed(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        policy = get(port, "/")[2]["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy


def test_the_page_of_an_incident_shows_similar_past_ones_and_what_came_of_them(loop: SelfHealingOrchestrator) -> None:
    coder, other = sorted(loop.register.open.values(), key=lambda each: dict(each.group)["agent"] != "Coder")
    with serving(loop) as port:
        before = get(port, f"/incidents/{coder.id}")[1]
        post(port, f"/incidents/{other.id}/close", {"by": "Ada", "reason": "a test"})
    with serving(loop) as port:
        page = get(port, f"/incidents/{coder.id}")[1]
    assert "Similar past incidents" not in before
    similar = page.partition("Similar past incidents")[2]
    assert f'href="/incidents/{other.id}"' in similar
    assert "dismissed" in similar
    assert "analyze slow tasks: dispatched" in similar


def test_the_newest_incident_comes_first(loop: SelfHealingOrchestrator) -> None:
    newest = [each["incident"] for each in Surface(loop).call("history", {})["history"]]
    with serving(loop) as port:
        page = get(port, "/incidents")[1]
    assert [page.index(f'id="row-{id}"') for id in newest] == sorted(page.index(f'id="row-{id}"') for id in newest)
    assert len(newest) > 1


def test_the_evidence_of_a_handoff_is_a_page_and_no_heap_of_braces(loop: SelfHealingOrchestrator) -> None:
    handoff = Surface(loop).call("records", {"kind": "handoffs"})["handoffs"][0]["id"]
    with serving(loop) as port:
        page = get(port, f"/handoffs/{handoff}")[1]
    evidence = page[page.index("Evidence</h2>") : page.index("The same as JSON")]
    assert "<dt>times threshold</dt>" in evidence
    assert "{" not in evidence


def test_a_table_of_evidence_shows_what_any_of_its_rows_says_and_how_many_were_cut(
    loop: SelfHealingOrchestrator,
) -> None:
    handoff = loop.store.select(Handoff)[0]
    sent = {"at": "noon", "since": "2026-13-45T10:00:00Z", "until": "2026-01-05T10:00:00Z"}
    rows = [{"task": "runs", "age_s": 120}, {"task": "ended", "tokens": 7, "attributes": sent}, "(9 more)"]
    differs = [{"name": "model", "value": "m-2", "share_here": 1.0, "share_elsewhere": 0.316}]
    context = {**handoff.message["context"], "examples": rows, "differs": differs}
    loop.store.put(msgspec.structs.replace(handoff, message={**handoff.message, "context": context}))
    with serving(loop) as port:
        page = get(port, f"/handoffs/{handoff.id}")[1]
    assert "<th>task</th><th>age</th><th>tokens</th>" in page
    assert "<td>runs</td><td>2m</td><td>-</td>" in page
    assert "<td>ended</td><td>-</td><td>7</td>" in page
    told = re.sub(r">\s+", ">", page)
    assert "<dt>at</dt><dd>noon</dd><dt>since</dt><dd>2026-13-45T10:00:00Z</dd><dt>until</dt><dd><time" in told
    assert "<td>m-2</td><td>100 %</td><td>31.6 %</td>" in page
    assert "<p>(9 more)</p>" in page


def test_an_incident_that_is_none_is_said_to_be_none(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        status, page, _ = get(port, "/incidents/inc-none")
    assert (status, "inc-none" in page) == (404, True)
    assert "<h1>There is none of that name</h1>" in page
    assert '<a href="/incidents">To Incidents</a>' in page


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", f"/incidnets/{HOSTILE}", 404, "There is no such page"),
        ("GET", "/mcpx", 404, "There is no such page"),
        ("GET", "/incidents/inc-1/ack", 405, "Go back to the page that led here"),
        ("POST", "/triggers", 405, "Go back to the page that led here"),
        ("GET", "/audit", 500, "failed at this in a way that nobody foresaw (ZeroDivisionError); its log says where."),
    ],
)
def test_what_no_page_answers_is_a_page_for_people_and_problem_details_for_programs(
    loop: SelfHealingOrchestrator, method: str, path: str, status: int, says: str
) -> None:
    with serving(loop, environment="staging", verify=lambda: 1 / 0) as port:
        person = _ask(port, method, quote(path), None, {"Accept": "text/html"})
        head = _ask(port, "HEAD", quote(path), None, {"Accept": "text/html"})
        program = _ask(port, method, quote(path), None, {})
        api = _ask(port, method, f"/api/v2{quote(path)}", None, {"Accept": "text/html"})
    assert (person[0], head[:2], program[0], api[0]) == (status, (status if method == "GET" else 200, ""), status, 404)
    assert says in person[1]
    assert '<nav aria-label="Pages">' in person[1]
    assert '<span class="environment">staging</span>' in person[1]
    assert (f'hx-get="{path}"' in person[1]) == (status == 500)  # that is followed until it can be shown
    assert HOSTILE not in person[1]
    assert "script-src 'self';" in person[2]["Content-Security-Policy"]
    assert (person[2]["Cache-Control"], person[2].get("Allow", "")) == ("no-store", program[2].get("Allow", ""))
    assert ("Allow" in person[2]) == (status == 405)
    assert [json.loads(each[1])["status"] for each in (program, api)] == [status, 404]
    assert {each[2]["Content-Type"] for each in (program, api)} == {"application/problem+json"}


def test_the_page_of_an_agent_says_which_directives_hold_and_what_they_replaced(loop: SelfHealingOrchestrator) -> None:
    until = AT + timedelta(hours=1)
    loop.store.put(
        directive("max_retries", 2, id="dir-1", owner="inc-a", replaced=5, expires_at=until),
        directive("max_retries", 4, id="dir-2", owner="inc-b", expires_at=until),
    )
    with serving(loop) as port:
        page = get(port, "/agents/Coder")[1]
    assert "<td>max_retries</td><td>2</td><td>5</td><td>effective</td>" in page
    overridden = 'overridden by 2 of <a href="/incidents/inc-a">inc-a</a>'
    assert f"<td>max_retries</td><td>4</td><td>-</td><td>{overridden}</td>" in page


def test_a_form_acts_and_leads_on(loop: SelfHealingOrchestrator) -> None:
    id = next(iter(loop.register.open))
    with serving(loop) as port:
        status, _ = post(port, f"/incidents/{id}/ack", {"by": "Ada", "reason": "looking"})
        page = get(port, f"/incidents/{id}")[1]
    assert (status, "seen by Ada" in page) == (303, True)


def test_the_stop_is_set_and_taken_back(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        post(port, "/stop", {"by": "Ada", "reason": "a drill"})
        stopped = get(port, "/")[1]
        post(port, "/resume", {"by": "Bob", "reason": "it is over"})
        resumed = get(port, "/stop")[1]
    assert "Healing is stopped" in stopped
    assert "Stopped by Ada: a drill" in stopped
    assert "Stop healing" in resumed


def test_a_form_without_what_it_needs_changes_nothing(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        status, page = post(port, "/stop", {"by": "Ada"})
        after = get(port, "/stop")[1]
    assert (status, "reason" in page) == (400, True)
    assert "Stop healing" in after


def test_a_form_is_about_what_its_path_names_whatever_else_it_says(loop: SelfHealingOrchestrator) -> None:
    one, other = loop.register.open
    with serving(loop) as port:
        form = {"by": "Ada", "reason": "seen", "id": other, "command": "stop"}
        status, _ = post(port, f"/incidents/{one}/ack", form)
    assert status == 303
    seen = {id: incident.acknowledged_by for id, incident in loop.register.open.items()}
    assert seen == {one: "Ada", other: None}


def test_an_agent_is_shown_what_concerned_it_however_much_came_of_others_since(loop: SelfHealingOrchestrator) -> None:
    store, id = loop.store, next(each.id for each in loop.register.open.values() if ("agent", "Coder") in each.group)
    old, [handoff] = store.get(Incident, id), store.select(Handoff, incident=id)
    closed = {"state": IncidentState.CLOSED, "closed_at": AT, "close_reason": CloseReason.HEALED}
    store.put(
        msgspec.structs.replace(old, id="inc-old", **closed),
        *(msgspec.structs.replace(old, id=f"inc-{at}", group=(("agent", "B"),), **closed) for at in range(600)),
        *(msgspec.structs.replace(handoff, id=f"han-{at}", about="B", target_agent="C") for at in range(600)),
    )
    with serving(loop) as port:
        page = get(port, "/agents/Coder")[1]
        lists = [re.findall(rf'href="(/{kind}\?agent=[^"]+)"', page)[0] for kind in ("incidents", "handoffs")]
        incidents, handoffs = (get(port, each)[1] for each in lists)
        others = get(port, "/incidents?agent=B")[1]
        [older] = re.findall(r'href="(/incidents\?agent=B&amp;cursor=[^"]+)"', others)
        following = get(port, html.unescape(older))[1]
    assert ("/incidents/inc-old" in page, f"/handoffs/{handoff.id}" in page) == (True, True)
    assert set(re.findall(r'href="/incidents/([^"]+)"', incidents)) == {id, "inc-old"}
    assert set(re.findall(r'href="/handoffs/([^"]+)"', handoffs)) == {handoff.id}
    shown = [re.findall(r'<td><a href="/incidents/inc-([^"]+)"', each) for each in (others, following)]
    assert shown == [[str(at) for at in range(599, 499, -1)], [str(at) for at in range(499, 399, -1)]]
    assert '<a href="/incidents">Those of all agents</a>' in incidents


def test_who_undid_a_directive_is_led_to_the_page_of_its_agent(loop: SelfHealingOrchestrator) -> None:
    set_now = directive("max_retries", 2, owner="inc-a", expires_at=AT + timedelta(hours=1))
    loop.store.put(set_now)
    with serving(loop) as port:
        form = urlencode({"by": "Ada", "reason": "x"})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        page = get(port, f"/agents/{set_now.agent}")[1]
        [action] = re.findall(r'action="([^"]+/undo/[^"]+)"', page)
        asked = [_ask(port, "POST", action, form, kind) for _ in range(2)]
    led_to = [(status, headers["Location"]) for status, _, headers in asked]
    assert led_to == [(303, f"/agents/{set_now.agent}")] * 2  # the second time it was over already
    assert loop.store.get(Directive, set_now.id).undone_reason == "Ada: x"


def test_a_form_that_comes_too_late_is_a_conflict(loop: SelfHealingOrchestrator) -> None:
    id, who = next(iter(loop.register.open)), {"by": "Ada", "reason": "it is none"}
    with serving(loop) as port:
        first, _ = post(port, f"/incidents/{id}/close", who)
        second, page = post(port, f"/incidents/{id}/close", who)
    assert (first, second) == (303, 409)
    assert "Not done" in page


def test_a_chart_of_an_incident_holds_its_value_its_limit_and_what_happened(loop: SelfHealingOrchestrator) -> None:
    id = next(each.id for each in loop.register.open.values() if dict(each.group)["agent"] == "Coder")
    with serving(loop) as port:
        assert f'hx-get="/incidents/{id}/chart"' in get(port, f"/incidents/{id}?from=mail")[1]
        status, chart, _ = get(port, f"/incidents/{id}/chart")
    assert (status, "<html" in chart) == (200, False)
    assert "&#34;limit&#34;" in chart
    assert "detected" in chart
    assert "newest 90s at 10:00:00, least 90s at 10:00:00, greatest 90s at 10:00:00; limit 1m, not reached" in chart


def test_a_chart_reaches_as_far_as_what_happened() -> None:
    at = [f"2026-01-05T10:00:{second:02}Z" for second in range(0, 60, 10)]
    points = [{"at": each, "value": 1.0, "threshold": 2.0, "baseline": None} for each in at[1:4]]
    marks = [{"at": each, "what": "detected"} for each in (at[0], at[2], at[5], at[0])]
    drawn = _drawn({"history": {"points": points, "marks": marks}, "unit": "s", "rising": True})
    assert drawn is not None
    assert drawn["at"] == [at[0], *at[1:4], at[5]]
    assert [each["values"] for each in drawn["series"]] == [[None, 1, 1, 1, None], [None, 2, 2, 2, None]]


def test_a_handoff_is_completed_in_the_page(loop: SelfHealingOrchestrator) -> None:
    id = loop.store.select(Handoff)[0].id
    with serving(loop) as port:
        post(port, f"/handoffs/{id}/complete", {"by": "Ada Łovelace", "result": "mended"})
        page = get(port, f"/handoffs/{id}")[1]
    assert "completed" in page
    assert "mended" in page


def test_the_list_of_handoffs_has_the_beginning_of_a_long_result_and_its_page_all_of_it(
    loop: SelfHealingOrchestrator,
) -> None:
    handoff = loop.store.select(Handoff)[0]
    loop.store.put(msgspec.structs.replace(handoff, result="mended " * 280))
    with serving(loop) as port:
        pages = {path: get(port, path)[1] for path in ("/handoffs", f"/handoffs/{handoff.id}")}
    assert [page.count("mended") for page in pages.values()] == [28, 280]


def test_an_incident_shows_the_evidence_that_its_handoff_bears_and_what_was_said_of_it(
    loop: SelfHealingOrchestrator,
) -> None:
    incident = next(each for each in loop.register.open.values() if dict(each.group)["agent"] == "Coder")
    [handoff] = loop.store.select(Handoff, incident=incident.id)
    with serving(loop) as port:
        post(port, f"/handoffs/{handoff.id}/complete", {"by": "Ada", "result": "the index is back"})
        page = get(port, f"/incidents/{incident.id}")[1]
    evidence = page[page.index('id="evidence"') : page.index('id="decisions"')]
    assert "90s where the limit is 1m, 1.5 times as much" in evidence
    assert "t-Coder" in evidence
    thread = page[page.index('id="handoffs"') :]
    assert "the index is back</li>" in thread


def test_a_closed_incident_is_shown_anew_only_when_something_of_it_changes(loop: SelfHealingOrchestrator) -> None:
    id = next(iter(loop.register.open))
    [handoff] = loop.store.select(Handoff, incident=id)
    assert isinstance(loop.clock, FakeClock)

    def followed(page: str) -> str:
        return html.unescape(re.findall(r'<main [^>]*hx-get="([^"]+)"', page)[0])

    with serving(loop) as port:
        assert followed(get(port, f"/incidents/{id}")[1]) == f"/incidents/{id}"
        post(port, f"/incidents/{id}/close", {"by": "Ada", "reason": "a test"})
        loop.clock.advance(1)
        closed = get(port, followed(get(port, f"/incidents/{id}")[1]))
        post(port, f"/handoffs/{handoff.id}/complete", {"by": "Ada", "result": "the index is back"})
        loop.clock.advance(1)
        path = followed(get(port, f"/incidents/{id}")[1])
        loop.clock.advance(AFTER.total_seconds())
        ended = get(port, path)[1]  # as its chart ends there
        seen = [get(port, followed(ended))[:2] for _ in range(2)]
        [execution] = loop.store.select(Execution, incident=id)
        loop.store.put(msgspec.structs.replace(execution, status=ExecutionStatus.UNKNOWN))
        loop.clock.advance(1)
        late = get(port, followed(ended))[0]
    assert late == 200
    assert closed[:2] == (204, "")
    assert 'hx-trigger="load"' in ended
    assert "the index is back" in ended
    assert seen == [(204, "")] * 2


def test_an_incident_that_nobody_was_handed_shows_its_evidence_too(tmp_path: Path) -> None:
    with Scenario(tmp_path, settings={"actions": {"mode": "observe"}}) as fleet:
        fleet.finish("slow", duration_s=90.0).at(1)
        [incident] = fleet.loop.register.open.values()
        with serving(fleet.loop) as port:
            page = get(port, f"/incidents/{incident.id}")[1]
            post(port, f"/incidents/{incident.id}/close", {"by": "Ada", "reason": "seen"})
        with serving(fleet.loop) as port:
            closed = get(port, f"/incidents/{incident.id}")[1]
    evidence = page[page.index('id="evidence"') : page.index('id="decisions"')]
    assert "90s where the limit is 1m, 1.5 times as much" in evidence
    assert "<td>slow</td>" in evidence
    assert "Nobody was handed it" in evidence
    over = closed[closed.index('id="evidence"') : closed.index('id="decisions"')]
    assert "90s where the limit is 1m" in over
    assert f"self-healing events --incident {incident.id}" in over


@pytest.mark.parametrize(("kind", "of"), [(Handoff, "/handoffs"), (Incident, "/incidents"), (Approval, "/approvals")])
def test_a_list_leads_from_its_newest_to_older_ones(kind: type[Record], of: str, tmp_path: Path) -> None:
    with Scenario(tmp_path, settings=slow_tasks_erase(tmp_path)) as fleet:
        fleet.finish("slow", duration_s=70.0).expect_actions("slow_tasks", erase="awaiting_approval")
        found: list[Any] = fleet.loop.store.select(kind)
        [first] = found
        fleet.loop.store.put(*(msgspec.structs.replace(first, id=f"more-{number:03}") for number in range(SHOWN)))
        with serving(fleet.loop) as port:
            newest = get(port, of)[1]
            [older] = re.findall(rf'href="({of}\?cursor=[^"]+)"', newest)
            oldest = get(port, html.unescape(older))[1]
            refused = [get(port, f"{path}?cursor=x")[0] for path in (of, "/audit")]
    told = [list(dict.fromkeys(re.findall(rf'href="{of}/([^"]+)"', page))) for page in (newest, oldest)]
    assert told == [[f"more-{number:03}" for number in reversed(range(SHOWN))], [first.id]]
    assert "Older ones" not in oldest
    assert f'hx-get="{older}"' in oldest  # and it is followed as the page that it is
    assert refused == [400, 400]


def test_what_a_chart_shows_is_said_in_words_as_well_once_its_slice_of_time_is_over(
    loop: SelfHealingOrchestrator,
) -> None:
    assert isinstance(loop.clock, FakeClock)
    with serving(loop) as port:
        assert "<figcaption>Tasks that failed or timed out <b>nothing</b></figcaption>" in get(port, "/")[1]
    loop.clock.advance(10)
    loop.check(loop.now())
    with serving(loop) as port:
        now, triggers = get(port, "/")[1], get(port, "/triggers")[1]
    assert 'aria-label="Tasks that failed or timed out: newest 0 % at 10:00:10, least 0 % at 10:00:10' in now
    assert "<figcaption>Tasks that failed or timed out <b>newest 0 %</b></figcaption>" in now
    row = triggers[triggers.index('id="trigger-slow_tasks"') :]
    assert '<span class="says">newest 90s</span>' in row[: row.index("</tr>")]


def test_a_thousand_agents_are_shown_a_hundred_a_page_the_unwell_ones_first(loop: SelfHealingOrchestrator) -> None:
    names = [f"{number:04}-of-some-team-with-a-long-name" for number in range(1_000)]
    well = {"ts": AT.isoformat(), "type": "task_finished", "status": "success", "duration_s": 1.0}
    lines = (json.dumps({**well, "id": name, "agent": name}) + "\n" for name in names)
    (loop.settings.telemetry.dir / "events-20260105-more.jsonl").write_text("".join(lines))
    loop.check(AT)
    with serving(loop) as port:
        first = get(port, "/agents")[1]
        [more] = re.findall(r'href="(/agents\?cursor=[^"]+)"', first)
        second = get(port, html.unescape(more))[1]
    shown = [re.findall(r'<td><a href="/agents/([^"]+)"', page) for page in (first, second)]
    assert shown == [
        ["%3Cscript%3Ealert%281%29%3C/script%3E", "Coder", *names[: SHOWN - 2]],
        names[SHOWN - 2 : 2 * SHOWN - 2],
    ]
    assert "1002 heard of in the last 24 hours, 2 unwell" in first
    assert max(len(page.encode()) for page in (first, second)) < 250_000


@pytest.mark.parametrize(("answer", "became"), [("approve", "approved"), ("deny", "denied")])
def test_what_cannot_be_undone_is_answered_in_the_page(tmp_path: Any, answer: str, became: str) -> None:
    with Scenario(tmp_path, settings=slow_tasks_erase(tmp_path)) as fleet:
        fleet.finish("slow", duration_s=70.0).expect_actions("slow_tasks", erase="awaiting_approval")
        [approval] = fleet.loop.store.select(Approval)
        with serving(fleet.loop) as port:
            first, listed = get(port, "/")[1], get(port, "/approvals")[1]
            one = get(port, f"/approvals/{approval.id}")[1]
            stale, _ = post(port, f"/approvals/{approval.id}/{answer}", {"by": "Ada", "reason": "x", "plan": "0"})
            form = {"by": "Ada", "reason": "a copy", "plan": approval.plan}
            status, _ = post(port, f"/approvals/{approval.id}/{answer}", form)
        with serving(fleet.loop) as port:
            after, still = get(port, f"/approvals/{approval.id}")[1], get(port, "/")[1]
    assert "1 action waits for a person" in first
    assert f'href="/approvals/{approval.id}"' in listed
    assert "hands the work to Janitor" in one
    assert "article III: cannot be undone (ask)" in one
    assert "<td>signals agreeing</td><td>1</td>" in one
    assert approval.plan in one
    assert (stale, status) == (409, 303)
    assert became in after
    assert "Ada: a copy" in after
    assert "Yes, do it" not in after
    assert "for a person" not in still


def test_the_audit_log_is_verified_without_asking_the_loop_and_its_newest_entries_are_listed(
    loop: SelfHealingOrchestrator,
) -> None:
    loop.seal()
    with serving(loop) as port:
        page = get(port, "/audit")[1]
    assert f"The chain of {loop.audit.head()[0]} entries is whole" in page
    assert "<td>checkpoint</td>" in page
    assert loop.audit.head()[1][:12] in page
    intents = re.findall(r"<td>intent</td>(.*?)<td><code>", page)
    assert any("/agents/Coder" in each and "/incidents/inc-" in each for each in intents)


def test_a_page_of_another_origin_cannot_act(loop: SelfHealingOrchestrator) -> None:
    with serving(loop) as port:
        status, _ = post(port, "/stop", {"by": "Ada", "reason": "x"}, {"Origin": "http://evil.example"})
        after = get(port, "/stop")[1]
    assert (status, "Stop healing" in after) == (403, True)


@pytest.mark.parametrize("path", ["/", "/triggers", "/stop", "/incidents/inc-none"])
def test_each_page_says_which_of_several_fleets_it_shows(loop: SelfHealingOrchestrator, path: str) -> None:
    with serving(loop, environment="staging") as port:
        page = get(port, path)[1]
    assert '<span class="environment">staging</span>' in page
    assert "self-healing staging</title>" in page


@pytest.mark.parametrize(("threshold", "here", "there"), [("120", 2, 0), ("60", 2, 2), ("30", 2, 2)])
def test_another_threshold_is_tried_on_stored_history_with_what_to_commit(
    loop: SelfHealingOrchestrator, threshold: str, here: int, there: int
) -> None:
    with serving(loop) as port:
        offered = get(port, "/triggers/slow_tasks")[1]
        status, page, _ = get(port, f"/triggers/slow_tasks/try?threshold={threshold}")
    assert 'action="/triggers/slow_tasks/try"' in offered
    assert status == 200
    figures = f'<tr><th>Incidents</th><td class="number">{here}</td><td class="number">{there}</td></tr>'
    assert figures in page
    told = html.unescape(page)
    assert '-condition = { kind = "threshold", op = ">=", value = 60.0 }' in told
    assert f'+condition = {{ kind = "threshold", op = ">=", value = {float(threshold)} }}' in told
    assert loop.spec.trigger("slow_tasks").model_dump()["condition"]["value"] == 60


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/triggers/slow_tasks/try?threshold=many", "threshold 'many': allowed is a number"),
        ("/triggers/slow_tasks/try?threshold=nan", "allowed is a finite number"),
    ],
)
def test_a_threshold_that_is_none_is_refused(loop: SelfHealingOrchestrator, path: str, why: str) -> None:
    with serving(loop) as port:
        status, page, _ = get(port, path)
    assert status == 400
    assert why in html.unescape(page)


def test_only_the_newest_history_is_tried_where_there_is_much(
    loop: SelfHealingOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("self_healing.dashboard.trying.MOST_EVENTS", 1)
    with serving(loop) as port:
        page = get(port, "/triggers/slow_tasks/try?threshold=120")[1]
    assert "1 events" in page
    assert "the newest of the stored history" in page
