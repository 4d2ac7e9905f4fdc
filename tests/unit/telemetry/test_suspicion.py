"""What may be a secret is never missed, wherever in many lines it stands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_healing.redaction import HINTS, may_hold_secrets
from self_healing.telemetry.suspicion import suspicious

USUAL = b'{"type":"llm_call","agent":"Coder","usage":{"prompt_tokens":12},"trace_id":"18eb62a01742735f"}\n'


def numbers(lines: list[bytes]) -> list[int]:
    found = suspicious(b"".join(lines), np.cumsum([len(line) for line in lines]))
    return [int(each) for each in found]


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("before", range(4))
def test_a_hint_is_found_wherever_it_begins_and_however_it_is_written(hint: bytes, before: int) -> None:
    for written in (hint, hint.upper()):
        assert numbers([USUAL, b"." * before + written + b"\n", USUAL]) == [1]


def test_usual_lines_are_not_suspicious() -> None:
    assert numbers([USUAL] * 3) == []
    assert numbers([]) == []


PIECES = st.sampled_from([*HINTS, b"a", b" ", b'"', b"token", b"s", b"\\u00e9", b"://"])


@given(st.lists(st.lists(PIECES, max_size=8).map(lambda pieces: b"".join(pieces) + b"\n"), max_size=6))
def test_no_line_that_may_hold_a_secret_is_missed(lines: list[bytes]) -> None:
    assert set(numbers(lines)) >= {place for place, line in enumerate(lines) if may_hold_secrets(line)}
