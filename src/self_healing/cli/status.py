"""``status``: how fleet and framework are, at once."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from self_healing.cli import output
from self_healing.cli.following import shown_as_asked
from self_healing.cli.options import Watched
from self_healing.config import Settings
from self_healing.errors import SelfHealingError, StateError, StorageError
from self_healing.local_socket import ask

Json = dict[str, Any]

EXIT_CODES = {"healthy": 0, "degraded": 1, "unhealthy": 2}


def status(
    *,
    health: Annotated[
        bool,
        Parameter(show_default=False, help="Only whether it is well; exits with 0 healthy, 1 degraded, 2 unhealthy."),
    ] = False,
    shown: Watched | None = None,
) -> int:
    """Show how fleet and framework are."""
    shown = shown or Watched()
    settings = shown.settings()
    if not health:
        return shown_as_asked(shown, partial(_status, settings), _print)
    if shown.watch:
        raise SelfHealingError(
            "status: --health is asked for its exit code, and a watch has none; leave one of them out"
        )
    told = _judged(settings)
    verdict: Json = told["health"]
    output.show(verdict, shown, lambda _: _print_health(told))
    return EXIT_CODES[verdict["status"]]


def _status(settings: Settings) -> Json:
    answer = ask(settings.storage.state_dir, "status")
    if answer is not None:
        return answer
    from self_healing import status

    return status.status(settings, status.loaded_spec(settings, looking=True), at=datetime.now(UTC))


def _judged(settings: Settings) -> Json:
    """How it is, with a verdict even where a service does not answer or a state cannot be read: that is not well."""
    try:
        return _status(settings)
    except (StateError, StorageError) as error:
        from self_healing.config import load_spec

        spec = load_spec(settings, looking=True)
        verdict = {
            "status": "unhealthy",
            "telemetry_healthy": False,
            "triggers_enabled": sum(trigger.enabled for trigger in spec.triggers),
            "actions_available": len(spec.actions),
            "issues": [str(error)],
        }
    return {"health": verdict, "service_running": None, "evaluated_at": None}


def _print_health(told: Json) -> None:
    print(told["health"]["status"])
    for issue in told["health"]["issues"]:
        output.paragraph(issue, indent=2)
    if told["service_running"] is not None:
        print(f"service: {_service(told)}")


def _service(told: Json) -> str:
    if told["service_running"]:
        return "running"
    if told["evaluated_at"] is None:
        return "not running; nothing has been evaluated yet"
    return f"not running; last evaluated {output.instant(told['evaluated_at'])} UTC"


def _print(status: Json) -> None:
    stopped = status["stopped"]
    output.pairs(
        [
            ("health", status["health"]["status"]),
            *(("", issue) for issue in status["health"]["issues"]),
            ("stopped", "no" if stopped is None else f"by {stopped['by'] or 'somebody'}: {stopped['reason']}"),
            ("mode", status["mode"]),
            ("service", "running" if status["service_running"] else "not running"),
            ("evaluated (UTC)", output.instant(status["evaluated_at"])),
            ("spec version", status["spec_version"]),
            ("last reload", _reload(status["last_reload"])),
            *(("takes a restart", each) for each in status["restart_needed"]),
            ("triggers enabled", status["triggers_enabled"]),
            ("series", _series(status["series"])),
            ("incidents", output.counted(status["incidents"])),
            ("executions", output.counted(status["executions"])),
            ("directives in force", status["directives_in_force"]),
            ("violations", status["constitutional_violations"]),
            *([("deleted as too old", output.counted(status["deleted"]))] if status["deleted"] else []),
            ("telemetry", f"{status['sources']['native']}, and what came otherwise in {status['sources']['segments']}"),
            ("unread", ", ".join(status["sources"]["unread"]) or "nothing"),
        ]
    )
    _print_accounting(status)


def _series(counts: Json) -> str:
    """How many series are in which state, how many of them are flapping, and what mutes those that open nothing."""
    states = {name: count for name, count in counts.items() if name != "muted"}
    muted = {f"{reason}": count for reason, count in counts.get("muted", {}).items()}
    return output.counted(states) + (f"; opens nothing: {output.counted(muted)}" if muted else "")


def _reload(reload: Json | None) -> str:
    if reload is None:
        return "none"
    changes = [output.change(each) for each in reload["changes"]]
    further = f"; and {len(changes) - 1} more, which `self-healing history` shows" if len(changes) > 1 else ""
    return f"{output.instant(reload['at'])}: {changes[0]}{further}"


def _print_accounting(status: Json) -> None:
    """The two equations, term by term, and what could not be used."""
    events = status["telemetry"]
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
        late = f"late: {events['late']} came after their instant was evaluated, and count in its window all the same"
        output.paragraph(late, indent=2)
    for reason, count in status["requests_refused"].items():
        if count:
            print(f"  requests refused whole since the service started: {output.text(reason)} {count}")
    if events["traces_lost"]:
        print(f"  traces lost: {events['traces_lost']} were forgotten with calls that no task had taken")
    if status["quarantine"]:
        output.title("newest lines in quarantine")
        for each in status["quarantine"]:
            what = f": {each['what']}" if each["what"] else ""
            output.paragraph(f"{each['file']} at byte {each['offset']}: {each['reason']}{what}")
