"""A drill: a fault is sent on purpose, through all that a real one goes through, and each stage is timed.

One task of an agent that does not exist takes too long. The trigger ``drill`` of the pack finds it, the constitution
judges what it proposes, the work is handed over by its usual channel, the drill itself answers it, and quick tasks show
that the symptom went.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from self_healing.errors import HandoffRefused, SelfHealingError

TRIGGER = "drill"
AGENT = "self-healing-drill"
FILE = "drill.jsonl"
"""Among the files of the telemetry directory."""

BY = "drill"
ANSWER = "A drill: nothing was wrong."

SLOW_S = 10.0
"""How long the faulty task took: beyond the limit of the trigger, and of none else that comes along."""
QUICK_S = 0.05
QUICK_TASKS = 3
"""As few as a verification judges by."""

LOOK_S = 0.1
"""From one look at what became of it to the next, real seconds."""

AFTER_S = 0.3
"""So long after its end the effect of a handoff is surely behind whatever begins then."""

Json = dict[str, Any]


class Ask(Protocol):
    """Asks the service one of its commands."""

    def __call__(self, command: str, **arguments: Any) -> Json: ...


class Late(Exception):
    """A stage did not come, and why."""


class Drill:
    """One drill.

    Args:
        ask: asks the service.
        file: where the drill's events are written: one of the files that the service reads.
        within_s: how long all of it may take, seconds.
        now: the present instant, as the service has it.
        sleep: waits for so many seconds.
        tell: hears of each stage that was reached, and after how many seconds.
    """

    def __init__(
        self,
        ask: Ask,
        file: Path,
        *,
        within_s: float,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        tell: Callable[[str, float], None] = lambda _stage, _after_s: None,
    ) -> None:
        self._ask = ask
        self._file = file
        self._within_s = within_s
        self._now = now
        self._sleep = sleep
        self._tell = tell
        self._id = f"drill-{uuid.uuid4().hex[:10]}"
        self._sent_at = now()
        self._reached: list[Json] = []

    def run(self) -> Json:
        """Send the fault, follow it to its end, and say how long each stage took.

        Raises:
            SelfHealingError: the trigger is off, another drill is under way, healing is stopped, or the event cannot be
                written.
        """
        mode = self._mode()
        self._sent_at = self._now()
        self._write(SLOW_S)
        incident, why = None, None
        try:
            incident = self._wait("detected", self._incident)
            self._reach("detected", incident["opened_at"])
            self._follow(incident["id"], mode)
        except Late as late:
            why = str(late)
        return {
            "ok": why is None,
            "mode": mode,
            "incident": None if incident is None else incident["id"],
            "sent_at": self._sent_at.isoformat(),
            "stages": self._reached,
            "why": why,
        }

    def _mode(self) -> str:
        """Whether the service acts or observes, where a drill can be held at all."""
        here = [each for each in self._ask("triggers")["triggers"] if each["name"] == TRIGGER and each["enabled"]]
        if not here:
            raise SelfHealingError(f"the trigger {TRIGGER} is off; `self-healing triggers enable {TRIGGER}` first")
        under_way = self._incident()
        if under_way is not None:
            raise SelfHealingError(f"another drill is under way, or did not end: incident {under_way['id']}")
        status = self._ask("status")
        if status["stopped"] is not None:
            raise SelfHealingError(
                f"healing is stopped: {status['stopped']['reason']}; `self-healing resume-healing` first"
            )
        mode: str = status["mode"]
        return mode

    def _follow(self, id: str, mode: str) -> None:
        allowed = self._wait("allowed", lambda: self._allowed(id))
        self._reach("allowed", allowed["at"])
        if mode == "act":
            handoff = self._wait("handed over", lambda: self._handoff(id))
            self._reach("handed over", handoff["delivered_at"])
            self._reach("answered", self._answer(handoff["id"])["ended_at"])
            self._sleep(AFTER_S)
        for _ in range(QUICK_TASKS):
            self._write(QUICK_S)
        closed = self._wait("healed", lambda: self._closed(id))
        self._reach("healed", closed["closed_at"])

    def _answer(self, id: str) -> Json:
        """The handoff once it has ended: by the drill's own answer, unless its recipient was quicker."""
        try:
            answered: Json = self._ask("complete", id=id, by=BY, result=ANSWER)["handoff"]
        except HandoffRefused:
            answered = self._ask("handoff", id=id)["handoff"]
            if answered["ended_at"] is None:
                raise
        return answered

    def _wait(self, stage: str, look: Callable[[], Json | None]) -> Json:
        ends_at = self._sent_at + timedelta(seconds=self._within_s)
        while (found := look()) is None:
            if self._now() >= ends_at:
                raise Late(f"it was not {stage} within {self._within_s:g} s")
            self._sleep(LOOK_S)
        return found

    def _reach(self, stage: str, at: str) -> None:
        after_s = max((datetime.fromisoformat(at) - self._sent_at).total_seconds(), 0.0)
        self._reached.append({"stage": stage, "at": at, "after_s": round(after_s, 3)})
        self._tell(stage, after_s)

    # -- what became of it

    def _incident(self) -> Json | None:
        """The drill's incident that is open."""
        found = self._ask("incidents")["incidents"]
        return next((each for each in found if each["trigger"] == TRIGGER), None)

    def _told(self, id: str) -> Json:
        return self._ask("incident", id=id)

    def _allowed(self, id: str) -> Json | None:
        decisions = self._told(id)["decisions"]
        for each in decisions:
            if each["outcome"] == "deny":
                articles = ", ".join(name for name, reasons in each["articles"].items() if reasons)
                raise Late(f"the constitution denied {each['action']}, by article {articles}")
        return next((each for each in decisions if each["outcome"] == "allow"), None)

    def _handoff(self, id: str) -> Json | None:
        return next((each for each in self._told(id)["handoffs"] if each["delivered_at"] is not None), None)

    def _closed(self, id: str) -> Json | None:
        incident: Json = self._told(id)["incident"]
        return incident if incident["closed_at"] is not None else None

    # -- what is sent

    def _write(self, duration_s: float) -> None:
        now = self._now()
        event = {
            "ts": now.isoformat(),
            "type": "task_finished",
            "id": f"{self._id}-{uuid.uuid4().hex[:4]}",
            "agent": AGENT,
            "run_id": self._id,
            "status": "success",
            "started_at": now.timestamp() - duration_s,
            "finished_at": now.timestamp(),
            "duration_s": duration_s,
        }
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError as error:
            raise SelfHealingError(
                f"the fault cannot be written into the telemetry directory: {self._file}: {error.strerror}; make the "
                f"directory, or let this user write there"
            ) from error
