"""An attribute found by its bytes is the attribute that protobuf reads in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from self_healing.errors import Undecodable
from self_healing.telemetry.otlp import traces, values
from self_healing.telemetry.otlp.attributes import KNOWN_MAX, KNOWN_MAX_BYTES, known_all

TEXTS = st.text(max_size=140)  # a length that is two bytes too
SCALARS = st.one_of(
    TEXTS.map(lambda text: AnyValue(string_value=text)),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: AnyValue(int_value=number)),
    st.floats().map(lambda number: AnyValue(double_value=number)),
    st.booleans().map(lambda flag: AnyValue(bool_value=flag)),
    st.binary(max_size=4).map(lambda raw: AnyValue(bytes_value=raw)),
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3).map(lambda each: AnyValue(array_value=ArrayValue(values=each)))


def seen(pair: KeyValue) -> tuple[str, str | None, str]:
    """All that is ever asked of an attribute; as text, for what is no number equals nothing."""
    return pair.key, pair.value.WhichOneof("value"), repr((values.kept(pair.value), values.scalar(pair.value)))


@given(st.lists(st.tuples(TEXTS, VALUES | st.none()), max_size=4))
def test_an_attribute_says_the_same_whether_it_is_new_or_known(said: list[tuple[str, AnyValue | None]]) -> None:
    pairs = [KeyValue(key=key, value=value) for key, value in said]
    raws = [pair.SerializeToString() for pair in pairs]
    for _ in range(2):
        assert [seen(pair) for pair in known_all([raws])[0]] == [seen(pair) for pair in pairs]


@given(st.binary(max_size=40))
def test_bytes_that_are_no_attribute_are_refused_and_others_are_read_as_protobuf_does(raw: bytes) -> None:
    try:
        pair = KeyValue.FromString(raw)
    except Exception:
        with pytest.raises(Undecodable):
            known_all([[raw]])
    else:
        assert seen(known_all([[raw]])[0][0]) == seen(pair)


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    from self_healing.telemetry.otlp import attributes

    long = KeyValue(key="k", value=AnyValue(string_value="x" * KNOWN_MAX_BYTES)).SerializeToString()
    raws = [KeyValue(key="k", value=AnyValue(int_value=n)).SerializeToString() for n in range(KNOWN_MAX + 5)]
    assert [pair.value.int_value for pair in known_all([raws])[0]] == list(range(KNOWN_MAX + 5))
    known_all([[long]])
    assert 0 < len(attributes._KNOWN) <= KNOWN_MAX
    assert long not in attributes._KNOWN


def test_a_request_with_an_attribute_that_is_no_text_is_refused_whole() -> None:
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, end_time_unix_nano=10**18)
    )
    span.attributes.append(KeyValue(key="key", value=AnyValue(string_value="value")))
    body = request.SerializeToString()
    assert len(traces(body).events) == 1
    with pytest.raises(Undecodable):
        traces(body.replace(b"value", b"\xff\xff\xff\xff\xff"))
