"""The records that cross stages: frozen, keyword-only, with times as aware datetimes.

A change is a new record (``msgspec.structs.replace``). ``None`` is unknown, zero is zero. Each enum value says what it
means.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal

import msgspec

Group = tuple[tuple[str, str], ...]
"""Which group a series is for: pairs of key and value, in the order of the trigger's ``group_by``."""

CAUSE = "cause"
"""The key of the group of a parent incident; its value is what the series beneath it share, such as ``model=m-2``."""

UNKNOWN_VALUE = "unknown"
"""What a group shows for a key that an event does not have."""


def group_dict(group: Group) -> dict[str, str]:
    """`group` as the mapping that people and JSON see, such as ``{"agent": "Coder"}``."""
    return dict(group)


def group_label(group: Group) -> str:
    """`group` in one word for tables and logs, such as ``agent=Coder``."""
    return ",".join(f"{key}={value}" for key, value in group) or "all"


def affected_agent(group: Group) -> str:
    """The *target* of limits and keys: the agent that a series is about; its whole label when it is not about one."""
    return group_dict(group).get("agent", group_label(group))


def new_id(kind: str) -> str:
    """A short random id with a readable prefix, such as ``inc-5f0c9a3e1b``."""
    return f"{kind}-{secrets.token_hex(5)}"


def idempotency_key(incident: str, plan_version: str, step: int, attempt: int, target: str) -> str:
    """The key that one effect carries, whatever happens to the process that brings it about.

    sha256 over the JSON list of incident, plan version, step, attempt and target, in hex.
    """
    text = msgspec.json.encode([incident, plan_version, step, attempt, target])
    return hashlib.sha256(text).hexdigest()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records that are stored."""


# --- telemetry -----------------------------------------------------------------------------------------------------


class Kind(IntEnum):
    """What an event says happened; the numbers are codes in columns, never stored."""

    TASK_STARTED = 0  # an attempt at a task began
    TASK_FINISHED = 1  # an attempt at a task ended, whatever its status
    HEARTBEAT = 2  # a task is still running
    LLM_CALL = 3  # one call of a model ended
    TOOL_CALL = 4  # one call of a tool ended
    TEST_RUN = 5  # tests ran
    QUALITY_SCORE = 6  # somebody or something scored a task's result
    ORCHESTRATOR_STARTED = 7  # the fleet's own orchestrator started
    ORCHESTRATOR_FINISHED = 8  # the fleet's own orchestrator finished
    LOG = 9  # anything else
    OWN = 10  # our own self_healing_* lines; neither counted nor read
    SPAN = 11  # a part of a trace that is no call of a model or a tool; may turn out to be a task
    METRIC = 12  # one point of a metric that its sender had aggregated already


KindName = Literal[
    "task_started",
    "task_finished",
    "heartbeat",
    "llm_call",
    "tool_call",
    "test_run",
    "quality_score",
    "orchestrator_started",
    "orchestrator_finished",
    "log",
    "span",
    "metric",
]
"""What a line calls the kinds above; our own have no place here."""

StatusName = Literal["success", "failed", "timeout", "canceled"]
"""What a line calls how an attempt ended."""


class Status(IntEnum):
    """How an attempt ended; the numbers are codes in columns, never stored."""

    UNKNOWN = 0  # the event does not say
    SUCCESS = 1  # it did what it was asked
    FAILED = 2  # it ended with an error
    TIMEOUT = 3  # it ran out of time
    CANCELED = 4  # somebody stopped it; not an error, not a success


class Usage(msgspec.Struct, gc=False, omit_defaults=True):
    """What an attempt or a call used; None is unknown."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    total_usd: float | None = None


class Event(msgspec.Struct, gc=False, rename={"kind": "type", "task_id": "id", "quality": "q"}):
    """One line of native telemetry, decoded straight from its bytes; the engine reads it by columns.

    ``gc=False``: millions of these live for a moment, hold no cycles, and must not make the collector pause.
    """

    ts: str | None = None  # ISO 8601; parsed for a whole batch at once
    kind: str = "log"
    task_id: str | None = None
    agent: str | None = None
    model: str | None = None
    provider: str | None = None
    attempt: int | None = None  # 1 is the first
    status: str | None = None  # success, failed, timeout, canceled
    started_at: float | None = None  # seconds since 1970
    finished_at: float | None = None  # seconds since 1970
    duration_s: float | None = None
    usage: Usage | None = None
    passed: int | None = None  # tests
    failed: int | None = None  # tests
    quality: float | None = None  # 0..1
    error_type: str | None = None
    tool: str | None = None
    run_id: str | None = None
    trace_id: str | None = None
    handoff_id: str | None = None  # this is repair work for that handoff, and feeds no trigger
    attributes: dict[str, Any] | None = None


class Ingested(Event, gc=False, omit_defaults=True):
    """An event that did not come in a native file, as our own segments hold it: an event and where it came from.

    A span that is a call of a model or a tool is an `llm_call` or a `tool_call`; any other is a `span`, and whether it
    is a task is found out when it is folded, once its trace is known.
    """

    source: str | None = None  # the way in, and what sent it where that is known, such as otlp/pydantic_ai
    span_id: str | None = None  # hex
    parent_id: str | None = None  # hex; None for a root span
    role: str | None = None  # of a span: agent, model, tool or other
    call_id: str | None = None  # of a tool call; a repeated one after a failure is another attempt


class Accounting(Record, frozen=True, kw_only=True):
    """What became of every event, since the state began; the two equations hold at every moment.

    ``received = accepted + sum(rejected)`` and ``accepted = aggregated + sum(quarantined) + sum(dropped) + in_flight``.
    """

    received: int = 0
    accepted: int = 0
    rejected: dict[str, int] = {}
    aggregated: int = 0
    quarantined: dict[str, int] = {}
    dropped: dict[str, int] = {}
    in_flight: int = 0
    late: int = 0  # of the aggregated: older than the newest instant that was evaluated when they came
    traces_lost: int = 0  # forgotten with calls that no task had taken; their events are aggregated all the same


# --- triggers ------------------------------------------------------------------------------------------------------


class SeriesState(IntEnum):
    """Where a series stands.

    ::

        inactive -> pending -> firing <-> recovering -> inactive
    """

    INACTIVE = 0  # the condition is not met
    PENDING = 1  # met, but not yet for `for`
    FIRING = 2  # met for `for`
    RECOVERING = 3  # `clear` was met; waiting for `keep_firing_for`


class Reason(StrEnum):
    """Why a verdict is what it is; each verdict has exactly one."""

    CONDITION_MET = "condition_met"  # the series fires
    BELOW_THRESHOLD = "below_threshold"  # there are enough samples, and the condition is not met
    PENDING = "pending"  # met, but not yet for `for`
    NOT_CLEARED = "not_cleared"  # firing; the condition is no longer met, nor is `clear`
    RECOVERING = "recovering"  # `clear` was met less than `keep_firing_for` ago
    FLAPPING = "flapping"  # recovering, and kept there for longer since it began to fire too often
    TOO_FEW_SAMPLES = "too_few_samples"  # some samples, fewer than `min_samples`
    NO_DATA = "no_data"  # not one sample in the window
    NO_BASELINE = "no_baseline"  # too few samples before the window to compare with
    SILENCED = "silenced"  # muted by a person, whatever its value; it opens no incident
    MAINTENANCE = "maintenance"  # muted by a declared maintenance window
    INHIBITED = "inhibited"  # muted while another trigger fires for the same group
    WARMING_UP = "warming_up"  # muted for a moment after a start, since its silence may be our own
    DISABLED = "disabled"  # the trigger is switched off


class Muted(Record, frozen=True, kw_only=True):
    """What keeps a series from opening an incident at an instant, whatever its value."""

    why: Reason  # silenced, maintenance, inhibited or warming_up
    what: str  # the id of the silence, the name of the window or of the trigger; the start
    by: str  # whose word it is: a person, or the spec
    until: datetime | None  # when that ends by itself; None where nobody knows
    text: str  # in words

    @property
    def suppresses(self) -> bool:
        """Whether what is open of the series closes; else it only takes no further action."""
        return self.why in (Reason.SILENCED, Reason.MAINTENANCE)

    def __str__(self) -> str:
        until = "" if self.until is None else f" until {self.until:%Y-%m-%d %H:%M:%S}"
        return f"{self.why} by {self.what}{until}: {self.text}"


class Verdict(Record, frozen=True, kw_only=True):
    """What a trigger says of one series at one instant."""

    trigger: str
    group: Group
    at: datetime
    state: SeriesState
    reason: Reason
    samples: int
    value: float | None  # in the signal's unit
    threshold: float | None  # in the signal's unit; for a baseline condition the baseline times its ratio
    baseline: float | None = None  # what it was before the window, in the signal's unit
    since: datetime | None = None  # since when it is in this state
    muted: Muted | None = None  # by what; then that is its reason
    flapping: bool = False  # it began to fire too often, and has not rested since
    spec_version: str = ""


class Transition(Record, frozen=True, kw_only=True):
    """A series changed its state."""

    before: SeriesState
    after: SeriesState
    verdict: Verdict


# --- incidents -----------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    LOW = "low"  # look at it some day
    MEDIUM = "medium"  # look at it today
    HIGH = "high"  # look at it now
    CRITICAL = "critical"  # people are hurt by it now


class IncidentState(StrEnum):
    """Where an incident stands.

    ::

        open -> acting -> verifying -> mitigated -> closed
          \\________\\__________\\___________\\-> escalated -> closed
        closed -> open (firing again within an hour)
    """

    OPEN = "open"  # detected; a proposal is due, or waits its turn
    ACTING = "acting"  # an effect is under way
    VERIFYING = "verifying"  # the effect is there; samples begun after it are gathered
    MITIGATED = "mitigated"  # good under a directive; undone next, to see whether it stays good
    ESCALATED = "escalated"  # a person has it; no more actions
    CLOSED = "closed"  # over, with a reason


class CloseReason(StrEnum):
    HEALED = "healed"  # verified good with nothing left in force
    RECOVERED = "recovered"  # went away before anything was done, or with no credit due
    NO_DATA = "no_data"  # 24 h without enough samples
    SUPPRESSED = "suppressed"  # its series was muted by a person
    DISMISSED = "dismissed"  # a person said that it is none


class Note(Record, frozen=True, kw_only=True):
    """One line of an incident's timeline."""

    at: datetime
    what: str  # detected, decided, acted, verified, ... one word
    text: str


class Incident(Record, frozen=True, kw_only=True):
    """The story of a series that fired, from detection to its close."""

    id: str
    trigger: str
    group: Group
    severity: Severity
    state: IncidentState
    opened_at: datetime  # of this opening: reopening sets it anew
    first_opened_at: datetime
    value: float | None  # when it opened
    threshold: float | None
    baseline: float | None
    peak: float | None  # the worst value seen so far
    spec_version: str
    plan: tuple[str, ...]  # names of actions, in order
    plan_version: str
    step: int = 0  # which action of the plan is next or under way
    execution: str | None = None  # the newest one
    verification: str | None = None  # the newest one
    attempts: int = 0  # effects begun, and relapses
    given_back: int = 0  # attempts whose effect never began after all; their keys are not used again
    relapses: int = 0
    pauses: int = 0  # how often probation failed and the pause began anew
    hold_s: float = 300.0  # how long a directive stays after it did good, before it is undone to see
    reopened: int = 0
    updated_at: datetime
    closed_at: datetime | None = None
    close_reason: CloseReason | None = None
    closed_by: str | None = None
    escalated_at: datetime | None = None
    escalation: str | None = None  # why
    acknowledged_by: str | None = None
    mitigated_at: datetime | None = None
    parent: str | None = None  # the incident that hands over for it and for others that share a cause
    worst_ending: CloseReason | None = None  # of a parent: the least good with which one beneath it was closed
    notes: tuple[Note, ...] = ()

    @property
    def next_attempt(self) -> int:
        """The number of its next attempt, under which it has its idempotency key; no two have the same."""
        return self.attempts + self.given_back

    @property
    def is_parent(self) -> bool:
        """Whether it stands for several series that share a cause, and is about no series of its own."""
        return bool(self.group) and self.group[0][0] == CAUSE


class Silence(Record, frozen=True, kw_only=True):
    """A person's word that some series are to open no incident for a time."""

    id: str
    trigger: str | None  # whose series; None: of every trigger
    keys: dict[str, str]  # what a group must have among its own, such as {"agent": "Coder"}
    by: str
    reason: str
    created_at: datetime
    starts_at: datetime  # not before it was created
    ends_at: datetime  # by itself
    removed_at: datetime | None = None  # by a person, earlier
    removed_by: str | None = None
    settled: bool = False  # the loop has seen that it is over

    @property
    def over_at(self) -> datetime:
        """When it ends, or ended."""
        return self.ends_at if self.removed_at is None else min(self.removed_at, self.ends_at)


# --- constitution --------------------------------------------------------------------------------------------------


class Proposal(Record, frozen=True, kw_only=True):
    """One action of a plan, about to run: what the gate judges."""

    id: str
    incident: str
    trigger: str
    group: Group
    action: str
    action_type: str
    step: int
    attempt: int
    target: str  # the affected agent
    target_agent: str  # who gets the handoff
    settings: dict[str, Any]  # the directives it would set
    spec_version: str
    plan_version: str
    probation: dict[str, Any] = {}  # what it lets a paused agent back with later
    renews: str | None = None  # id of the decision that allowed what is to be set once more
    exempt_from_attempts: bool = False  # the diagnostic, which changes nothing in the fleet


class Outcome(StrEnum):
    """What the gate says of a proposal."""

    ALLOW = "allow"  # go
    DENY = "deny"  # never, for this step
    DEFER = "defer"  # not now; looked at again
    ASK = "ask"  # a person must say yes


class Finding(Record, frozen=True, kw_only=True):
    """What one policy of one article held against a proposal."""

    article: str  # I to V, or VI for those of a person's own
    policy: str  # the policy's id, which is also its reason in plain words, such as rate_limit
    outcome: Outcome


class Decision(Record, frozen=True, kw_only=True):
    """The gate's answer, recorded before any effect."""

    id: str
    proposal: Proposal
    at: datetime
    outcome: Outcome
    findings: tuple[Finding, ...]  # empty when allowed
    facts: dict[str, Any]
    constitution: str = ""  # hash of the articles that it was held to, as a version of them
    entry: int | None = None  # its place in the audit log, once it is on record


class ApprovalStatus(StrEnum):
    """What became of a question to a person: pending -> approved -> used; or denied, expired, withdrawn."""

    PENDING = "pending"  # nobody has answered
    APPROVED = "approved"  # a person said yes; it is decided anew, and done then
    DENIED = "denied"  # a person said no
    EXPIRED = "expired"  # nobody said yes in time, or what was approved could not be done in time; a no
    WITHDRAWN = "withdrawn"  # it is not to be done any more, or not so
    USED = "used"  # it was approved, and the gate has allowed it


UNSETTLED = (ApprovalStatus.PENDING, ApprovalStatus.APPROVED)
"""What still may come to something else."""


class Approval(Record, frozen=True, kw_only=True):
    """A question to a person: may that be done which cannot be undone?"""

    id: str
    plan: str  # hash of the proposal, which the answer is bound to
    proposal: Proposal
    decision: str  # id of the one that asks
    execution: str
    status: ApprovalStatus
    asked_at: datetime
    expires_at: datetime
    by: str | None = None  # who answered or ended it
    reason: str | None = None
    answered_at: datetime | None = None
    entry: int | None = None  # the place of its newest state in the audit log


# --- actions and handoffs ------------------------------------------------------------------------------------------


class ExecutionStatus(StrEnum):
    """How a proposal or its execution stands; what `check` prints as an action's status."""

    INTENDED = "intended"  # the intent is committed; the effect may or may not have begun
    DISPATCHED = "dispatched"  # the effect is there; its outcome is still to be judged
    SUCCEEDED = "succeeded"  # the effect is there and what was asked for is done
    FAILED = "failed"  # the effect could not be brought about
    UNKNOWN = "unknown"  # a crash hid whether the effect happened, and nobody can tell; escalated
    DENIED = "denied"  # the gate said no
    DEFERRED = "deferred"  # the gate said not now
    AWAITING_APPROVAL = "awaiting_approval"  # a person must say yes
    WOULD = "would"  # observe mode: it would have been done


class Execution(Record, frozen=True, kw_only=True):
    """One proposal's way through intent, effect and outcome. Only one that the gate allowed has a key and an effect."""

    id: str
    incident: str
    trigger: str
    action: str
    step: int
    attempt: int
    target: str
    target_agent: str
    status: ExecutionStatus
    decision: str  # id of the decision that stands behind the status
    created_at: datetime
    updated_at: datetime
    settings: dict[str, Any] = {}
    key: str | None = None  # idempotency key, with the intent
    handoff: str | None = None  # id, fixed in the intent
    effect_at: datetime | None = None  # when directives were written, the handoff was completed or ran out
    tries: int = 0
    error: str | None = None
    reason: str | None = None  # why denied or deferred


class Directive(Record, frozen=True, kw_only=True):
    """A setting that the fleet reads."""

    id: str
    agent: str
    name: str  # paused, model, max_cost_usd, token_budget, max_output_tokens, max_concurrency, timeout_s, quality_gate
    value: Any
    owner: str  # incident
    execution: str
    kind: str  # the type of its action; blast radius counts by it
    reason: str
    created_at: datetime
    expires_at: datetime
    replaced: Any = None  # what was in force before, None when nothing was
    undone_at: datetime | None = None
    undone_reason: str | None = None


Snapshot = dict[str, dict[str, list[dict[str, Any]]]]
"""By agent and setting, the values of the directives in force, the safest first."""


class HandoffStatus(StrEnum):
    """The life of a handoff: created -> delivered -> accepted -> completed | failed | expired."""

    CREATED = "created"  # its name is fixed; nothing is delivered yet
    DELIVERED = "delivered"  # it is where its recipient looks
    ACCEPTED = "accepted"  # the recipient works on it
    COMPLETED = "completed"  # the recipient says it is done
    FAILED = "failed"  # the recipient says it cannot be done
    EXPIRED = "expired"  # its deadline passed


class Handoff(Record, frozen=True, kw_only=True):
    """A handoff in the state: its message as delivered, and what became of it."""

    id: str
    incident: str
    execution: str
    target_agent: str
    about: str  # the affected agent
    status: HandoffStatus
    file: str  # name in the handoffs directory, fixed in the intent
    message: dict[str, Any]  # the nine keys, as delivered
    created_at: datetime
    deadline: datetime
    delivered_at: datetime | None = None
    accepted_at: datetime | None = None
    ended_at: datetime | None = None
    result: str | None = None  # what the recipient said
    channel: str = "file"  # by which it goes, beside its file; fixed in the intent
    served: bool = True  # whether that channel is its recipient's, rather than the fallback for whoever has none
    remote: str | None = None  # what the recipient calls it, such as the id of its task
    pause: str | None = None  # what the recipient waits for, where it says that it cannot go on by itself
    trouble: str | None = None  # why it does not say how it stands, where it was asked last
    taken_back_at: datetime | None = None  # when a notification was, as its incident was closed
    notes: tuple[Note, ...] = ()


# --- verification and learning -------------------------------------------------------------------------------------


class VerificationPhase(StrEnum):
    EFFECT = "effect"  # judging what the action did
    PROBATION = "probation"  # judging the probes of an agent that was let back half-open
    UNDONE = "undone"  # judging whether it stays good without the directive


class Result(StrEnum):
    HEALED = "healed"  # the symptom went
    NOT_HEALED = "not_healed"  # it is still there
    WORSE = "worse"  # it is beyond the peak from before
    INCONCLUSIVE = "inconclusive"  # too few samples, or between clear and condition, at the deadline


class Verification(Record, frozen=True, kw_only=True):
    """The judgement, on work begun after the effect only, whether the symptom went."""

    id: str
    incident: str
    execution: str
    trigger: str
    group: Group
    action: str
    phase: VerificationPhase
    effect_at: datetime
    deadline: datetime
    needed: int  # samples
    tasks: int = 3  # that they come of, at least
    peak: float | None  # the worst value before the effect
    threshold: float | None  # in the signal's unit
    baseline: float | None = None  # what it was before, in the signal's unit
    members: dict[str, tuple[float | None, float | None]] = {}  # threshold and baseline of the triggers it looks at
    judged_by: str | None = None  # the action's own aggregate and signal, where it is not judged by its trigger's
    unit: str | None = None  # of its values; None where an earlier release did not say
    extended: int = 0
    result: Result | None = None
    value: float | None = None
    samples: int = 0
    judged_at: datetime | None = None
    credit: float | None = None  # 0..1, for healed


class Judged(Record, frozen=True, kw_only=True):
    """One outcome that counts for or against an action, and when it was known."""

    at: datetime
    result: Result  # healed, not_healed or worse


class Lesson(Record, frozen=True, kw_only=True):
    """What the outcomes say about an action for a trigger and an agent."""

    id: str  # trigger/action/agent
    trigger: str
    action: str
    agent: str
    tries: int = 0
    healed: int = 0
    not_healed: int = 0
    worse: int = 0
    inconclusive: int = 0
    credit: float = 0.0  # sum over the healed
    heal_s: tuple[float, ...] = ()  # the newest hundred times from opening to healed
    recent: tuple[Judged, ...] = ()  # the newest ten, oldest first
    last_at: datetime | None = None
