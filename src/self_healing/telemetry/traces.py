"""Traces: which of a trace's spans is the task, and what its parts add to it.

The outermost of a trace's agent spans, or its root span where that does some of the work, is the task; the rest are its
parts. A root span that is itself a call or an agent is a task at once. Any other waits a moment: an agent span for one
above it, a root span for work below it. Time is event time, or where a span comes late, the instant that was evaluated
last: so it does not matter how spans are cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from self_healing.clock import MINUTE_US, SECOND_US
from self_healing.measures import NONE_MIN
from self_healing.model import Event, Ingested, Kind, Usage
from self_healing.telemetry.attempts import Attempts
from self_healing.telemetry.calls import Call, Retried, Sum, Told
from self_healing.telemetry.samples import tokens_of

WAIT_US: Final = 2 * SECOND_US
"""How long an agent span waits for one above it, and a root span for work below it."""

KEPT_US: Final = 10 * MINUTE_US
"""How long a trace is remembered after its newest span."""

MOST_SPANS: Final = 100_000
"""So many spans of traces without an end are remembered, and roots beside the first of a trace; beyond that the oldest
traces are forgotten."""

MOST_DONE: Final = 10_000
"""So many traces whose root span was a task are remembered, for the calls that come after it: as many tasks are."""

NEVER: Final = int(NONE_MIN)
"""When nothing waits."""

FAILURES: Final = ("failed", "timeout")

CALLS: Final = ("llm_call", "tool_call")
"""The kinds of events that are calls."""

NANO: Final = 1_000_000_000
"""Costs are added in whole thousand-millionths of a dollar, so that their order does not matter."""

Made = tuple[int, Kind, Event]
"""An event that was made of spans, when it happened, and its kind."""


class Part(msgspec.Struct, gc=False, array_like=True):
    """What a call, or an agent's part of the work, adds to its task."""

    span: str
    ts_us: int
    tokens: int | None
    nano_usd: int | None
    attempt: int | None
    call: str | None  # what a repeated call shares with the one before; None when nothing says so
    failed: bool
    said: Call | None = None  # the call itself, where somebody wants it


Outcome = tuple[int, bool, str, str]
NO_OUTCOME: Outcome = (0, False, "", "")


class Trace(msgspec.Struct, gc=False, array_like=True):
    """What is known of one trace.

    Args:
        seen_us: when its newest span came.
        parents: of each span.
        agents: the agent spans that are no tasks (yet), and whose each is.
        parts: those that no task has taken.
        waiting: spans that may turn out to be a task: until when, when they ended, and what they say.
        tasks: the spans that were tasks: agent and task id.
        attempts: of each of them that does not say itself which attempt it was.
        roots: the root span, while it is or may yet be a task; several only where ids are wrong.
        done: its root was a task, which takes all that still comes.
        handoff_id: the handoff that some span says it is worked on for.
        outcome: of the agent span that ended last: when, whether it failed, with which status, by which error.
        called: the same of the model call that ended last.
    """

    seen_us: int = 0
    parents: dict[str, str | None] = {}
    agents: dict[str, str | None] = {}
    parts: list[Part] = []
    waiting: dict[str, tuple[int, int, Ingested]] = {}
    tasks: dict[str, tuple[str | None, str]] = {}
    roots: set[str] = set()
    done: bool = False
    handoff_id: str | None = None
    outcome: Outcome = NO_OUTCOME
    attempts: dict[str, Attempts] = {}
    called: Outcome = NO_OUTCOME

    @property
    def size(self) -> int:
        """What it counts for in MOST_SPANS: its spans, and its roots beside the first, which stay when it is done."""
        return len(self.parents) + max(len(self.roots) - 1, 0)

    def above(self, span: str) -> Iterator[str]:
        """The spans above `span`, as far as they are known, the nearest first."""
        for _ in self.parents:  # ids that go round in a circle end too
            parent = self.parents.get(span)
            if parent is None:
                return
            yield parent
            span = parent

    def task_above(self, span: str) -> str | None:
        """The span of the task that a late part belongs to; None when that is not known (yet)."""
        nearest = next((each for each in (span, *self.above(span)) if each in self.tasks), None)
        return next((task for task in self.tasks if task in self.roots), None) if nearest is None else nearest

    def agent_above(self, span: str) -> str | None:
        """The agent whose span is the nearest above `span`, itself included; None when that is not known (any more)."""
        for each in (span, *self.above(span)):
            agent = self.agents.get(each) or self.tasks.get(each, (None,))[0]
            if agent is not None:
                return agent
        return None

    def take(self, span: str) -> list[Part]:
        """Take out what is part of the work of `span`, itself included; of a root span that is all there is."""
        if span in self.roots:
            taken, self.parts = self.parts, []
            return taken
        mine = [part.span == span or span in self.above(part.span) for part in self.parts]
        taken = [part for part, own in zip(self.parts, mine, strict=True) if own]
        self.parts = [part for part, own in zip(self.parts, mine, strict=True) if not own]
        return taken


class Traces:
    """The traces that something may still come of.

    Args:
        calls: whether somebody wants the calls themselves, which :attr:`calls` gets once it is known whose they are.
    """

    def __init__(self, *, calls: bool = False) -> None:
        self.calls: list[Told] = []
        self._wants_calls = calls
        self.lost = 0  # traces that were forgotten with calls that no task had taken
        self._traces: dict[str, Trace] = {}  # the one that was heard of last comes last
        self._due: list[tuple[int, int, str, str]] = []  # a heap: when, end, trace and span of what waits
        self._newest: str | None = None  # which of them comes last, so that its next span need not put it there again
        self._last = Trace()  # itself, while there is one
        self._packed: dict[str, msgspec.Raw] = {}  # those that are done, as they were packed and are still,
        self._open: dict[str, Trace] = {}  # and all others
        self._spans = 0
        self._done = 0
        self.first_due_us = NEVER
        """Before this nothing has waited long enough, microseconds."""

    def learn(self, event: Ingested, ts_us: int) -> Trace:
        """Learn where a span stands in its trace, as soon as it came, be it in flight; safe to call twice.

        So an agent span that came together with the one above it is never taken for a task, however much later that
        one ended.
        """
        trace, span, parent = self._heard(event.trace_id or "", ts_us), event.span_id or "", event.parent_id
        if event.handoff_id is not None:
            trace.handoff_id = event.handoff_id
        if parent is None and span not in trace.roots:
            self._spans += bool(trace.roots)
            trace.roots.add(span)
        if trace.done:  # what stood in flight when its root ended is learnt again at a restart, and needed no more
            return trace
        if span not in trace.parents:
            trace.parents[span] = parent
            self._spans += 1
        if event.role == "agent":
            trace.agents[span] = event.agent
        return trace

    def _heard(self, trace_id: str, ts_us: int) -> Trace:
        """A trace of which something was heard at `ts_us`."""
        if trace_id == self._newest:
            trace = self._last
        else:
            found = self._traces.pop(trace_id, None)
            trace = self._traces[trace_id] = self._last = Trace() if found is None else found
            self._newest = trace_id
            self._reopen(trace_id, trace)
        if ts_us > trace.seen_us:  # noqa: PLR1730 max() takes five times as long
            trace.seen_us = ts_us
        return trace

    def _reopen(self, trace_id: str, trace: Trace) -> None:
        """It changes now."""
        self._packed.pop(trace_id, None)
        self._open[trace_id] = trace

    def add(self, event: Ingested, ts_us: int, now_us: int, made: list[Made]) -> None:
        """Take in a span.

        Args:
            event: it has a trace and a span id.
            ts_us: when it ended, microseconds.
            now_us: that, or the instant that was evaluated last when that is later.
            made: gets the model calls of tasks that have ended.
        """
        trace, kind, role = self._heard(event.trace_id or "", now_us), event.kind, event.role
        if event.span_id not in trace.parents:  # else it was learnt when it came
            self.learn(event, now_us)
        # Whether it adds something to the task that it is a part of.
        counts = kind in CALLS or (role == "agent" and event.attempt is not None)
        if event.parent_id is None:
            self._wait(trace, event, ts_us, now_us + (WAIT_US if role == "other" else 0))
        elif trace.done:
            if counts:
                self._late(trace, self._part(event, ts_us), ts_us, made)
            return
        elif role == "agent":
            trace.outcome = max(trace.outcome, _outcome(event, ts_us))
            self._wait(trace, event, ts_us, now_us + WAIT_US)
        elif kind == "llm_call" and ts_us >= trace.called[0]:
            trace.called = max(trace.called, _outcome(event, ts_us))
        if counts:
            trace.parts.append(self._part(event, ts_us))
        if trace.tasks:
            self._pass_on(trace, ts_us, made)

    def _wait(self, trace: Trace, event: Ingested, ts_us: int, due_us: int) -> None:
        trace_id, span = event.trace_id or "", event.span_id or ""
        trace.waiting[span] = (due_us, ts_us, event)
        self.first_due_us = min(self.first_due_us, due_us)
        heappush(self._due, (due_us, ts_us, trace_id, span))

    def _pass_on(self, trace: Trace, at_us: int, made: list[Made]) -> None:
        """Give what no task has taken to the task that it turns out to belong to."""
        parts, trace.parts = trace.parts, []
        for part in parts:
            if trace.task_above(part.span) is None:
                trace.parts.append(part)
            else:
                self._late(trace, part, at_us, made)

    def _late(self, trace: Trace, part: Part, at_us: int, made: list[Made]) -> None:
        """A call comes after its task; at the time of what told so, which is after the task's end."""
        task = trace.task_above(part.span)
        if task in trace.tasks:
            self._tell(trace, part, at_us, trace.tasks[task], None)
        if task in trace.tasks and (part.tokens is not None or part.nano_usd is not None):
            made.append((at_us, Kind.LLM_CALL, _call(*trace.tasks[task], part.tokens, part.nano_usd)))
        if task in trace.attempts:
            attempts = trace.attempts[task]
            before = attempts.total
            attempts.add(part.call, part.ts_us, part.attempt, failed=part.failed)
            if attempts.total != before:
                agent, id = trace.tasks[task]
                retried = Retried(kind="llm_call", agent=agent, task_id=id, attempt=attempts.total, before=before)
                made.append((at_us, Kind.LLM_CALL, retried))

    def _part(self, event: Ingested, ts_us: int) -> Part:
        tokens = nano = None
        usage, call = event.usage, event.call_id
        if usage is not None and event.kind == "llm_call":  # an agent's repeats that of its calls
            tokens = tokens_of(usage)
            if usage.total_usd is not None:
                nano = round(usage.total_usd * NANO)
        if call is not None:
            call = f"{event.tool or event.model} {call}"
        # By their places: with their names it takes twice as long.
        part = Part(event.span_id or "", ts_us, tokens, nano, event.attempt, call, event.status in FAILURES)
        if self._wants_calls and event.kind in CALLS:
            part.said = Call.of(event)
        return part

    def _tell(
        self, trace: Trace, part: Part, at_us: int, task: tuple[str | None, str], started_at: float | None
    ) -> None:
        """Tell of a call whose task is known now: at `at_us`, for a window would never see an earlier time."""
        if part.said is not None:
            agent = part.said.agent or trace.agent_above(part.span) or task[0]
            call = part.said.event(agent, task[1])
            call.handoff_id = trace.handoff_id
            self.calls.append((at_us, call, started_at))

    # -- what waits

    def next_due_us(self) -> int | None:
        """When the next span has waited long enough, microseconds; None when none waits."""
        while self._due and not self._waits(*self._due[0]):
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def decide(self, until_us: int, made: list[Made]) -> bool:
        """Say of what has waited until then whether it is a task; `made` gets those that are. Whether anything had."""
        decided = False
        while self._due and self._due[0][0] <= until_us:
            waited = heappop(self._due)
            if self._waits(*waited):
                trace = self._traces[waited[2]]
                self._reopen(waited[2], trace)
                self._decide(trace, waited[3], made)
                decided = True
        self.first_due_us = self._due[0][0] if self._due else NEVER
        return decided

    def _waits(self, due_us: int, _: int, trace_id: str, span: str) -> bool:
        trace = self._traces.get(trace_id)
        # Else it was decided before its time.
        return trace is not None and span in trace.waiting and trace.waiting[span][0] == due_us

    def _decide(self, trace: Trace, span: str, made: list[Made]) -> None:
        _, ts_us, event = trace.waiting.pop(span)
        if span in trace.roots:
            if event.role != "other" or trace.parts or trace.agents:
                self._end(trace, event, ts_us, made)
                self._close(trace)
            else:
                trace.roots.remove(span)  # nobody's work: what comes below it stands for itself
                self._spans -= bool(trace.roots)
        elif not self._is_part(trace, span):
            self._end(trace, event, ts_us, made)

    @staticmethod
    def _is_part(trace: Trace, span: str) -> bool:
        return bool(trace.roots) or any(above in trace.agents or above in trace.tasks for above in trace.above(span))

    def _end(self, trace: Trace, event: Ingested, ts_us: int, made: list[Made]) -> None:
        """A span is a task, and has ended."""
        span = event.span_id or ""
        taken = parts = trace.take(span)
        own = event.usage or Usage()
        if event.kind == "llm_call":
            parts = [part for part in parts if part.span != span]
        tokens, nano = _sum([part.tokens for part in parts]), _sum([part.nano_usd for part in parts])
        task = _task(event)
        if event.role == "other":
            _wraps(task, trace)
        attempts = Attempts()
        for part in parts:
            attempts.add(part.call, part.ts_us, part.attempt, failed=part.failed)
        task.attempt = event.attempt or attempts.total
        if event.attempt is None:
            trace.attempts[span] = attempts
        task.handoff_id = event.handoff_id or trace.handoff_id
        known = (tokens_of(own), own.total_usd)
        if known != (None, None):
            task.usage = _completed(own, tokens, nano)
        made.append((ts_us, Kind.TASK_FINISHED, task))
        if known == (None, None) and (tokens, nano) != (None, None):
            # As a call, to which later ones can still be added.
            made.append((ts_us, Kind.LLM_CALL, _call(task.agent, task.task_id or "", tokens, nano)))
        trace.tasks[span] = (task.agent, task.task_id or "")
        if self._wants_calls:
            for part in taken:
                self._tell(trace, part, ts_us, trace.tasks[span], task.started_at)
        trace.agents.pop(span, None)

    def _close(self, trace: Trace) -> None:
        """Nothing but late parts can come now; let go of what they do not need."""
        self._done += not trace.done
        trace.done = True
        trace.agents = {}
        if len(trace.tasks) == 1:
            self._spans -= len(trace.parents)
            trace.parents = {}

    # -- bounds

    def forget(self, now_us: int, made: list[Made]) -> None:
        """Let go of traces that nothing was heard of for long, and of what is beyond the numbers that are kept."""
        for trace_id, trace in list(self._oldest_beyond(now_us)):
            for _, _, span in sorted((*waits[:2], span) for span, waits in trace.waiting.items()):
                self._decide(trace, span, made)
            self.lost += bool(trace.parts)
            self._spans -= trace.size
            self._done -= trace.done
            del self._traces[trace_id]
            self._packed.pop(trace_id, None)
            self._open.pop(trace_id, None)
            if trace_id == self._newest:
                self._newest = None

    def _oldest_beyond(self, now_us: int) -> Iterator[tuple[str, Trace]]:
        spans, done = self._spans - MOST_SPANS, self._done - MOST_DONE
        for trace_id, trace in self._traces.items():
            old = trace.seen_us < now_us - KEPT_US
            if not old and spans <= 0 and done <= 0:
                return
            if old or (spans > 0 and trace.size) or (done > 0 and trace.done):
                spans -= trace.size
                done -= trace.done
                yield trace_id, trace

    # -- state

    def pack(self) -> bytes:
        """All of it, for the state. Of most traces nothing was heard since it was asked for last: those are done."""
        self._newest = None  # what comes next of that trace changes it
        for trace_id in [trace_id for trace_id, trace in self._open.items() if trace.done]:
            self._packed[trace_id] = msgspec.Raw(msgspec.msgpack.encode(self._open.pop(trace_id)))
        return msgspec.msgpack.encode((self._packed | self._open, self.lost))

    def unpack(self, packed: bytes) -> None:
        """Put back what :meth:`pack` gave."""
        traces, self.lost = msgspec.msgpack.decode(packed, type=tuple[dict[str, Trace], int])
        self._traces = dict(sorted(traces.items(), key=lambda each: each[1].seen_us))
        self._newest, self._packed, self._open = None, {}, dict(self._traces)
        self._spans = sum(trace.size for trace in self._traces.values())
        self._done = sum(trace.done for trace in self._traces.values())
        self._due = [
            (due_us, ts_us, trace_id, span)
            for trace_id, trace in self._traces.items()
            for span, (due_us, ts_us, _) in trace.waiting.items()
        ]
        heapify(self._due)
        self.first_due_us = self._due[0][0] if self._due else NEVER


def _outcome(event: Ingested, ts_us: int) -> Outcome:
    return ts_us, event.status in FAILURES, event.status or "", event.error_type or ""


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _wraps(task: Event, trace: Trace) -> None:
    """Tell of what a root span that does no work itself is put around."""
    agents = {agent for agent in trace.agents.values() if agent is not None}
    _, failed, status, error_type = trace.outcome if agents else trace.called
    if task.status not in FAILURES and failed:
        # What wraps agents, or answers a request with a call, often ends well after they did not.
        task.status, task.error_type = status, error_type or None
    if len(agents) == 1:
        task.agent = agents.pop()  # it wraps the work of one agent, and that is who can be treated


def _completed(own: Usage, tokens: int | None, nano: int | None) -> Usage:
    """A task's own usage; what it does not say is the sum of its calls."""
    return Usage(
        prompt_tokens=own.prompt_tokens,
        completion_tokens=own.completion_tokens,
        total_tokens=tokens if tokens_of(own) is None else tokens_of(own),
        total_usd=_usd(nano) if own.total_usd is None else own.total_usd,
    )


def _usd(nano: int | None) -> float | None:
    return None if nano is None else nano / NANO


def _call(agent: str | None, task_id: str, tokens: int | None, nano: int | None) -> Event:
    return Sum(kind="llm_call", agent=agent, task_id=task_id, usage=Usage(total_tokens=tokens, total_usd=_usd(nano)))


def _task(event: Ingested) -> Event:
    return Event(
        ts=event.ts,
        kind="task_finished",
        task_id=event.task_id or event.trace_id,
        agent=event.agent,
        model=event.model,
        provider=event.provider,
        status=event.status,
        started_at=event.started_at,
        finished_at=event.finished_at,
        duration_s=event.duration_s,
        error_type=event.error_type,
        tool=event.tool,
        run_id=event.run_id,
        trace_id=event.trace_id,
        attributes=event.attributes,
    )
