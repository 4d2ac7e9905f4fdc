"""What Prometheus itself says of alerting rules, by its own `promtool test rules`: asked anew, or as it was recorded.

`python -m tests.unit.triggers.promtool` asks, and writes the rules, what was asked, and the answers to
tests/fixtures/promtool. It takes a promtool of 2.42 or newer, the first that knows `keep_firing_for`: on the PATH, or
below .cache/prometheus, where `make bench-peers` puts one.

promtool says of an expectation that does not hold what it got instead. So nothing is expected at any instant, and what
it says it got are the alerts that there were.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

STEP_S = 10
"""Between two samples, and two evaluations."""

LIMIT = 5
ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests" / "fixtures" / "promtool"
SIGN = {"pending": "p", "firing": "F"}
NOT_HERE = "no promtool on the PATH or below .cache/prometheus, where make bench-peers puts one"


@dataclass(frozen=True)
class Case:
    """A rule, and what its one series shows.

    Args:
        for_s: how long the condition must hold.
        keep_s: how long it goes on firing.
        samples: of each instant 1 (good), 5 (meets the condition) or _ (none).
    """

    name: str
    for_s: int
    keep_s: int
    samples: str


def _random(count: int) -> list[Case]:
    random = Random(20261130)
    return [
        Case(
            f"random_{number}",
            random.choice((0, 10, 15, 20, 30)),
            random.choice((10, 15, 20, 40)),
            "".join(random.choices("15_", (3, 5, 1), k=24)),
        )
        for number in range(count)
    ]


CASES = (
    Case("at_once", 0, 10, "1151111"),
    Case("held_for_as_long", 30, 10, "15555111"),
    Case("held_for_one_instant_less", 30, 10, "15551111"),
    Case("broken_off_and_begun_anew", 30, 10, "155155551"),
    Case("for_between_two_instants", 15, 10, "1555111"),
    Case("kept_for_as_long", 0, 30, "151111111"),
    Case("kept_between_two_instants", 0, 25, "151111111"),
    Case("met_again_while_kept", 20, 30, "155511551111111"),
    Case("no_data_ends_pending", 30, 10, "155_5555111"),
    Case("no_data_while_it_fires", 0, 30, "15____________"),
    Case("no_data_while_it_is_kept", 0, 30, "151_____1"),
    Case("no_data_from_the_start", 20, 20, "___5551_"),
    Case("not_kept", 0, 0, "1511"),
    *_random(80),
)


def promtool() -> str | None:
    """The program; None when there is none."""
    return shutil.which("promtool", path=ROOT / ".cache/prometheus/usr/bin") or shutil.which("promtool")


def rules() -> str:
    """The rule file."""
    head = f"groups:\n- name: semantics\n  interval: {STEP_S}s\n  rules:\n"
    # Of an instant only the sample at it: not, as a plain selector would, the newest of the last five minutes.
    return head + "".join(
        f"  - alert: {case.name}\n"
        f'    expr: max_over_time(x{{case="{case.name}"}}[{STEP_S - 1}s]) >= {LIMIT}\n'
        f"    for: {case.for_s}s\n    keep_firing_for: {case.keep_s}s\n"
        for case in CASES
    )


def asked() -> str:
    """The test file: all samples, and at no instant any alert."""
    head = f"rule_files: [rules.yml]\nevaluation_interval: {STEP_S}s\ntests:\n- interval: {STEP_S}s\n  input_series:\n"
    series = "".join(
        f"  - {{series: 'x{{case=\"{each.name}\"}}', values: '{' '.join(each.samples)}'}}\n" for each in CASES
    )
    longest = max(len(case.samples) for case in CASES)
    instants = "".join(
        f"  - {{expr: ALERTS, eval_time: {place * STEP_S}s, exp_samples: []}}\n" for place in range(longest)
    )
    return f"{head}{series}  promql_expr_test:\n{instants}"


def answers(program: str) -> dict[str, str]:
    """Of each case a sign for each instant: . for no alert, p for a pending one, F for one that fires."""
    with tempfile.TemporaryDirectory() as place:
        for name, text in (("rules.yml", rules()), ("asked.yml", asked())):
            (Path(place) / name).write_text(text)
        ran = subprocess.run(
            [program, "test", "rules", "asked.yml"], cwd=place, capture_output=True, text=True, check=False
        )
    found = {case.name: ["."] * len(case.samples) for case in CASES}
    said = re.findall(r'expr: "ALERTS", time: (\S+),\s+exp: nil\s+got: (.*)', ran.stdout + ran.stderr)
    if not said:
        raise RuntimeError(f"promtool does not say what it got:\n{ran.stdout}{ran.stderr}")
    for time, got in said:
        place_of = _seconds(time) // STEP_S
        for name, state in re.findall(r'alertname="(\w+)", alertstate="(\w+)"', got):
            if place_of < len(found[name]):
                found[name][place_of] = SIGN[state]
    return {name: "".join(signs) for name, signs in found.items()}


def _seconds(text: str) -> int:
    """Of a length of time as Prometheus writes it, such as 1m10s."""
    return sum(int(number) * {"s": 1, "m": 60}[unit] for number, unit in re.findall(r"(\d+)([sm])", text))


def recorded() -> dict[str, str]:
    """The answers that were recorded."""
    told: dict[str, str] = json.loads((RECORDED / "answers.json").read_text())["answers"]
    return told


def main() -> int:
    """Ask, and record; 1 where there is nobody to ask."""
    program = promtool()
    if program is None:
        print(NOT_HERE, file=sys.stderr)
        return 1
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    by = (version.stdout or version.stderr).splitlines()[0]
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / "rules.yml").write_text(rules())
    (RECORDED / "asked.yml").write_text(asked())
    (RECORDED / "answers.json").write_text(json.dumps({"by": by, "answers": answers(program)}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
