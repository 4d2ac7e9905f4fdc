"""``status``: how fleet and framework are, at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.options import Shown
from self_healing.config import Settings
from self_healing.errors import StateError, StorageError
from self_healing.local_socket import ask

Json = dict[str, Any]

EXIT_CODES = {"healthy": 0, "degraded": 1, "unhealthy": 2}


def status(
    *,
    health: Annotated[
        bool,
        Parameter(show_default=False, help="Only whether it is well; exits with 0 healthy, 1 degraded, 2 unhealthy."),
    ] = False,
    shown: Shown | None = None,
) -> int:
    """Show how fleet and framework are."""
    shown = shown or Shown()
    settings = shown.settings()
    if not health:
        output.show(_status(settings), shown.format, _print)
        return 0
    verdict = _health(settings)
    output.show(verdict, shown.format, _print_health)
    return EXIT_CODES[verdict["status"]]


def _status(settings: Settings) -> Json:
    answer = ask(settings.storage.state_dir, "status")
    if answer is not None:
        return answer
    from self_healing import status

    return status.status(settings, status.loaded_spec(settings), at=datetime.now(UTC))


def _health(settings: Settings) -> Json:
    """The health; a service that is there and does not answer, or a state that cannot be read, is not well."""
    try:
        verdict: Json = _status(settings)["health"]
    except (StateError, StorageError) as error:
        from self_healing.config import load_spec

        spec = load_spec(settings)
        verdict = {
            "status": "unhealthy",
            "telemetry_healthy": False,
            "triggers_enabled": sum(trigger.enabled for trigger in spec.triggers),
            "actions_available": len(spec.actions),
            "issues": [str(error)],
        }
    return verdict


def _print_health(health: Json) -> None:
    print(health["status"])
    for issue in health["issues"]:
        print(f"  {output.text(issue)}")


def _print(status: Json) -> None:
    stopped = status["stopped"]
    output.pairs(
        [
            ("health", status["health"]["status"]),
            *(("", issue) for issue in status["health"]["issues"]),
            ("stopped", "no" if stopped is None else f"by {stopped['by'] or 'somebody'}: {stopped['reason']}"),
            ("mode", status["mode"]),
            ("service", "runs" if status["service_running"] else "does not run"),
            ("evaluated", output.instant(status["evaluated_at"])),
            ("spec version", status["spec_version"]),
            ("triggers enabled", status["triggers_enabled"]),
            ("incidents", output.counted(status["incidents"])),
            ("executions", output.counted(status["executions"])),
            ("directives in force", status["directives_in_force"]),
            ("violations", status["constitutional_violations"]),
        ]
    )
    _print_accounting(status["telemetry"])


def _print_accounting(events: Json) -> None:
    """The two equations, term by term."""
    output.title("events")
    rejected, quarantined, dropped = (events[name] for name in ("rejected", "quarantined", "dropped"))
    print(f"received {events['received']} = accepted {events['accepted']} + rejected {sum(rejected.values())}")
    print(
        f"accepted {events['accepted']} = aggregated {events['aggregated']} + quarantined {sum(quarantined.values())}"
        f" + dropped {sum(dropped.values())} + in flight {events['in_flight']}"
    )
    for name in ("rejected", "quarantined", "dropped"):
        for reason, count in events[name].items():
            print(f"  {name}: {output.text(reason)} {count}")
    if events["late"]:
        print(f"  late: {events['late']}")
