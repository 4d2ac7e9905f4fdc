"""Lets a fleet of AI agents heal itself.

::

    telemetry -> triggers -> incidents -> constitution -> actions / handoffs -> verification -> learning
        ^                                                        |
        +------------- the fleet reads directives, works handoffs, and emits telemetry again

The folders are the stages; :mod:`self_healing.orchestrator` lists them in their order. Names are imported when they are
first used, so that an agent that only reads its directives pays for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from self_healing.actions.directives import read_directives
    from self_healing.actions.registry import ActionRegistry
    from self_healing.client import Client
    from self_healing.emitter import Emitter, TelemetryHandler, emit
    from self_healing.guard import Guard
    from self_healing.handoffs.message import ContextMessageHandoff
    from self_healing.orchestrator import SelfHealingOrchestrator, run_self_healing_check
    from self_healing.triggers.framework import TriggerFramework

__all__ = [
    "ActionRegistry",
    "Client",
    "ContextMessageHandoff",
    "Emitter",
    "Guard",
    "SelfHealingOrchestrator",
    "TelemetryHandler",
    "TriggerFramework",
    "emit",
    "read_directives",
    "run_self_healing_check",
]

_HOMES = {
    "ActionRegistry": "self_healing.actions.registry",
    "Client": "self_healing.client",
    "ContextMessageHandoff": "self_healing.handoffs.message",
    "Emitter": "self_healing.emitter",
    "Guard": "self_healing.guard",
    "SelfHealingOrchestrator": "self_healing.orchestrator",
    "TelemetryHandler": "self_healing.emitter",
    "TriggerFramework": "self_healing.triggers.framework",
    "emit": "self_healing.emitter",
    "read_directives": "self_healing.actions.directives",
    "run_self_healing_check": "self_healing.orchestrator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
