"""Spans at the edges: what is rejected and why, what is cut, what is tried first, and what a request may be."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from self_healing.errors import Undecodable
from self_healing.telemetry.otlp import Rejection, logs, metrics, sentence, traces
from self_healing.telemetry.otlp.plan import ATTRIBUTES_MAX, CUT, KEPT_MAX
from self_healing.telemetry.otlp.values import LIST_MAX, TEXT_MAX
from tests.unit.telemetry.otlp.bodies import (
    START_NS,
    TRACE,
    attributes,
    event,
    in_protobuf,
    normalised,
    rejected,
    span,
    spans,
)

CHAT = {"gen_ai.operation.name": "chat"}
INT_MAX = 10**9


# --- time and identity ---------------------------------------------------------------------------------------------


def test_a_span_says_when_it_ended_and_how_long_it_took() -> None:
    found = event(span())
    assert (found.ts, found.started_at, found.finished_at, found.duration_s) == (
        "2026-01-05T10:00:02.000000Z",
        1767607200.0,
        1767607202.0,
        2.0,
    )


def test_a_span_without_a_start_has_no_duration() -> None:
    found = event(span(startTimeUnixNano="0"))
    assert (found.started_at, found.duration_s) == (None, None)


def test_a_span_of_no_length_took_no_time() -> None:
    assert event(span(endTimeUnixNano=str(START_NS))).duration_s == 0.0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"endTimeUnixNano": "0"}, Rejection.UNDATED),
        ({"endTimeUnixNano": str(START_NS - 1)}, Rejection.NEGATIVE_DURATION),
        ({"traceId": ""}, Rejection.INVALID_ID),
        ({"traceId": "00" * 16}, Rejection.INVALID_ID),
        ({"traceId": "ab" * 15}, Rejection.INVALID_ID),
        ({"spanId": "ab" * 9}, Rejection.INVALID_ID),
        ({"spanId": "00" * 8}, Rejection.INVALID_ID),
        ({"parentSpanId": "ab" * 7}, Rejection.INVALID_ID),
        ({"attributes": attributes({f"a{i}": i for i in range(ATTRIBUTES_MAX + 1)})}, Rejection.TOO_MANY_ATTRIBUTES),
        ({"attributes": attributes({"gen_ai.usage.input_tokens": -1})}, Rejection.INVALID_VALUE),
        ({"attributes": attributes({"gen_ai.usage.input_tokens": INT_MAX + 1})}, Rejection.INVALID_VALUE),
        ({"attributes": attributes({"gen_ai.usage.cost.amount": {"doubleValue": "NaN"}})}, Rejection.NON_FINITE),
        ({"attributes": attributes({"gen_ai.usage.cost.amount": {"doubleValue": "-Infinity"}})}, Rejection.NON_FINITE),
        ({"attributes": attributes({"gen_ai.usage.input_tokens": "inf"})}, Rejection.NON_FINITE),
    ],
)
def test_a_span_that_can_never_be_used_is_rejected_with_one_reason(fields: dict[str, Any], reason: Rejection) -> None:
    assert rejected(span(**fields)) == {reason: 1}


@pytest.mark.parametrize(
    "fields",
    [{"traceId": "xyz"}, {"startTimeUnixNano": "soon", "endTimeUnixNano": "later"}, {"endTimeUnixNano": "-5"}],
)
def test_a_span_whose_id_or_time_in_json_is_none_spoils_only_itself(fields: dict[str, Any]) -> None:
    request = span(**fields)
    good = span()["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].append(good)
    found = normalised(request)
    assert (len(found.events), sum(found.rejected.values()), found.received) == (1, 1, 2)


def test_the_largest_amount_that_can_be_summed_is_accepted() -> None:
    usage = event(span(CHAT | {"gen_ai.usage.input_tokens": INT_MAX})).usage
    assert usage is not None
    assert usage.prompt_tokens == INT_MAX


def test_a_parent_of_zeros_is_none() -> None:
    assert event(span(parentSpanId="00" * 8)).parent_id is None
    assert event(span(parentSpanId="ab" * 8)).parent_id == "ab" * 8


def test_among_others_a_span_is_what_it_is_alone() -> None:
    usual = CHAT | {"gen_ai.response.model": "gpt-4o", "gen_ai.usage.input_tokens": 7}
    told: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (usual, {}),
        (usual | {"gen_ai.usage.input_tokens": -1}, {}),
        (usual | {"gen_ai.response.model": ""}, {"status": {"code": 2, "message": "no"}}),
        (usual, {"endTimeUnixNano": "0"}),
        ({"gen_ai.tool.name": "grep"}, {}),
        (usual | {"gen_ai.usage.input_tokens": "11"}, {"startTimeUnixNano": "0"}),
        ({"gen_ai.tool.name": ""}, {"parentSpanId": "00000000000000a1"}),
        (usual | {"gen_ai.response.model": 5}, {"spanId": "ab" * 9}),
        ({"gen_ai.evaluation.score.value": 0.5}, {}),
    ]
    alone = [span(said, **fields) for said, fields in told]
    together = spans(*(each["resourceSpans"][0]["scopeSpans"][0]["spans"][0] for each in alone))
    found, each = normalised(together), [normalised(request) for request in alone]
    assert found.events == [event for one in each for event in one.events]
    assert Counter(found.rejected) == sum((Counter(one.rejected) for one in each), Counter())
    assert (len(found.events), sum(found.rejected.values())) == (7, 3)


# --- columns -------------------------------------------------------------------------------------------------------


def test_what_an_item_says_goes_before_what_its_resource_says_name_by_name() -> None:
    one = span(CHAT | {"agent.name": "mine"})["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    resource = {"agent.name": "theirs", "service.name": "svc", "task.id": "t-resource"}
    found = event(spans(one, resource=resource))
    assert (found.agent, found.task_id) == ("mine", "t-resource")
    resource |= {"gen_ai.agent.name": "best"}
    assert event(spans(one, resource=resource)).agent == "best"


@pytest.mark.parametrize("kind", ["chat", "CHAT", "generate_content", "text_completion", "embeddings", "LLM"])
def test_a_call_of_a_model_is_known_by_any_word_for_it(kind: str) -> None:
    assert event(span({"gen_ai.operation.name": kind})).kind == "llm_call"


@pytest.mark.parametrize(
    ("said", "role"),
    [
        ({}, "other"),
        ({"gen_ai.operation.name": "create_agent"}, "other"),
        ({"gen_ai.operation.name": "invoke_workflow"}, "agent"),
        ({"gen_ai.tool.name": "grep"}, "tool"),
        ({"gen_ai.request.model": "m"}, "other"),
        ({"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 1}, "model"),
        ({"crewai.agent.role": "Writer"}, "agent"),
        ({"openinference.span.kind": "AGENT", "agent.name": "Triage"}, "agent"),
        ({"openinference.span.kind": "AGENT"}, "other"),  # put around agents
    ],
)
def test_a_span_without_a_known_word_is_what_its_attributes_make_of_it(said: dict[str, Any], role: str) -> None:
    assert event(span(said)).role == role


@pytest.mark.parametrize(
    ("error_type", "status"),
    [
        ("ValueError", "failed"),
        ("asyncio.TimeoutError", "timeout"),
        ("DEADLINE_EXCEEDED", "timeout"),
        ("504", "timeout"),
        ("500", "failed"),
        ("asyncio.exceptions.CancelledError", "canceled"),
        ("timeout.Missing", "failed"),
    ],
)
def test_the_type_of_an_error_says_how_a_span_ended(error_type: str, status: str) -> None:
    found = event(span(CHAT | {"error.type": error_type}))
    assert (found.status, found.error_type) == (status, error_type)


def test_an_error_without_a_type_takes_it_from_the_exception_that_the_span_recorded() -> None:
    raised = [{"name": "exception", "attributes": attributes({"exception.type": kind})} for kind in ("Early", "Late")]
    found = event(span(CHAT, status={"code": 2, "message": "no"}, events=raised))
    assert (found.status, found.error_type) == ("failed", "Late")
    assert found.attributes is not None
    assert found.attributes["status.message"] == "no"


@pytest.mark.parametrize(
    ("scope", "kind", "message", "found"),
    [
        ("langsmith", "Exception", "ReadTimeout('late')\n\nTraceback (most recent call last):\n", "ReadTimeout"),
        ("langsmith", "Exception", "Odd('late')Traceback (most recent call last):\n", "Odd"),  # by way of LangChain
        ("langsmith", "Exception", "no such index (404)", "Exception"),
        ("langsmith", "Exception", None, "Exception"),
        ("langsmith", "OSError", "Odd('late')", "OSError"),
        ("elsewhere", "Exception", "Odd('late')", "Exception"),
    ],
)
def test_a_source_that_wraps_every_error_names_in_the_message_what_was_raised(
    scope: str, kind: str, message: str | None, found: str
) -> None:
    said = {"exception.type": kind} | ({} if message is None else {"exception.message": message})
    one = span(status={"code": 2}, events=[{"name": "exception", "attributes": attributes(said)}])
    one["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] = scope
    assert event(one).error_type == found


@pytest.mark.parametrize("code", [0, 1, "STATUS_CODE_OK", "STATUS_CODE_UNSET"])
def test_a_span_that_recorded_an_exception_and_went_well_all_the_same_is_a_success(code: int | str) -> None:
    raised = [{"name": "exception", "attributes": attributes({"exception.type": "Early"})}]
    found = event(span(CHAT, status={"code": code}, events=raised))
    assert (found.status, found.error_type) == ("success", None)


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 60}, (100, None, 100)),
        ({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read.input_tokens": 60}, (70, None, 70)),
        ({"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}, (0, 0, 0)),
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.total_tokens": 9}, (5, None, 9)),
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 9, "gen_ai.usage.total_tokens": 9}, (5, 9, 14)),
        ({"gen_ai.usage.input_tokens": "12"}, (12, None, 12)),
        ({"gen_ai.usage.input_tokens": 12.0}, (12, None, 12)),
    ],
)
def test_the_total_holds_cached_input_once(said: dict[str, Any], tokens: tuple[int | None, ...]) -> None:
    usage = event(span(CHAT | said)).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == tokens


def test_a_span_without_usage_has_none() -> None:
    assert event(span(CHAT)).usage is None


@pytest.mark.parametrize(
    ("said", "quality"),
    [
        ({"gen_ai.evaluation.score.value": 0.0}, 0.0),
        ({"gen_ai.evaluation.score.value": 1}, 1.0),
        ({"gen_ai.evaluation.score.value": 4}, None),  # on another scale
        ({"gen_ai.evaluation.score.value": -1}, None),
        ({"gen_ai.evaluation.score.label": "Pass"}, 1.0),
        ({"gen_ai.evaluation.score.label": "fail"}, 0.0),
        ({"gen_ai.evaluation.score.label": "so so"}, None),
        ({"gen_ai.evaluation.score.value": 0.5, "gen_ai.evaluation.score.label": "pass"}, 0.5),
    ],
)
def test_a_score_is_from_0_to_1_or_unknown(said: dict[str, Any], quality: float | None) -> None:
    evaluated = {"name": "gen_ai.evaluation.result", "timeUnixNano": str(START_NS), "attributes": attributes(said)}
    found = normalised(span(CHAT, events=[evaluated]))
    assert [each.kind for each in found.events] == ["llm_call", "quality_score"]
    assert found.events[1].quality == quality


def test_a_score_is_no_second_sight_of_its_span() -> None:
    evaluated = {"name": "gen_ai.evaluation.result", "attributes": attributes({"gen_ai.evaluation.score.value": 1.0})}
    call, scored = normalised(span(CHAT, events=[evaluated])).events
    assert (scored.trace_id, scored.span_id, scored.parent_id) == (TRACE, None, call.span_id)
    assert (scored.task_id, scored.ts) == (call.task_id, call.ts)


def test_the_scores_of_a_span_are_told_apart_by_their_numbers() -> None:
    evaluated = {"name": "gen_ai.evaluation.result", "attributes": attributes({"gen_ai.evaluation.score.value": 1.0})}
    said = {**CHAT, "gen_ai.evaluation.score.value": 0.5}
    found = normalised(span(said, events=[evaluated, evaluated])).events
    assert [each.role for each in found] == ["model", "score 1", "score 2", "score 3"]


# --- what is kept --------------------------------------------------------------------------------------------------


def test_what_no_column_takes_is_kept_beside_them() -> None:
    said = {"a": "text", "b": 1, "c": 0.5, "d": False, "e": ["x", 1, "y"]}
    assert event(span(said)).attributes == {**said, "span.name": "a span"}


def test_empty_texts_are_as_good_as_missing() -> None:
    assert event(span({"a": "", "gen_ai.agent.name": "", "agent.name": "b"})).attributes == {"span.name": "a span"}
    assert event(span({"a": "", "gen_ai.agent.name": "", "agent.name": "b"})).agent == "b"


def test_long_texts_are_cut_and_what_is_no_plain_value_is_left_out() -> None:
    said: dict[str, Any] = {
        "long": "x" * (TEXT_MAX + 1),
        "list": ["y" * TEXT_MAX] * (LIST_MAX + 1),
        "map": {"kvlistValue": {"values": attributes({"k": "v"})}},
        "bytes": {"bytesValue": "AAAA"},
        "nan": {"doubleValue": "NaN"},
    }
    kept = event(span(said)).attributes
    assert kept is not None
    assert kept["long"] == "x" * TEXT_MAX
    assert (len(kept["list"]), sum(map(len, kept["list"]))) == (LIST_MAX, TEXT_MAX)
    assert set(kept) == {"long", "list", "span.name"}


def test_attributes_beyond_those_that_are_kept_are_counted() -> None:
    kept = event(span({f"a{i}": i for i in range(KEPT_MAX + 3)} | {"n" * 300: 1})).attributes
    assert kept is not None
    assert (len(kept), kept[CUT]) == (KEPT_MAX + 2, 4)


def test_a_column_of_a_long_text_is_cut() -> None:
    assert event(span({"gen_ai.agent.name": "x" * 5000})).agent == "x" * TEXT_MAX


def test_of_an_attribute_that_is_there_twice_the_first_counts() -> None:
    twice = attributes({"gen_ai.agent.name": "first"}) + attributes({"gen_ai.agent.name": "second"})
    assert event(span(attributes=twice)).agent == "first"


# --- requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_an_empty_request_holds_nothing(body: bytes) -> None:
    assert traces(body, json=bool(body)).received == 0


@pytest.mark.parametrize("body", [b"\xff\xff", b'{"resourceSpans":[]}', gzip.compress(b"{}", mtime=0)])
def test_what_is_no_protobuf_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(Undecodable, match="no ExportTraceServiceRequest in protobuf"):
        traces(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"resourceSpans":{}}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1e999}]}]}]}',
        b'{"x":NaN}',
        b'{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{"intValue":"9223372036854775808000"}}]}}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"status":{"code":"STATUS_CODE_FINE"}}]}]}]}',
    ],
)
def test_what_is_no_otlp_json_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(Undecodable, match="no OTLP/JSON"):
        traces(body, json=True)


@pytest.mark.parametrize("depth", [33, 100_000])
def test_json_that_nests_deeper_than_32_levels_is_refused(depth: int) -> None:
    with pytest.raises(Undecodable, match="nests deeper than 32 levels"):
        traces(b'{"unknown":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}", json=True)


def test_json_of_32_levels_whose_fields_nobody_knows_is_accepted() -> None:
    assert traces(b'{"unknown":' + b"[" * 31 + b"]" * 31 + b"}", json=True).received == 0


def test_null_is_what_a_missing_field_is() -> None:
    body = b"""{"resourceSpans":[null, {"resource":null,"scopeSpans":null}, {"scopeSpans":[{"scope":null,"spans":[
        {"traceId":"%s","spanId":"00000000000000a1","parentSpanId":null,"name":null,"endTimeUnixNano":1767607200000000000,
         "attributes":[{"key":null,"value":null},{"key":"a","value":{"stringValue":null,"intValue":3}}],
         "status":null,"events":null}]}]}]}"""
    with pytest.raises(Undecodable):  # an item of a list cannot be missing
        traces(body % TRACE.encode(), json=True)
    (found,) = traces((body % TRACE.encode()).replace(b"null, {", b"{", 1), json=True).events
    assert (found.started_at, found.parent_id, found.attributes) == (None, None, {"a": 3, "span.name": ""})


def test_what_was_rejected_is_told_in_one_sentence() -> None:
    assert sentence({}) == ""
    assert sentence({Rejection.UNDATED: 2, Rejection.INVALID_ID: 1}) == (
        "Rejected for good, do not send again: 1 with an invalid trace or span id, 2 without a usable time."
    )


@pytest.mark.parametrize("reason", Rejection)
def test_every_reason_has_words(reason: Rejection) -> None:
    assert "1 w" in sentence({reason: 1}) or "1 that" in sentence({reason: 1})


@pytest.mark.parametrize(
    ("file", "normalise", "events"),
    [("trace", traces, 1), ("logs", logs, 1), ("events", logs, 1), ("metrics", metrics, 4)],
)
def test_the_example_requests_of_opentelemetry_are_accepted(
    file: str, normalise: Any, events: int, data_dir: Path
) -> None:
    found = normalise((data_dir / "otlp" / f"{file}.json").read_bytes(), json=True)
    assert (len(found.events), found.rejected) == (events, {})


def test_a_request_in_protobuf_may_hold_fields_that_are_not_known_yet() -> None:
    assert traces(b"\xfa\x3f\x03abc").received == 0
    assert in_protobuf(span()).received == 1
