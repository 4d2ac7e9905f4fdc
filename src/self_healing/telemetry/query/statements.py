"""The SQL that finds events. It lets through whatever may be wanted; what is, the lines themselves say.

A time that DuckDB does not read as we do is unknown here, and such a line is let through, the first of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from self_healing.model import Ingested
from self_healing.telemetry.lines import OWN_PREFIX
from self_healing.telemetry.query.files import Form
from self_healing.telemetry.query.rows import KINDS, Wanted

COLUMNS: Final = {"agents": "agent", "tasks": "id", "statuses": "status", "models": "model", "traces": "trace_id"}
"""Of each filter that compares with the texts of a field, that field."""

WHOSE: Final = ("agents", "tasks")
"""The filters whose fields a span may have from another of its trace."""

FIRST: Final = 1_000
"""So many lines are looked at before all are, to learn how far back they reach."""

RELATED: Final = "CREATE TEMP TABLE related (trace_id VARCHAR)"
"""Makes the table of the traces in which some span says what is asked for, without which :func:`newest` cannot be."""

_FILES: Final = {
    # What no JSON is comes as NULL, and so does the torn last line of a file that is being written.
    Form.NATIVE: "read_ndjson_objects($files, ignore_errors = true, compression = 'uncompressed', filename = true)",
    Form.COMPACTED: "read_parquet($files, union_by_name = true, hive_partitioning = false, filename = true)",
}

# The usual forms, whose zone is certain: DuckDB would take UTC where none is named.
_AT: Final = """
    CASE WHEN s.ts IS NULL THEN TRY_CAST(round(coalesce(s.finished_at, s.started_at) * 1000000) AS BIGINT)
         WHEN s.ts[11] IN ('T', ' ') AND (s.ts[-1] = 'Z' OR (s.ts[-3] = ':' AND s.ts[-6] IN ('+', '-')))
         THEN epoch_us(TRY_CAST(s.ts AS TIMESTAMPTZ)) END
"""

# To look for a text takes a tenth of the time that it takes to look into a line, and with a backslash any letter can be
# written otherwise. Without a limit DuckDB would look into all lines first, for the conditions around this.
_MAYBE_OF_AGENT: Final = f"""
    (SELECT json, filename, from_json(json, $shape) AS s FROM (
        SELECT json, filename FROM {_FILES[Form.NATIVE]}
        WHERE contains(json, $agent) OR contains(json, '\\') OR contains(json, 'trace_id')
            OR NOT contains(json, 'agent')
        LIMIT {1 << 62}))
"""

Parameters = dict[str, Any]


def newest(form: Form, files: Sequence[Path], wanted: Wanted, most: int) -> tuple[str, Parameters]:
    """The statement for the newest lines that may be wanted: when each happened, itself, and its file."""
    condition, parameters = _condition(form, wanted)
    line = "to_json(s)" if form is Form.COMPACTED else "json"
    keep = "" if form is Form.COMPACTED else "json, "
    statement = f"""
        SELECT at_us, CAST({line} AS VARCHAR), filename FROM (
            SELECT {keep}s, at_us, filename FROM (SELECT *, {_AT} AS at_us FROM {_source(form)})
            WHERE {condition} ORDER BY at_us DESC NULLS FIRST LIMIT $most
        )
    """
    return statement, parameters | _given(form, files, wanted) | {"most": most}


def related(form: Form, files: Sequence[Path], wanted: Wanted) -> tuple[str, Parameters]:
    """The statement that remembers the traces in those files in which something is, or may be, the work of an agent or
    the task that is wanted."""
    asked = [name for name in WHOSE if getattr(wanted, name)]
    says = " OR ".join(f"s.{COLUMNS[name]} IN (SELECT unnest(${name}))" for name in asked)
    statement = f"""
        INSERT INTO related SELECT DISTINCT s.trace_id FROM {_source(form)}
        WHERE s.trace_id IS NOT NULL AND s.span_id IS NOT NULL
            AND (s.role = 'agent' OR s.parent_id IS NULL) AND ({says})
    """
    given = {name: list(getattr(wanted, name)) for name in asked}
    return statement, given | _given(form, files, wanted, "trace_id", "span_id", "parent_id", "role")


def within(form: Form, files: Sequence[Path], wanted: Wanted, agent: str | None) -> tuple[str, Parameters]:
    """The statement for the lines of the time that is wanted, as they stand in their files.

    Args:
        agent: leave out what is certainly another agent's: what names another one, and belongs to no trace.
    """
    condition, parameters = _condition(form, wanted)
    line = "to_json(s)" if form is Form.COMPACTED else "json"
    if agent is not None:
        condition += " AND (s.agent IS NULL OR s.agent = $agent OR s.trace_id IS NOT NULL)"
        parameters["agent"] = agent
    source = _source(form) if agent is None or form is Form.COMPACTED else _MAYBE_OF_AGENT
    statement = f"SELECT CAST({line} AS VARCHAR) FROM (SELECT *, {_AT} AS at_us FROM {source}) WHERE {condition}"
    return statement, parameters | _given(form, files, wanted, *(["agent", "trace_id"] if agent is not None else []))


def reaches(form: Form, files: Sequence[Path], since_us: int) -> tuple[str, Parameters]:
    """The statement for any event among the first of those files, mostly the oldest, that happened by then."""
    first = f"(SELECT * FROM {_source(form)} LIMIT {FIRST})"
    return f"SELECT 1 FROM {first} WHERE {_AT} <= $since LIMIT 1", _given(form, files, Wanted()) | {"since": since_us}


def oldest(form: Form, files: Sequence[Path]) -> tuple[str, Parameters]:
    """The statement for when the oldest event in those files happened."""
    return f"SELECT min({_AT}) FROM {_source(form)}", _given(form, files, Wanted())


def names(form: Form, files: Sequence[Path], field: str, most: int) -> tuple[str, Parameters]:
    """The statement for what `field` says in those files, each value once."""
    statement = f"SELECT DISTINCT s.{field} FROM {_source(form)} WHERE s.{field} IS NOT NULL LIMIT $most"
    return statement, _given(form, files, Wanted(), field) | {"most": most}


def _source(form: Form) -> str:
    """The lines as `s`, a structure of their fields."""
    if form is Form.COMPACTED:
        fields = [field.encode_name for field in msgspec.structs.fields(Ingested)]
        packed = ", ".join(f"{name} := {name}" for name in fields)
        return f"(SELECT struct_pack({packed}) AS s, filename FROM {_FILES[form]})"
    return f"(SELECT json, filename, from_json(json, $shape) AS s FROM {_FILES[Form.NATIVE]})"


def _given(form: Form, files: Sequence[Path], wanted: Wanted, *others: str) -> Parameters:
    given: Parameters = {"files": [_literal(file) for file in files]}
    if form is not Form.COMPACTED:
        needed = [column for name, column in COLUMNS.items() if getattr(wanted, name)]
        needed += ["trace_id"] if wanted.whose else []
        texts = dict.fromkeys(("ts", "type", *needed, *(["source"] if wanted.sources else []), *others), "VARCHAR")
        given["shape"] = msgspec.json.encode(texts | {"started_at": "DOUBLE", "finished_at": "DOUBLE"}).decode()
    return given


def _condition(form: Form, wanted: Wanted) -> tuple[str, Parameters]:
    own = f"NOT starts_with(coalesce(s.type, ''), '{OWN_PREFIX}')"
    terms, given = [own, f"({_time(wanted)} OR (at_us IS NULL AND s.ts IS NOT NULL))"], Parameters()
    for name, column in COLUMNS.items():
        if getattr(wanted, name):
            says = f"s.{column} IN (SELECT unnest(${name}))"
            inherits = name in WHOSE and form is not Form.NATIVE
            terms.append(f"({says} OR s.trace_id IN (SELECT trace_id FROM related))" if inherits else says)
            given[name] = list(getattr(wanted, name))
    if wanted.kinds:
        terms.append(f"({_kinds(wanted)})")
        given["kinds"] = list(wanted.kinds)
    if wanted.sources and form is not Form.NATIVE:
        terms.append("(list_contains($sources, s.source) OR list_contains($sources, split_part(s.source, '/', 1)))")
        given["sources"] = list(wanted.sources)
    return " AND ".join(terms), given


def _time(wanted: Wanted) -> str:
    """A microsecond more at either end: what is finer than one is cut off here, and may be rounded there."""
    terms = ["at_us IS NOT NULL"]
    if wanted.since_us is not None:
        terms.append(f"at_us >= {wanted.since_us - 1}")
    if wanted.until_us is not None:
        terms.append(f"at_us <= {wanted.until_us}")
    return f"({' AND '.join(terms)})"


def _kinds(wanted: Wanted) -> str:
    known = "list_contains($kinds, s.type)"
    if "log" not in wanted.kinds:
        return known
    others = ", ".join(f"'{kind}'" for kind in KINDS)
    return f"{known} OR s.type IS NULL OR s.type NOT IN ({others})"


def _literal(file: Path) -> str:
    """A path in which DuckDB finds no pattern."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in str(file))
