"""Does it heal? Many seeded runs of the simulation, each with troubles of its own, and what they come to together.

``python -m benchmarks.healing [RUNS [FIRST_SEED [FILE]]]`` runs as many as wanted, in as many processes as there are
cores, and prints one line for each run that missed something, opened something false or did harm; the seed makes it
again. What is told of each run is kept in FILE, a line each, and what is there already is not run again.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.figure import Figure
from self_healing.simulation.agents import MODELS, profiles
from self_healing.simulation.faults import Repair
from self_healing.simulation.scenario import KINDS, Scenario
from self_healing.simulation.scoring import WEEK_S
from self_healing.simulation.simulate import simulate

RUNS = 24
AGENTS = 9
LASTS_MIN = 75
"""The longest cure takes 25 minutes: a pause of five, probation, and the undoing to see whether it stays away."""

Json = dict[str, Any]


def scenario(seed: int) -> Scenario:
    """The troubles of a run: one in eight is quiet, the others take turns in what is special about them."""
    rng, fleet = Random(f"healing:{seed}"), [each.name for each in profiles(AGENTS)]
    kinds = list(KINDS)
    special = ("quiet", "single", "several", "partial", "passing", "provider", "unrepaired", "overlapping")[seed % 8]
    faults: list[Json] = []
    match special:
        case "quiet":
            pass
        case "single" | "partial" | "passing" | "unrepaired":
            for agent, kind in zip(rng.sample(fleet, 2), rng.sample(kinds, 2), strict=True):
                faults.append({"kind": kind, "agents": [agent]})
        case "several":
            faults += [
                {"kind": kind, "agents": [agent]}
                for agent, kind in zip(rng.sample(fleet, 3), rng.choices(kinds, k=3), strict=True)
            ]
        case "overlapping":
            agent = rng.choice(fleet)
            faults += [{"kind": kind, "agents": [agent]} for kind in rng.sample(kinds, 2)]
        case "provider":
            faults.append({"kind": rng.choice(kinds), "model": rng.choice(MODELS)})
    for fault in faults:
        fault["at"] = rng.randrange(60, 900)
        if special == "partial":
            fault["share"] = round(rng.uniform(0.4, 0.9), 2)
        if special in ("passing", "provider"):
            fault["lasts"] = rng.randrange(600, 1500)
        if special == "unrepaired":
            fault["repair"] = rng.choice(["fails", "mistaken", "worsens"])
    # So short a past is enough for a baseline, and takes less time to write and read than the run.
    declared = {"description": special, "agents": AGENTS, "lasts": LASTS_MIN * 60, "history": "4h", "fault": faults}
    return Scenario.model_validate(declared)


def run(seed: int) -> Json:
    """One run with healing."""
    drawn = scenario(seed)
    told = simulate(drawn, seed=seed)
    for row, fault in zip(told["faults"], drawn.faults, strict=True):
        row["curable"] = fault.repair is Repair.CURES and fault.model is None
        row["passes"] = fault.lasts is not None
    return {"kind": drawn.description, **told}


def runs(seeds: Sequence[int]) -> Iterable[Json]:
    """Runs in as many processes as there are cores, in the order of their seeds."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(run, seeds)


def summary(told: Sequence[Json]) -> Json:
    """What many runs come to."""
    faults = [row for each in told for row in each["faults"]]
    detected = sorted(row["detected_after_windows"] for row in faults if row["detected_after_s"] is not None)
    repairable = [row for row in faults if row["curable"] and row["detected_after_s"] is not None]
    healed = [row for row in repairable if row["healed_after_s"] is not None]
    weeks = sum(each["agents"] * each["lasts_s"] for each in told) / WEEK_S
    false = sum(len(each["run"]["false_incidents"]) for each in told)
    # What passes by itself nobody need heal.
    lasting = [row for row in repairable if not row["passes"]]
    without_s = sum(row["sick_without_healing_s"] for row in lasting)
    return {
        "runs": len(told),
        "faults": len(faults),
        "recall": round(len(detected) / len(faults), 4) if faults else None,
        "agent_weeks": round(weeks, 3),
        "false_incidents": false,
        "false_incidents_per_agent_week": round(false / weeks, 3),
        "detected_after_windows_p95": detected[-(-len(detected) * 95 // 100) - 1] if detected else None,
        "curable": len(repairable),
        "healed": len(healed),
        "healed_after_s_median": statistics.median(row["healed_after_s"] for row in healed) if healed else None,
        "sick_share_of_without": round(sum(row["sick_s"] for row in lasting) / without_s, 4) if lasting else None,
        "harmful_actions": sum(each["run"]["harmful_actions"] for each in told),
        "actions": sum(each["run"]["actions"] for each in told),
    }


def noteworthy(told: Json) -> Json | None:
    """What of a run is to be looked into; None when nothing is."""
    missed = [row for row in told["faults"] if row["detected_after_s"] is None]
    stuck = [row for row in told["faults"] if row["curable"] and row["healed_after_s"] is None and row not in missed]
    bad = told["run"]["false_incidents"], told["run"]["harmful_actions"], missed, stuck
    if not any(bad):
        return None
    names = ("fault", "agents", "injected_s", "outcomes")
    return {
        "seed": told["seed"],
        "kind": told["kind"],
        "false": [[each["trigger"], each["group"], each["opened_s"]] for each in bad[0]],
        "harmful": bad[1],
        "missed": [[row[name] for name in names] for row in missed],
        "not_healed": [[row[name] for name in names] for row in stuck],
    }


def measure() -> list[Figure]:
    """Recall, false incidents, the time to detect and to heal, and harm."""
    found = summary(list(runs(range(RUNS))))
    about, share = f"{found['runs']} runs, {found['faults']} faults", found["sick_share_of_without"]
    false, windows = found["false_incidents_per_agent_week"], found["detected_after_windows_p95"]
    return [
        Figure("faults detected", f"{found['recall']:.1%}", about, ">= 99 %", found["recall"] >= 0.99),
        Figure(
            "false incidents an agent-week", f"{false:g}", f"{found['agent_weeks']} agent-weeks", "<= 1", false <= 1
        ),
        Figure("detected, p95", f"{windows:g} windows", about, "<= 2", windows <= 2),
        Figure("time to heal", f"{share:.1%}", "of the time without healing", "<= 20 %", share <= 0.2),
        Figure(
            "harmful actions",
            str(found["harmful_actions"]),
            f"{found['actions']} actions",
            "0",
            not found["harmful_actions"],
        ),
    ]


def kept(seeds: Iterable[int], file: Path | None) -> Iterable[Json]:
    """What is told of those runs in `file`, and then of those that are not there yet, which are put there."""
    wanted = dict.fromkeys(seeds)
    for line in file.read_bytes().splitlines() if file is not None and file.exists() else ():
        each: Json = json.loads(line)
        if each["seed"] in wanted:
            del wanted[each["seed"]]
            yield each
    for each in runs(list(wanted)):
        if file is not None:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(each) + "\n")
        yield each


def main(arguments: list[str]) -> None:
    """Run as many as wanted, and print what is to be looked into and what all come to."""
    count, first = (*map(int, arguments[:2]), *(RUNS, 0)[len(arguments) :])
    told = []
    for each in kept(range(first, first + count), Path(arguments[2]) if len(arguments) > 2 else None):
        told.append(each)
        found = noteworthy(each)
        if found is not None:
            print(json.dumps(found), flush=True)
    print(json.dumps(summary(told), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
