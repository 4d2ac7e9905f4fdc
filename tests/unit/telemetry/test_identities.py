from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from self_healing.clock import DAY_US, HOUR_US
from self_healing.telemetry.identities import Identities, identity
from self_healing.telemetry.recovery import key_identity, span_known_by

NUMBERS = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.lists(NUMBERS, max_size=6), max_size=12), st.lists(NUMBERS, max_size=6), st.integers(1, 5))
def test_what_was_added_is_known_and_nothing_else(added: list[list[int]], others: list[int], sealed: int) -> None:
    identities = Identities(sealed=sealed)
    for ids in added:
        identities.add(ids, 0)
    all_ids = [id for ids in added for id in ids]
    assert identities.known([*all_ids, *others]) == [True] * len(all_ids) + [id in all_ids for id in others]


def test_what_is_older_than_a_day_is_forgotten() -> None:
    identities = Identities()
    identities.add([1], 0)
    identities.add([2], HOUR_US)
    assert identities.known([1, 2]) == [True, True]
    assert identities.forgotten_us == 0
    identities.add([3], DAY_US + 1 + HOUR_US)
    assert identities.known([1, 2, 3]) == [False, False, True]
    assert identities.forgotten_us == HOUR_US


def test_there_are_never_more_than_allowed_and_the_oldest_go_first() -> None:
    identities = Identities(most=10, sealed=4)
    for id in range(40):
        identities.add([id], id)
        assert len(identities) <= 10
    assert identities.known([39, 38, 33]) == [True, True, True]
    assert identities.known([0, 20]) == [False, False]
    newest_forgotten = max(id for id in range(40) if not identities.known([id])[0])
    assert identities.forgotten_us == newest_forgotten


def test_identities_of_different_spans_scores_and_batches_differ() -> None:
    spans = [("a", "b", None), ("ab", "c", None), ("a", "bc", None), ("a", None, "b"), ("a", None, "bc")]
    known_by = [span_known_by(trace_id, id, parent, "score 1") for trace_id, id, parent in spans]
    keys = [key_identity("a", "b"), key_identity("ab", ""), key_identity("", "ab")]
    assert len({*map(identity, filter(None, known_by)), *keys}) == len(spans) + len(keys)
