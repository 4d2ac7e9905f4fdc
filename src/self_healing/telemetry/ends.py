"""Ends: when the task started that one is of, and what comes after it that adds to what it was worth."""

from __future__ import annotations

from self_healing.clock import SECOND_US
from self_healing.model import Event, Usage
from self_healing.telemetry.agents import Agent, Running
from self_healing.telemetry.calls import Retried
from self_healing.telemetry.samples import Gathered, Late, Retries, tokens_of


def start_of(agent: Agent, event: Event) -> float | None:
    """When the task started that an event is about, seconds since 1970; None when nobody knows."""
    id = event.task_id
    if id is None:
        return None
    task = agent.running.get(id)
    if task is not None:
        return task.started_at
    ended = agent.ended_of(id)
    return None if ended is None else ended[1]


def unsaid_start(event: Event, task: Running | None, at: int) -> float | None:
    """When an attempt started whose end does not say so, in seconds since 1970; None when nobody knows."""
    if task is not None:
        return task.started_at
    if event.duration_s is None:
        return None
    ended_at = at / SECOND_US if event.finished_at is None else event.finished_at
    return ended_at - event.duration_s


def add_call(agent: Agent, event: Event, usage: Usage, at: int, out: Late) -> bool:
    """Count what a model call used for its task, also for one that ended and did not say all it used.

    Returns:
        Whether what is remembered of an end has changed.
    """
    id = event.task_id
    if id is None:
        return False
    tokens, cost = tokens_of(usage), usage.total_usd
    task = agent.running.get(id)
    if task is not None:
        if tokens is not None:
            task.tokens = (task.tokens or 0) + tokens
        if cost is not None:
            task.cost_usd = (task.cost_usd or 0.0) + cost
        return False
    ended = agent.ended_of(id)
    if ended is None or ended[3] is None:
        return False
    unpaid = ended[3]
    said = unpaid.event.usage
    if said is not None:  # to a figure of its own its calls add nothing
        tokens = tokens if tokens_of(said) is None else None
        cost = cost if said.total_usd is None else None
    if tokens is None and cost is None:
        return False
    gather(out, agent, unpaid.event, ended[0])
    out.heard_us.append(at)
    out.started_at.append(ended[1])
    out.tokens.append(tokens)
    out.cost_usd.append(cost)
    out.first_tokens.append(not unpaid.tokens)
    out.first_cost_usd.append(not unpaid.cost_usd)
    unpaid.tokens |= tokens is not None
    unpaid.cost_usd |= cost is not None
    return True


def add_retried(agent: Agent, event: Retried, out: Retries) -> None:
    """Count the attempts of a task that ended, which turned out to be more than were counted."""
    ended = agent.ended_of(event.task_id)
    if ended is not None and ended[3] is not None and event.attempt is not None:
        gather(out, agent, ended[3].event, ended[0])
        out.started_at.append(ended[1])
        out.before.append(event.before)
        out.attempts.append(event.attempt)


def gather(gathered: Gathered, agent: Agent, event: Event, at: int) -> None:
    """Gather an event of an agent."""
    gathered.events.append(event)
    gathered.ts.append(at)
    gathered.place.append(agent.place)
