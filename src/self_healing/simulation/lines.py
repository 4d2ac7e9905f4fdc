"""Lines of native telemetry, formatted by hand because a day of them is written within seconds.

Every text that goes in is one of the fleet's own, so that nothing needs escaping; the id of a handoff, which comes
from outside, is encoded by :func:`repair_mark`. Instants are ``int`` milliseconds since 1970 (``_ms``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from self_healing.clock import EPOCH
from self_healing.simulation.agents import PROVIDER

if TYPE_CHECKING:
    from self_healing.simulation.work import Attempt


@lru_cache(maxsize=64)
def _minute(minute: int) -> str:
    return (EPOCH + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:")


def _head(at_ms: int, kind: str, task: str, agent: str) -> str:
    minute, rest_ms = divmod(at_ms, 60_000)
    at = f"{_minute(minute)}{rest_ms // 1000:02d}.{rest_ms % 1000:03d}Z"
    return f'{{"ts":"{at}","type":"{kind}","id":"{task}","agent":"{agent}"'


def repair_mark(handoff: str) -> str:
    """What marks a task's lines as work on that handoff."""
    return f',"handoff_id":{json.dumps(handoff)}'


def task_started(at_ms: int, task: str, agent: str, attempt: int = 1, mark: str = "") -> bytes:
    """An attempt at `task` begins."""
    head = _head(at_ms, "task_started", task, agent)
    return f'{head},"attempt":{attempt},"started_at":{at_ms / 1000}{mark}}}\n'.encode()


def heartbeat(at_ms: int, task: str, agent: str, started_ms: int, attempt: int = 1, mark: str = "") -> bytes:
    """An attempt at `task` is under way."""
    running_s = (at_ms - started_ms) / 1000
    head = _head(at_ms, "heartbeat", task, agent)
    return f'{head},"attempt":{attempt},"pid":1,"running_for_s":{running_s}{mark}}}\n'.encode()


def _times(at_ms: int, started_ms: int) -> str:
    return f'"started_at":{started_ms / 1000},"finished_at":{at_ms / 1000},"duration_s":{(at_ms - started_ms) / 1000}'


def _usage(prompt: int, completion: int, cost_usd: float) -> str:
    return (
        f'"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{prompt + completion},'
        f'"total_usd":{cost_usd:.6f}}}'
    )


def task_finished(at_ms: int, task: str, agent: str, started_ms: int, work: Attempt, attempt: int = 1) -> bytes:
    """An attempt at `task` ended, as `work` says."""
    errors = "null" if work.error_type is None else f'["{work.error_type}"],"error_type":"{work.error_type}"'
    return (
        f'{_head(at_ms, "task_finished", task, agent)},"attempt":{attempt},"status":"{work.status}",'
        f'{_times(at_ms, started_ms)},"errors":{errors},'
        f"{_usage(work.prompt_tokens, work.completion_tokens, work.cost_usd)},"
        f'"model":"{work.model}","provider":"{PROVIDER}"}}\n'
    ).encode()


def repair_finished(at_ms: int, task: str, agent: str, started_ms: int, mark: str, *, failed: bool = False) -> bytes:
    """A specialist completed a handoff, or failed it."""
    ending = '"status":"failed"' if failed else '"status":"success"'
    errors = '["CauseNotFound"]' if failed else "null"
    head = _head(at_ms, "task_finished", task, agent)
    return f'{head},"attempt":1,{ending},{_times(at_ms, started_ms)},"errors":{errors}{mark}}}\n'.encode()


def test_run(at_ms: int, task: str, agent: str, work: Attempt) -> bytes:
    """The tests of the task's result ran."""
    passed = work.tests - work.failing_tests
    return f'{_head(at_ms, "test_run", task, agent)},"passed":{passed},"failed":{work.failing_tests}}}\n'.encode()


def llm_call(at_ms: int, task: str, agent: str, work: Attempt) -> bytes:
    """The task's call of its model ended, with the task's usage, which counts once."""
    usage = _usage(work.prompt_tokens, work.completion_tokens, work.cost_usd)
    head = _head(at_ms, "llm_call", task, agent)
    return f'{head},"status":"success",{usage},"model":"{work.model}","provider":"{PROVIDER}"}}\n'.encode()


def tool_call(at_ms: int, task: str, agent: str, tool: str) -> bytes:
    """A call of a tool ended."""
    head = _head(at_ms, "tool_call", task, agent)
    return f'{head},"status":"success","tool":"{tool}","duration_s":0.2}}\n'.encode()


def quality_score(at_ms: int, task: str, agent: str, quality: float) -> bytes:
    """Somebody scored the task's result, 0..1."""
    return f'{_head(at_ms, "quality_score", task, agent)},"q":{quality:.2f}}}\n'.encode()


def by_file(lines: Iterable[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """`lines`, in the order of their time, split by the name of the file that each belongs in."""
    for day, group in groupby(lines, key=lambda line: line[7:17]):  # the date, after the opening {"ts":"
        yield f"events-{day.decode().replace('-', '')}.jsonl", list(group)


def append(directory: Path, lines: list[bytes]) -> None:
    """Write `lines` behind what the day's files hold; whole lines in one call each. Raises OSError."""
    for name, group in by_file(lines):
        with (directory / name).open("ab") as file:
            file.write(b"".join(group))
