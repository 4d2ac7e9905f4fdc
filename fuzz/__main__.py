"""Fuzz the named targets, all of them when none is named, for a minute in all: ``python -m fuzz [NAME...]``.

An input that breaks a target is printed, kept below ``.cache/fuzz/``, and ends the run with exit code 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["self_healing"]):
    from fuzz.seeds import BOMBS, LONGEST_BYTES, SEEDS
    from fuzz.targets import TARGETS

SECONDS = 60
KEPT = Path(".cache/fuzz")

STUCK_S = 10


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, and end it."""
    corpus = KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate([*SEEDS[name], *BOMBS.get(name, [])]):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            TARGETS[name](data)
        except BaseException:
            print(f"{name} breaks on {data!r}", flush=True)
            raise

    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST_BYTES}", f"-timeout={STUCK_S}", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={corpus}-", str(corpus)], one)
    atheris.Fuzz()


def breaks(name: str, seconds: int) -> bool:
    """Whether a target broke: in a process of its own, for fuzzing ends the one that it runs in."""
    child = os.fork()
    if child == 0:
        fuzz(name, seconds)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def main(names: list[str]) -> int:
    """Fuzz each target; 1 when one broke, 2 for a name that there is not."""
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        print(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    chosen = names or list(TARGETS)
    broken = []
    for name in chosen:
        print(f"{name} ...", flush=True)
        if breaks(name, max(1, SECONDS // len(chosen))):
            broken.append(name)
    print(f"broken: {', '.join(broken)}" if broken else "nothing broke")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
