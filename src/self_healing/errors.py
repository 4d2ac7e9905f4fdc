"""The errors of the framework.

::

    SelfHealingError
    ├── ConfigError        a setting or a spec that cannot be used (file, key, value, what is allowed)
    ├── StateError         the state directory cannot be used
    │   ├── StateBusy      another process owns it
    │   └── StateCorrupt   what is stored is not what was written
    ├── StorageError       a write did not commit; nothing of it was acknowledged
    ├── TurnFailed         a turn of the service failed as nobody foresaw; the service ends
    ├── Overloaded         more comes in than can be written; the same may be sent again later
    ├── ConversionLost     the process that converts what is sent was lost; the same may be sent again
    ├── TelemetryError     the telemetry directory cannot be read
    ├── Undecodable        a request that is not what it says it is
    │   ├── TooMany        one that holds more than is taken at once
    │   └── Unconvertible  one over which the process that converts it was lost, again and again
    ├── EffectError        an effect could not be brought about
    │   ├── EffectRefused  its recipient will not have it, however often it is tried
    │   └── EffectUntold   nobody can tell whether it was brought about
    ├── ConstitutionBypass an effect was asked for that the gate did not allow
    ├── LifecycleError     a step that an incident's state does not allow
    ├── HandoffRefused     a step that a handoff's status does not allow
    ├── ApprovalRefused    an answer that comes too late, or is about another plan
    ├── SilenceRefused     a silence that mutes nothing, or is over
    ├── ServiceRefused     a service that was asked over HTTP says no
    ├── ServiceUnreachable a service that was asked over HTTP does not answer
    └── NotFound           no record with that id

Expected outcomes (a denial, a quarantined line, a series without data) are values, never exceptions.
"""

from __future__ import annotations

from collections.abc import Iterable


class SelfHealingError(Exception):
    """Base of every error that the framework raises on purpose; its text says what happened and what to do next."""


class ConfigError(SelfHealingError):
    """A configuration or a spec was refused.

    Args:
        problems: one line for each mistake: file, key, value and what is allowed.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StateError(SelfHealingError):
    """The state directory cannot be used."""


class StateBusy(StateError):
    """Another process owns the state directory."""


class StateCorrupt(StateError):
    """What is stored is not what was written: a torn record, a broken hash chain, an unknown schema version."""


class StorageError(SelfHealingError):
    """A transaction did not commit (disk full, database locked); nothing in it happened."""


class TurnFailed(SelfHealingError):
    """A turn of the service's loop failed for a reason that nobody foresaw: the service ends, for its memory may be
    ahead of the state.

    Args:
        error: what happened.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"the service ends, for a turn of it failed as nobody foresaw ({error!r}): what was committed stands, and"
            " what was acknowledged is read at the next start; turn_failed in the orchestrator's log says where"
        )


class Overloaded(SelfHealingError):
    """More telemetry comes in than can be written; nothing of it was taken, and it may be sent again.

    Args:
        retry_after_s: when to.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too much waits to be written; send it again in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class ConversionLost(SelfHealingError):
    """The process that converts what is sent was lost over it; nothing of it was taken, and it may be sent again.

    Args:
        why: what became of the process.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"the process that converts what is sent {why}; another one is made: send it again")


class TelemetryError(SelfHealingError):
    """The telemetry directory cannot be read now; the framework keeps watching for it."""


class Undecodable(SelfHealingError):
    """The body of a request cannot be decoded; nothing of it was taken, and sent again it would be as bad."""


class TooMany(Undecodable):
    """A request holds more than is taken at once; nothing of it was taken, and it is to be sent in smaller parts."""


class Unconvertible(Undecodable):
    """Over a request the process that converts it was lost more than once; nothing of it was taken."""

    def __init__(self) -> None:
        super().__init__(
            "the process that converts what is sent failed or ended over this more than once, or it took too long: do"
            " not send the same again, send it in smaller batches"
        )


class EffectError(SelfHealingError):
    """An effect could not be brought about (a channel refused, a file could not be written)."""


class EffectRefused(EffectError):
    """An effect was refused for good: tried again, it would be refused as well."""


class EffectUntold(EffectError):
    """An effect was begun, and no answer came that says whether it was brought about."""


class ConstitutionBypass(SelfHealingError):
    """Something asked for an effect that the gate did not allow; nothing was done.

    Args:
        execution: id of the execution.
        why: what is wrong with the decision behind it.
    """

    def __init__(self, execution: str, why: str) -> None:
        super().__init__(f"execution {execution} is refused: {why}; only what the gate allowed is ever done")
        self.execution = execution


class LifecycleError(SelfHealingError):
    """A step that an incident's state does not allow.

    Args:
        incident: its id.
        state: where it stands.
        to: the state that was asked for.
        allowed: where it can go from there.
    """

    def __init__(self, incident: str, state: str, to: str, allowed: Iterable[str]) -> None:
        can = ", ".join(sorted(allowed))
        super().__init__(f"incident {incident} is {state} and cannot become {to}; it can become {can}")
        self.incident = incident
        self.to = to


class HandoffRefused(SelfHealingError):
    """A handoff cannot go where it was told to.

    Args:
        handoff: its id.
        to: the status that was asked for.
        why: what stands in the way.
    """

    def __init__(self, handoff: str, to: str, why: str) -> None:
        super().__init__(f"handoff {handoff} cannot become {to}: {why}")
        self.handoff = handoff
        self.to = to


class ApprovalRefused(SelfHealingError):
    """An approval cannot be answered.

    Args:
        approval: its id.
        why: what stands in the way.
    """

    def __init__(self, approval: str, why: str) -> None:
        super().__init__(f"approval {approval} cannot be answered: {why}")
        self.approval = approval


class SilenceRefused(SelfHealingError):
    """A silence cannot be what it was asked to be.

    Args:
        why: what stands in the way.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"silence refused: {why}")


class ServiceRefused(SelfHealingError):
    """A service that was asked over HTTP refused to answer.

    Args:
        status: of HTTP, such as 404.
        said: what is wrong, and what is allowed.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class ServiceUnreachable(SelfHealingError):
    """A service that was asked over HTTP did not answer, or no more; what it was told may have been done."""


class NotFound(SelfHealingError):
    """No record with that id.

    Args:
        what: the kind of record, in the words of the documentation.
        id: what was asked for.
        meant: what may have been meant, such as `` did you mean slow_tasks?``.
    """

    def __init__(self, what: str, id: str, meant: str = "") -> None:
        super().__init__(f"no {what} {id!r};{meant} list them to see which there are")
        self.what = what
        self.id = id
