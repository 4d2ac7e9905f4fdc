"""Examining: every check in its order, and what comes of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec

from self_healing.clock import DAY_US
from self_healing.config import Mode, Settings, load_spec
from self_healing.doctor.findings import Finding, Outcome, Proposal, Tell, ok, problem
from self_healing.doctor.fitting import as_toml, fired, fits, in_words, propose, too_often, windows
from self_healing.doctor.history import arrival, read_history
from self_healing.doctor.observing import observe
from self_healing.doctor.surroundings import surroundings
from self_healing.errors import ConfigError, StateError, StorageError
from self_healing.loading import try_spec
from self_healing.spec import Spec
from self_healing.status import stored_overrides
from self_healing.telemetry.columns import ATTRIBUTE, asked_attributes

WEEK_US: Final = 7 * DAY_US
"""Agents' work repeats itself by the week: with less of it seen, nobody knows what is usual."""


def examine(load: Callable[[], Settings], *, at: datetime, tell: Tell) -> dict[str, Any]:
    """Look at everything; what ``doctor --format json`` prints.

    Args:
        load: loads the settings.
        at: now, aware.
        tell: is told what is being done, for what takes longer than a moment.
    """
    try:
        settings = load()
    except ConfigError as error:
        return _report(_mistakes("configuration", error), [], {})
    findings, spec = _declared(settings)
    findings += surroundings(settings, spec, at)
    history = read_history(settings, at, tell, () if spec is None else _asked(spec))
    findings += arrival(settings, history, at)
    proposals: list[Proposal] = []
    noisy: list[str] = []
    if spec is not None and history.events:
        observed = observe(spec, history, tell)
        now = fired(spec, history, partial(tell, "replaying history"))
        proposals = propose(spec, observed, now, history, tell)
        noisy = [name for name, each in now.items() if too_often(each, history)]
        findings += [*fits(spec, observed, now, proposals, history), *windows(spec, history)]
    findings.append(_mode(settings, findings, noisy, history.span_us))
    says = {} if spec is None else {each.trigger: in_words(each, spec, history) for each in proposals}
    return _report(findings, proposals, says)


def _asked(spec: Spec) -> tuple[str, ...]:
    """The attributes that triggers and maintenance windows ask for."""
    keys = {key for window in spec.maintenance for key in window.keys if key.startswith(ATTRIBUTE)}
    return tuple(sorted({*asked_attributes(spec.triggers), *(key.removeprefix(ATTRIBUTE) for key in keys)}))


def _declared(settings: Settings) -> tuple[list[Finding], Spec | None]:
    """Whether what is declared loads, and passes its own tests."""
    try:
        try:
            overrides = stored_overrides(settings)
        except (StateError, StorageError):  # said by what looks at the state
            overrides = {}
        spec = load_spec(settings, overrides)
        try_spec(spec, settings.triggers.tests, settings, overrides)
    except ConfigError as error:
        return _mistakes("spec", error), None
    on = sum(each.enabled for each in spec.triggers)
    return [ok("configuration", f"{on} triggers, {len(spec.actions)} actions, spec {spec.version}")], spec


def _mistakes(check: str, error: ConfigError) -> list[Finding]:
    return [problem(check, line, "self-healing config validate, after mending it") for line in error.problems]


def _mode(settings: Settings, findings: Iterable[Finding], noisy: Sequence[str], span_us: int) -> Finding:
    """Whether it is time to let it act."""
    if settings.actions.mode is Mode.ACT:
        return ok("mode", "act: what the constitution allows is done")
    waits = []
    if span_us < WEEK_US:
        waits.append(f"{span_us / DAY_US:.1f} of the 7 days of history that show what is usual are there")
    if any(each.outcome is Outcome.PROBLEM for each in findings):
        waits.append("problems are to be mended")
    if noisy:
        waits.append(f"{', '.join(noisy)} would act too often")
    if waits:
        return ok("mode", f"observe, and not yet time to act: {'; '.join(waits)}")
    return ok("mode", 'observe, and time to act: set mode = "act" in [actions]; the thresholds are quiet enough')


def _report(findings: list[Finding], proposals: list[Proposal], says: Mapping[str, str]) -> dict[str, Any]:
    counts = {outcome.value: sum(each.outcome is outcome for each in findings) for outcome in Outcome}
    return {
        "counts": counts,
        "checks": msgspec.to_builtins(findings),
        "proposals": [
            msgspec.to_builtins(each) | {"says": says[each.trigger], "toml": as_toml(each)} for each in proposals
        ],
    }
