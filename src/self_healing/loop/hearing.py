"""Hearing: what the fleet says of its handoffs, what was answered by whom is asked, and who said nothing in time."""

from __future__ import annotations

from datetime import datetime

from self_healing.clock import from_us
from self_healing.errors import HandoffRefused, NotFound
from self_healing.handoffs.cleaning import clean_text
from self_healing.handoffs.following import Following
from self_healing.handoffs.inbox import Inbox
from self_healing.handoffs.outbox import NOTIFICATION
from self_healing.incidents.register import Register
from self_healing.loop.asking import Asking
from self_healing.loop.telling import Telling
from self_healing.model import ApprovalStatus, Handoff, HandoffStatus, Kind
from self_healing.storage.store import Store
from self_healing.telemetry.agents import Repair
from self_healing.telemetry.telemetry import Telemetry

REFUSED = "refused"
MOST_REFUSED = 5
"""Of so many agents an incident's timeline says that they spoke of a handoff that is not theirs: a flood of them would
push the story out of it. The log has all."""


class Hearing:
    """Moves handoffs and questions on by what is heard.

    Args:
        store: the state; written in the transaction that is open.
        telemetry: has what specialists' tasks say.
        inbox: the handoffs.
        asking: the questions to people.
        following: asks how handoffs stand.
        register: the incidents.
        telling: hears what was said of a handoff that is over.
    """

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        inbox: Inbox,
        asking: Asking,
        following: Following,
        register: Register,
        telling: Telling,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._inbox = inbox
        self._asking = asking
        self._following = following
        self._register = register
        self._telling = telling

    def hear(self, at: datetime) -> None:
        """Take in all that was said until that instant."""
        self._repairs(at)
        self._answers(at)
        self._silences(at)

    def _repairs(self, at: datetime) -> None:
        """What specialists' tasks say of their handoffs."""
        for repair in self._telemetry.repairs:
            self._repair(repair, at)
        self._telemetry.repairs.clear()

    def _repair(self, repair: Repair, at: datetime) -> None:
        by = repair.agent or "unknown"
        handoff = self._store.find(Handoff, repair.handoff)
        if handoff is not None and repair.agent != handoff.target_agent:
            # Who fell ill could else claim its own cure, and any agent that was told to by a text put off another's.
            self._strange(handoff, by, at)
            return
        # It happened when the event says, but neither before the handoff was there nor later than now.
        said_at = at if handoff is None else min(max(from_us(repair.ts_us), handoff.created_at), at)
        try:
            if handoff is not None and handoff.status is HandoffStatus.CREATED:
                # Who works on it has it, whether or not the process that delivered it lived to write that down.
                self._inbox.arrived(repair.handoff, at=said_at)
            if repair.kind == Kind.TASK_STARTED:
                if handoff is None or handoff.status is not HandoffStatus.ACCEPTED:
                    self._inbox.accept(repair.handoff, by=by, at=said_at)
            elif repair.status == "success":
                self._inbox.complete(repair.handoff, by=by, at=said_at)
            elif repair.status in ("failed", "timeout"):
                self._inbox.fail(repair.handoff, by=by, at=said_at, result=repair.error or repair.status)
        except (NotFound, HandoffRefused) as error:
            # The fleet's word about a handoff that is over or not ours changes nothing; it is written down.
            self._telling.refused(repair.handoff, by, str(error))

    def _strange(self, handoff: Handoff, by: str, at: datetime) -> None:
        """An agent speaks of a handoff that is not its own, which changes nothing: its incident says so once."""
        about = f"handoff {handoff.id} is for {handoff.target_agent}"
        why = f"{about}; what a task of {clean_text(by, 200)} says of it changes nothing"
        self._telling.refused(handoff.id, by, why)
        found = self._register.open.get(handoff.incident)
        if found is None:
            return
        said = [note.text for note in found.notes if note.what == REFUSED and note.text.startswith(about)]
        if why not in said and len(said) < MOST_REFUSED:
            self._register.note(found, at, REFUSED, why)

    def _answers(self, at: datetime) -> None:
        """What recipients said when they were asked how their handoffs stand."""
        for id, said in self._following.answers():
            self._inbox.heard(id, said, at=at)

    def _silences(self, at: datetime) -> None:
        """Who did not answer in time: a handoff that expired, a question to a person that ran out."""
        for handoff in self._inbox.expire(at):
            if handoff.execution != NOTIFICATION:
                text = f"handoff {handoff.id} to {handoff.target_agent}: no answer until {handoff.deadline:%H:%M:%S}"
                self._unanswered(handoff.incident, at, text)
        for approval in self._asking.settle(at):
            if approval.status is ApprovalStatus.EXPIRED:
                why = approval.came_to or approval.reason
                self._unanswered(approval.proposal.incident, at, f"{approval.proposal.action}: {why}")

    def _unanswered(self, incident: str, at: datetime, text: str) -> None:
        found = self._register.open.get(incident)
        if found is not None:
            self._register.note(found, at, "expired", text)
