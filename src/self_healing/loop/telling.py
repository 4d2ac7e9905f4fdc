"""Telling: what happened, in the logs, in our own telemetry and to whoever listens, once it is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from self_healing.constitution.audit import Audit
from self_healing.errors import ConstitutionBypass
from self_healing.logs import Logs, OwnTelemetry
from self_healing.loop.health import BadLines
from self_healing.model import (
    Accounting,
    Decision,
    Execution,
    Incident,
    Note,
    SeriesState,
    Silence,
    Transition,
    group_dict,
)
from self_healing.spec import Spec


class Telling:
    """Gathers the news of a turn, and tells it after the commit: what was not committed did not happen.

    Args:
        logs: the three logs.
        own: our own events, which never feed a trigger.
        audit: the audit log, which is part of the state and takes its entries within the transaction.
        on_note: hears every new line of an incident's timeline.
    """

    def __init__(
        self, logs: Logs, own: OwnTelemetry, audit: Audit, on_note: Callable[[Incident, Note], None] | None
    ) -> None:
        self._logs = logs
        self._own = own
        self._audit = audit
        self._on_note = on_note
        self._news: list[Callable[[], object]] = []

    # -- within the transaction

    def incident(self, incident: Incident, fresh: tuple[Note, ...], changed: bool) -> None:
        """An incident has new lines, and perhaps another state."""
        about: dict[str, Any] = {
            "incident": incident.id,
            "trigger": incident.trigger,
            "group": group_dict(incident.group),
        }
        stands = {"state": incident.state.value, "reason": incident.close_reason, "why": incident.escalation}
        if changed:
            self._audit.append("incident", {**about, **stands, "by": incident.closed_by}, incident.updated_at)
        self._news += [partial(self._note, incident, note, about) for note in fresh]

    def _note(self, incident: Incident, note: Note, about: dict[str, Any]) -> None:
        said = {"what": note.what, "text": note.text, "state": incident.state.value, "noted_at": note.at}
        self._logs.orchestrator.info("incident", **about, **said)
        if self._on_note is not None:
            self._on_note(incident, note)

    def silence(self, silence: Silence, what: str, at: datetime) -> None:
        """A silence is added, removed or over."""
        told = msgspec.to_builtins(silence)
        del told["settled"]
        self._audit.append(f"silence_{what}", told, at)
        self._news.append(lambda: self._logs.orchestrator.info(f"silence_{what}", **told))

    def denied(self, decision: Decision) -> None:
        """The gate said no."""
        proposal = decision.proposal
        findings = [f"{finding.article}/{finding.policy}" for finding in decision.findings]
        about = {"incident": proposal.incident, "action": proposal.action, "findings": findings}
        self._news.append(lambda: self._logs.actions.warning("constitutional_violation", **about))

    def bypassed(self, bypass: ConstitutionBypass) -> None:
        """Somebody asked for an effect past the gate."""
        about = {"execution": bypass.execution, "why": str(bypass)}
        self._news.append(lambda: self._logs.actions.error("constitution_bypassed", **about))

    def ended(self, execution: Execution) -> None:
        """An effect came to its outcome."""
        about = {
            "action": execution.action,
            "incident": execution.incident,
            "target": execution.target,
            "target_agent": execution.target_agent,
            "settings": execution.settings,
            "error": execution.error,
        }
        self._news.append(lambda: self._logs.activated("actions", f"action_{execution.status}", **about))

    def refused(self, handoff: str, by: str, why: str) -> None:
        """An agent said something of a handoff that is over, not its own, or not ours."""
        about = {"handoff": handoff, "by": by, "why": why}
        self._news.append(lambda: self._logs.orchestrator.info("handoff_refused", **about))

    def quarantined(self, lines: Iterable[BadLines]) -> None:
        """Lines could not be used: the newest of each file, and how many there were."""
        for each in lines:
            about = msgspec.structs.asdict(each)
            self._news.append(partial(self._logs.orchestrator.warning, "lines_quarantined", **about))

    # -- after the commit

    def publish(self) -> None:
        """Tell what was gathered."""
        news, self._news = self._news, []
        with self._logs.held():
            for tell in news:
                tell()

    def changed(self, transitions: list[Transition], at: datetime, spec: Spec, incidents_open: int) -> None:
        """Log and emit the series that changed."""
        with self._logs.held(), self._own.held():
            self._changed(transitions, at)
        if transitions:
            counts = {"transitions": len(transitions), "incidents_open": incidents_open}
            self._own.emit("self_healing_orchestrator", at, **counts, spec_version=spec.version)

    def _changed(self, transitions: list[Transition], at: datetime) -> None:
        for transition in transitions:
            verdict = transition.verdict
            fields = {
                "trigger": verdict.trigger,
                "group": group_dict(verdict.group),
                "before": transition.before.name.lower(),
                "after": transition.after.name.lower(),
                "value": verdict.value,
                "threshold": verdict.threshold,
                "samples": verdict.samples,
                "reason": verdict.reason,
                "muted_by": None if verdict.muted is None else verdict.muted.what,
                "flapping": verdict.flapping,
                "spec_version": verdict.spec_version,
                "evaluated_at": verdict.at,
            }
            if transition.after is SeriesState.FIRING and verdict.muted is None:
                self._logs.activated("triggers", "trigger_fired", **fields)
                self._own.emit("self_healing_trigger", at, **fields)
            else:
                self._logs.triggers.info("series_changed", **fields)

    def summarise(self, at: datetime, count: Accounting, spec: Spec, incidents_open: int, violations: int) -> None:
        """Emit what stands now."""
        self._own.emit(
            "self_healing_summary",
            at,
            incidents_open=incidents_open,
            violations=violations,
            telemetry=msgspec.to_builtins(count),
            spec_version=spec.version,
        )
