"""A client of the API: every operation is a method, with the models that the service itself answers by.

It asks one request at a time and may be used by one thread; whatever a service refuses is raised with what it said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx2

from self_healing.api import models
from self_healing.api.models.base import StateName
from self_healing.errors import ServiceRefused, ServiceUnreachable
from self_healing.model import ExecutionStatus, HandoffStatus, IncidentState, KindName, Outcome, StatusName

M = TypeVar("M", bound=models.Model)
P = TypeVar("P", bound=models.Page)
T = TypeVar("T")

SILENT_S: Final = 20.0
"""A service that follows changes says every five seconds that it lives; one that says nothing for so long is gone."""


class Client:
    """Asks one service, and tells it things.

    Lists are iterators: they ask for the next page when it is needed, and never for more than is looked at.

    Args:
        url: of the service.
        token: what it wants to be shown; None where it wants none.
        timeout_s: how long an answer may take.
        page: so many records are asked for at once, 200 at most.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8787",
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        page: int = 50,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._page = page
        self._timeout_s = timeout_s
        # A proxy of the environment is not for a service beside the program.
        self._http = httpx2.Client(
            base_url=f"{url.rstrip('/')}/api/v1", headers=headers, timeout=timeout_s, trust_env=False
        )

    def close(self) -> None:
        """Give the connections back; safe to call twice."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- how it stands

    def health(self) -> models.Health:
        """Whether self-healing itself is well, and why not."""
        return self._get(models.Health, "/health")

    def status(self) -> models.Status:
        """How fleet and framework are."""
        return self._get(models.Status, "/status")

    def telemetry(self) -> models.Telemetry:
        """What became of every event, where telemetry comes from, and what could not be used."""
        return self._get(models.Telemetry, "/telemetry")

    def events(
        self,
        *,
        agent: Sequence[str] = (),
        task: Sequence[str] = (),
        kind: Sequence[KindName] = (),
        status: Sequence[StatusName] = (),
        model: Sequence[str] = (),
        source: Sequence[str] = (),
        trace: Sequence[str] = (),
        incident: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[models.Event]:
        """Stored events, the newest first.

        Args:
            agent, task, kind, status, model, source, trace: of which it must have one; any when empty.
            incident: what this incident is about.
            since, until: a length of time before now such as ``15m``, or a time with its zone.
        """
        asked: dict[str, Any] = {
            "agent": agent,
            "task": task,
            "kind": kind,
            "status": status,
            "model": model,
            "source": source,
        }
        asked |= {"trace": trace, "incident": incident, "since": since, "until": until}
        return self._all(models.Events, "/events", lambda page: page.events, asked)

    def agents(self) -> Iterator[models.Agent]:
        """Every agent that was heard of, those with an open incident first, and by name."""
        return self._all(models.Agents, "/agents", lambda page: page.agents, {})

    def agent(self, name: str) -> models.AgentDetail:
        """One agent: its series, its directives, and what concerned it."""
        return self._get(models.AgentDetail, f"/agents/{quote(name)}")

    def changes(self) -> Iterator[int]:
        """A number now, and a greater one whenever something is new, at most twice a second; it does not end.

        Raises:
            ServiceUnreachable: the service ended, or is not heard of any more.
        """
        with (
            self._answering(),
            self._http.stream("GET", "/changes", timeout=httpx2.Timeout(self._timeout_s, read=SILENT_S)) as answer,
        ):
            if answer.is_error:
                answer.read()
            _refuse(answer)
            for line in answer.iter_lines():
                if line.startswith("id:"):
                    yield int(line.removeprefix("id:"))
        raise ServiceUnreachable("the service ended the stream of changes; ask again once it is back")

    # -- what is watched for

    def triggers(self) -> list[models.Trigger]:
        """Every trigger that is declared, and how many of its series fire."""
        return self._get(models.Triggers, "/triggers").triggers

    def trigger(self, name: str) -> models.TriggerDetail:
        """One trigger as declared, and the verdict of each of its series."""
        return self._get(models.TriggerDetail, f"/triggers/{quote(name, '')}")

    def enable_trigger(self, name: str, *, by: str) -> models.Switched:
        """Switch a trigger on."""
        return self._post(models.Switched, f"/triggers/{quote(name, '')}/enable", models.Named(by=by))

    def disable_trigger(self, name: str, *, by: str) -> models.Switched:
        """Switch a trigger off; what it has open is closed."""
        return self._post(models.Switched, f"/triggers/{quote(name, '')}/disable", models.Named(by=by))

    def explain(
        self, name: str, *, group: dict[str, str] | None = None, at: datetime | None = None, span_s: int = 3600
    ) -> models.Explanation:
        """Why a trigger fires or does not.

        Args:
            name: of the trigger.
            group: which of its series, such as ``{"agent": "Coder"}``; all of them when left out.
            at: the instant, aware; now when left out.
            span_s: how much of the time before is told of one series.
        """
        keys = [f"{key}={value}" for key, value in (group or {}).items()]
        asked = {"group": keys, "at": None if at is None else at.isoformat(), "span_s": span_s}
        return self._get(models.Explanation, f"/triggers/{quote(name, '')}/explain", asked)

    def series(self, *, trigger: Sequence[str] = (), state: Sequence[StateName] = ()) -> Iterator[models.Series]:
        """The verdict of every series at the last instant that was evaluated, by trigger and group."""
        return self._all(models.SeriesPage, "/series", lambda page: page.series, {"trigger": trigger, "state": state})

    def transitions(self, *, trigger: Sequence[str] = ()) -> Iterator[models.Transition]:
        """Every change of a series' state with the verdict that made it, the newest first."""
        return self._all(models.Transitions, "/transitions", lambda page: page.transitions, {"trigger": trigger})

    # -- incidents, and what is done about them

    def incidents(
        self, *, state: Sequence[IncidentState] = (), trigger: Sequence[str] = (), agent: Sequence[str] = ()
    ) -> Iterator[models.Incident]:
        """Incidents, the newest first, without their timelines."""
        asked = {"state": state, "trigger": trigger, "agent": agent}
        return self._all(models.Incidents, "/incidents", lambda page: page.incidents, asked)

    def incident(self, id: str) -> models.IncidentDetail:
        """One incident with its timeline, and all that was decided, done and found out about it."""
        return self._get(models.IncidentDetail, f"/incidents/{quote(id, '')}")

    def acknowledge_incident(self, id: str, *, by: str, reason: str) -> models.Incident:
        """Say that a person has seen it."""
        told = models.Person(by=by, reason=reason)
        return self._post(models.ChangedIncident, f"/incidents/{quote(id, '')}/ack", told).incident

    def close_incident(self, id: str, *, by: str, reason: str) -> models.Incident:
        """Say that it is none."""
        told = models.Person(by=by, reason=reason)
        return self._post(models.ChangedIncident, f"/incidents/{quote(id, '')}/close", told).incident

    def actions(self) -> list[models.Action]:
        """Every action that is declared, and how well it works."""
        return self._get(models.Actions, "/actions").actions

    def executions(
        self, *, incident: Sequence[str] = (), status: Sequence[ExecutionStatus] = ()
    ) -> Iterator[models.Execution]:
        """Executions, the newest first."""
        asked = {"incident": incident, "status": status}
        return self._all(models.Executions, "/executions", lambda page: page.executions, asked)

    def execution(self, id: str) -> models.Execution:
        """One execution."""
        return self._get(models.ExecutionDetail, f"/executions/{quote(id, '')}").execution

    def verifications(self, *, incident: Sequence[str] = (), open: bool | None = None) -> Iterator[models.Verification]:
        """Verifications, the newest first; only those under way, or only the others."""
        asked = {"incident": incident, "open": open}
        return self._all(models.Verifications, "/verifications", lambda page: page.verifications, asked)

    def directives(
        self, *, agent: Sequence[str] = (), incident: Sequence[str] = (), open: bool | None = None
    ) -> Iterator[models.Directive]:
        """Directives, the newest first; only those that nobody has undone, or only the others."""
        asked = {"agent": agent, "incident": incident, "open": open}
        return self._all(models.Directives, "/directives", lambda page: page.directives, asked)

    def effective(self) -> dict[str, dict[str, Any]]:
        """The settings in force now, by agent and name."""
        return self._get(models.Effective, "/directives/effective").effective

    def undo_directive(self, id: str, *, by: str, reason: str) -> list[models.Directive]:
        """Undo a directive at once."""
        told = models.Person(by=by, reason=reason)
        return self._post(models.UndoneDirectives, f"/directives/{quote(id, '')}/undo", told).directives

    def handoffs(
        self, *, status: Sequence[HandoffStatus] = (), incident: Sequence[str] = (), agent: Sequence[str] = ()
    ) -> Iterator[models.Handoff]:
        """Handoffs, the newest first, without their messages; of an agent, those about it and those for it."""
        asked = {"status": status, "incident": incident, "agent": agent}
        return self._all(models.Handoffs, "/handoffs", lambda page: page.handoffs, asked)

    def handoff(self, id: str) -> models.HandoffFull:
        """One handoff with its message and its thread."""
        return self._get(models.HandoffDetail, f"/handoffs/{quote(id, '')}").handoff

    def accept_handoff(self, id: str, *, by: str) -> models.Handoff:
        """Say that somebody works on it."""
        return self._post(models.MovedHandoff, f"/handoffs/{quote(id, '')}/accept", models.Named(by=by)).handoff

    def complete_handoff(self, id: str, *, by: str, result: str | None = None) -> models.Handoff:
        """Say that it is done."""
        told = models.Finished(by=by, result=result)
        return self._post(models.MovedHandoff, f"/handoffs/{quote(id, '')}/complete", told).handoff

    def fail_handoff(self, id: str, *, by: str, result: str | None = None) -> models.Handoff:
        """Say that it cannot be done."""
        told = models.Finished(by=by, result=result)
        return self._post(models.MovedHandoff, f"/handoffs/{quote(id, '')}/fail", told).handoff

    def silences(self, *, open: bool | None = None) -> Iterator[models.Silence]:
        """Silences, the newest first; only those that are not over, or only the others."""
        return self._all(models.Silences, "/silences", lambda page: page.silences, {"open": open})

    def silence(
        self,
        *,
        by: str,
        reason: str,
        lasts_s: int,
        trigger: str | None = None,
        keys: dict[str, str] | None = None,
        starts_at: datetime | None = None,
    ) -> models.Silence:
        """Have some series open no incident for a time: those of a trigger, with these keys in their group."""
        told = models.Mute(by=by, reason=reason, lasts_s=lasts_s, trigger=trigger, keys=keys or {}, starts_at=starts_at)
        return self._post(models.AddedSilence, "/silences", told).silence

    def remove_silence(self, id: str, *, by: str) -> models.Silence:
        """End a silence early."""
        return self._post(models.ChangedSilence, f"/silences/{quote(id, '')}/remove", models.Named(by=by)).silence

    # -- the constitution

    def constitution(self) -> models.Constitution:
        """The articles, the limits and how much of them is used, and what was refused last."""
        return self._get(models.Constitution, "/constitution")

    def decisions(self, *, incident: Sequence[str] = (), outcome: Sequence[Outcome] = ()) -> Iterator[models.Decision]:
        """What the gate decided, article by article, the newest first."""
        asked = {"incident": incident, "outcome": outcome}
        return self._all(models.Decisions, "/decisions", lambda page: page.decisions, asked)

    def decision(self, id: str) -> models.DecisionDetail:
        """One decision: why the gate said so, and what would have to change."""
        return self._get(models.DecisionDetail, f"/decisions/{quote(id, '')}")

    def approvals(self, *, open: bool | None = None) -> Iterator[models.Approval]:
        """What people were asked, the newest first; only what may still be done, or only the others."""
        return self._all(models.Approvals, "/approvals", lambda page: page.approvals, {"open": open})

    def approval(self, id: str) -> models.ApprovalDetail:
        """One approval with all that a person must see to answer it."""
        return self._get(models.ApprovalDetail, f"/approvals/{quote(id, '')}")

    def approve(self, id: str, *, by: str, reason: str, plan: str) -> models.Approval:
        """Say yes to the plan that was seen."""
        told = models.Answer(by=by, reason=reason, plan=plan)
        return self._post(models.AnsweredApproval, f"/approvals/{quote(id, '')}/approve", told).approval

    def deny(self, id: str, *, by: str, reason: str, plan: str) -> models.Approval:
        """Say no."""
        told = models.Answer(by=by, reason=reason, plan=plan)
        return self._post(models.AnsweredApproval, f"/approvals/{quote(id, '')}/deny", told).approval

    def audit(self, *, kind: Sequence[str] = ()) -> Iterator[models.Entry]:
        """Entries of the audit log, the newest first."""
        return self._all(models.Entries, "/audit", lambda page: page.entries, {"kind": kind})

    def verify_audit(self) -> models.AuditReport:
        """Whether the audit log is what was written and signed; the whole of it is read."""
        return self._get(models.AuditReport, "/audit/verification")

    def stop(self, *, by: str, reason: str) -> models.Stop:
        """Stop every effect at once."""
        return self._post(models.Stopped, "/stop", models.Person(by=by, reason=reason)).stopped

    def resume(self, *, by: str, reason: str) -> bool:
        """Let effects happen again; whether anything had been stopped."""
        return self._post(models.Resumed, "/resume", models.Person(by=by, reason=reason)).resumed

    # -- how it is asked

    def _get(self, model: type[M], path: str, asked: dict[str, Any] | None = None) -> M:
        with self._answering():
            answer = self._http.get(path, params=_given(asked or {}))
        return _read(model, answer)

    def _post(self, model: type[M], path: str, told: models.Told | None) -> M:
        body = None if told is None else told.model_dump(mode="json")
        with self._answering():
            answer = self._http.post(path, json=body)
        return _read(model, answer)

    def _all(self, model: type[P], path: str, records: Callable[[P], list[T]], asked: dict[str, Any]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            page = self._get(model, path, {**asked, "limit": self._page, "cursor": cursor})
            yield from records(page)
            cursor = page.next
            if cursor is None:
                return

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TransportError as error:
            where = self._http.base_url
            raise ServiceUnreachable(f"no answer from {where}: {error!r}; is it there?") from error


def _given(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def _read(model: type[M], answer: httpx2.Response) -> M:
    _refuse(answer)
    return model.model_validate_json(answer.content)


def _refuse(answer: httpx2.Response) -> None:
    """Raise ServiceRefused where it is no success, with what the service said."""
    if answer.is_success:
        return
    try:
        said = models.Problem.model_validate_json(answer.content).detail
    except ValueError:  # something else stands in its place, such as a proxy
        said = f"{answer.url} answers {answer.status_code} {answer.reason_phrase}"
    raise ServiceRefused(answer.status_code, said)
