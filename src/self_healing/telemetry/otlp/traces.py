"""Spans into events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, repeat
from operator import gt
from typing import Any, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from self_healing.measures import LARGEST
from self_healing.model import Ingested, Usage
from self_healing.telemetry.caps import ITEMS_MAX, check_items
from self_healing.telemetry.collector import collector_off
from self_healing.telemetry.normalised import Normalised
from self_healing.telemetry.otlp.attributes import RawTraceRequest, known_all
from self_healing.telemetry.otlp.cells import (
    attempt_of,
    cells_of,
    columns_of,
    failure,
    kept_of,
    kept_of_all,
    score,
    usage_of,
)
from self_healing.telemetry.otlp.json_body import TraceRequest, decode_json
from self_healing.telemetry.otlp.names import LOGS_ONLY, RAISED_IN_MESSAGE, ROLES, SOURCE_OF, WRAPS_AGENTS
from self_healing.telemetry.otlp.plan import READERS, Names, Origin, Plan, origin_of, plan_for, plan_of
from self_healing.telemetry.otlp.protobuf_body import decode_protobuf
from self_healing.telemetry.otlp.rejection import BadItem, Rejection
from self_healing.telemetry.otlp.values import TEXT_MAX, text
from self_healing.telemetry.pricing import put_price
from self_healing.telemetry.timestamps import encode_all_micros, encode_micros

KINDS = {"model": "llm_call", "tool": "tool_call"}
"""What a span is as an event, by its role; any other is a ``span``."""

EVALUATION = "gen_ai.evaluation.result"

_LONGEST_NS = LARGEST * 1_000_000_000

_ERROR = Status.StatusCode.STATUS_CODE_ERROR

Said = dict[str, Sequence[Any]]
"""What several spans say, by the columns of ``READERS``."""


def traces(body: bytes, *, json: bool = False) -> Normalised:
    """The events of an ``ExportTraceServiceRequest``: one a span, and one more for each score that a span carries.

    Args:
        body: the request, decompressed.
        json: it is OTLP/JSON; else it is protobuf.

    Raises:
        Undecodable: it is no such request.
    """
    if json:
        request = cast("ExportTraceServiceRequest", decode_json(body, TraceRequest))
    else:
        request = decode_protobuf(body, RawTraceRequest, like=ExportTraceServiceRequest)
    scopes = [scope for each in request.resource_spans for scope in each.scope_spans]
    check_items(sum(len(scope.spans) for scope in scopes))
    if len(body) > 2 * ITEMS_MAX:  # a smaller one has no room for as many events of spans, each of which may be a score
        check_items(sum(len(span.events) for scope in scopes for span in scope.spans))
    batch = Normalised()
    with collector_off():
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                origin = origin_of(scope_spans.scope.name, resource_spans.resource.attributes)
                _take(scope_spans.spans, origin, batch, raw=not json)
    return batch


@dataclass(slots=True)
class _Alike:
    """Spans of one scope whose attributes have the same names, so that they are read alike, and all at once.

    Args:
        places: of each among all spans of the scope.
        spans: themselves.
        said: the attributes of each, with those that its resource adds.
    """

    places: list[int]
    spans: list[Span]
    said: list[Sequence[KeyValue]]

    def parts(self) -> Iterator[_Alike]:
        """The same in sixteen parts: halves would be read more often, where many are bad, and where one is."""
        size = -(-len(self.spans) // 16)
        for start in range(0, len(self.spans), size):
            part = slice(start, start + size)
            yield _Alike(self.places[part], self.spans[part], self.said[part])


def _take(spans: Sequence[Span], origin: Origin, batch: Normalised, *, raw: bool) -> None:
    """Take the spans of one scope.

    Args:
        raw: their attributes are bytes still.
    """
    spans = [*spans]
    said: list[Sequence[KeyValue]] = [span.attributes[:] for span in spans]
    if raw:
        said = known_all(cast("list[list[bytes]]", said))  # only their type differs
    several: dict[Names, list[int]] = {}
    for place, pairs in enumerate(said):
        several.setdefault(tuple([pair.key for pair in pairs]), []).append(place)
    if origin.shared:
        said = [[*pairs, *origin.shared] for pairs in said]
    found: list[list[Ingested]] = [[] for _ in spans]
    for names, places in several.items():
        alike = _Alike(places, [spans[place] for place in places], [said[place] for place in places])
        _put(alike, names, origin, found, batch)
    batch.events += chain.from_iterable(found)


def _put(alike: _Alike, names: Names, origin: Origin, found: list[list[Ingested]], batch: Normalised) -> None:
    """Put the events of each span in its place; where one is bad, of part of them at once, until it is found."""
    try:
        events = _events(alike, plan_of(origin, names), origin)
    except BadItem as bad:
        if len(alike.spans) == 1:
            batch.reject(bad.reason)
        else:
            for part in alike.parts():
                _put(part, names, origin, found, batch)
    else:
        for place, of_span in zip(alike.places, events, strict=True):
            found[place] = of_span


def _events(alike: _Alike, plan: Plan, origin: Origin) -> list[list[Ingested]]:
    """The event of each span, and of each score that it carries.

    In columns: to do the same with one span after the other takes twice as long.

    Raises:
        BadItem: one of them cannot be used.
    """
    spans = alike.spans
    nothing: list[Any] = [None] * len(spans)
    trace_ids, span_ids, parent_ids = _ids(spans)
    start_s, end_s, duration_s, ts = _times(spans)
    columns = columns_of(plan, alike.said)
    said = {name: nothing if column is None else column for name, column in zip(READERS, columns, strict=True)}
    kept = kept_of_all(plan, alike.said, origin)
    names = [span.name[:TEXT_MAX] for span in spans]
    for each, name in zip(kept, names, strict=True):
        each["span.name"] = name
    repeated = plan.source in LOGS_ONLY
    roles = ["other"] * len(spans) if repeated else _roles(plan, said)
    statuses, error_types = _endings(spans, said["error_type"], kept, RAISED_IN_MESSAGE.get(plan.source))
    usages = nothing if repeated else _usages(plan, said, roles, end_s)
    tools = [
        (tool or name or None) if role == "tool" else None
        for tool, name, role in zip(said["tool"], names, roles, strict=True)
    ]
    # By their places: a call with many keywords takes three times as long.
    events = map(
        Ingested,
        ts,
        ["log"] * len(spans) if repeated else [KINDS.get(role, "span") for role in roles],
        [task_id or trace_id for task_id, trace_id in zip(said["task_id"], trace_ids, strict=True)],
        said["agent"],
        said["model"],
        said["provider"],
        map(attempt_of, said["attempt"], said["resends"]),
        statuses,
        start_s,
        end_s,
        duration_s,
        usages,
        nothing,
        nothing,
        nothing,
        error_types,
        tools,
        said["run_id"],
        trace_ids,
        said["handoff_id"],
        kept,
        repeat(SOURCE_OF[plan.source]),
        span_ids,
        parent_ids,
        roles,
        said["call_id"],
    )
    scores = map(score, said["quality"], said["label"])
    return [
        [event, *_scores(span, origin, event, quality)] if quality is not None or span.events else [event]
        for event, span, quality in zip(events, spans, scores, strict=True)
    ]


def _ids(spans: Sequence[Span]) -> tuple[list[str], list[str], list[str | None]]:
    """Trace, span and parent of each in hex; no parent for a root span."""
    trace_ids = [span.trace_id for span in spans]
    span_ids = [span.span_id for span in spans]
    parent_ids = [span.parent_span_id for span in spans]
    if {*map(len, trace_ids)} != {16} or {*map(len, span_ids)} != {8} or not {*map(len, parent_ids)} <= {0, 8}:
        raise BadItem(Rejection.INVALID_ID)
    if _NO_TRACE in trace_ids or _NO_SPAN in span_ids:
        raise BadItem(Rejection.INVALID_ID)
    parents = [None if not id or id == _NO_SPAN else id.hex() for id in parent_ids]
    traces = {id: id.hex() for id in {*trace_ids}}  # of which there are fewer than spans
    return [traces[id] for id in trace_ids], [id.hex() for id in span_ids], parents


_NO_TRACE = bytes(16)
_NO_SPAN = bytes(8)


def _times(spans: Sequence[Span]) -> tuple[list[float | None], list[float], list[float | None], list[str]]:
    """When each began and ended, and how long it took, in seconds, the first and the last None where it does not say
    when it began; and the text of when it ended."""
    start_ns = [span.start_time_unix_nano for span in spans]
    end_ns = [span.end_time_unix_nano for span in spans]
    if 0 in end_ns:
        raise BadItem(Rejection.UNDATED)
    if any(map(gt, start_ns, end_ns)):
        raise BadItem(Rejection.NEGATIVE_DURATION)
    took_ns = [end - start if start else None for start, end in zip(start_ns, end_ns, strict=True)]
    if max([took or 0 for took in took_ns]) > _LONGEST_NS:
        raise BadItem(Rejection.INVALID_VALUE)
    return (
        [start / 1e9 if start else None for start in start_ns],
        [end / 1e9 for end in end_ns],
        [None if took is None else took / 1e9 for took in took_ns],
        encode_all_micros([end // 1000 for end in end_ns]),
    )


def _roles(plan: Plan, said: Said) -> list[str]:
    """What each span is: as its source's word says, else as its attributes do."""
    by_word = [*map(ROLES.get, said["operation"])]
    if None not in by_word and (plan.named or plan.source not in WRAPS_AGENTS):  # as nearly always
        return cast("list[str]", by_word)
    columns = said["operation"], said["tool"], said["model"], said["input_tokens"]
    return [_role(plan, *each) for each in zip(*columns, strict=True)]


def _role(plan: Plan, operation: str | None, tool: str | None, model: str | None, tokens: int | None) -> str:
    role = None if operation is None else ROLES.get(operation) or ROLES.get(operation.lower())
    if role == "agent" and not plan.named and plan.source in WRAPS_AGENTS:
        return "other"
    if role is not None:
        return role
    if tool is not None:
        return "tool"
    if plan.own_work:
        return "agent"
    return "other" if model is None or tokens is None else "model"


def _endings(
    spans: Sequence[Span], error_types: Sequence[str | None], kept: list[dict[str, Any]], wrapper: str | None
) -> tuple[list[str], list[str | None]]:
    """The status of each, and the type of its error; `kept` gets what is said of it besides.

    Args:
        wrapper: the type that the source gives to every error, of which the message says the real one.
    """
    statuses, found = ["success"] * len(spans), [*error_types]
    for place, (span, error_type) in enumerate(zip(spans, error_types, strict=True)):
        status = span.status
        if error_type is not None or status.code == _ERROR:
            found[place] = error_type or _exception_of(span, wrapper)
            statuses[place] = failure(found[place])
            if status.message:
                kept[place]["status.message"] = status.message[:TEXT_MAX]
    return statuses, found


def _usages(plan: Plan, said: Said, roles: Sequence[str], end_s: Sequence[float]) -> list[Usage | None]:
    """What each used, and what that cost."""
    costs = said["cost_usd"]
    if any(said["currency"]):
        dollars = [currency is None or currency.upper() == "USD" for currency in said["currency"]]
        costs = [cost if known else None for cost, known in zip(costs, dollars, strict=True)]
    cached = said["cache_read_tokens"], said["cache_write_tokens"]
    tokens = said["input_tokens"], said["output_tokens"], said["total_tokens"]
    usages = [*map(usage_of, repeat(plan.source), *tokens, *cached, costs)]
    calls = zip(usages, roles, said["model"], said["provider"], end_s, *cached, strict=True)
    for usage, role, model, provider, at_s, cache_read, cache_write in calls:
        if usage is not None and usage.total_usd is None and role == "model" and model is not None:
            put_price(usage, model, provider, at_s, cache_read, cache_write)
    return usages


def _exception_of(span: Span, wrapper: str | None) -> str | None:
    """The type of the last exception that a span recorded."""
    for event in reversed(span.events):
        said = {pair.key: pair.value for pair in event.attributes if pair.key in _EXCEPTION}
        if "exception.type" in said:
            told = text(said["exception.type"])
            message = said.get("exception.message")
            raised = _RAISED.match(text(message) or "") if message is not None and told == wrapper else None
            return raised[1] if raised else told
    return None


_EXCEPTION = ("exception.type", "exception.message")
_RAISED = re.compile(r"([^\W\d][\w.]{0,255})\(")


def _scores(span: Span, origin: Origin, event: Ingested, quality: float | None) -> Iterator[Ingested]:
    """The scores that a span carries, in its attributes or as events of its own."""
    numbers = count(1)
    if quality is not None:
        yield _score(event, next(numbers), event.ts, quality, {"span.name": span.name[:TEXT_MAX]})
    for each in span.events:
        if each.name == EVALUATION:
            plan, pairs = plan_for(origin, each.attributes)
            row = dict(zip(READERS, cells_of(plan, pairs), strict=True))
            ts = encode_micros(each.time_unix_nano // 1000) if each.time_unix_nano else event.ts
            quality = score(row["quality"], row["label"])
            yield _score(event, next(numbers), ts, quality, kept_of(plan, pairs, origin))


def _score(event: Ingested, number: int, ts: str | None, quality: float | None, kept: dict[str, Any]) -> Ingested:
    """A score of what a span did, known again by its number there; it is not the span once more."""
    return Ingested(
        ts=ts,
        kind="quality_score",
        source=event.source,
        task_id=event.task_id,
        agent=event.agent,
        model=event.model,
        provider=event.provider,
        quality=quality,
        run_id=event.run_id,
        trace_id=event.trace_id,
        parent_id=event.span_id,
        role=f"score {number}",
        handoff_id=event.handoff_id,
        attributes=kept,
    )
