"""What becomes of segments that were folded: compacted to Parquet, and deleted when they are old or too many.

A segment's lines are deleted only when everything in it was folded, and when its Parquet file is synced under its name.
So whatever a crash interrupts, the next call goes on with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from self_healing.errors import StorageError
from self_healing.filenames import CORRUPT, SUFFIX
from self_healing.telemetry.recovery import DELETED, PARQUET, segment_files
from self_healing.telemetry.segments import sync_directory

PART: Final = ".part"
"""What is added to the name of a Parquet file while it is written."""

CRASH_POINTS: Final = ("compaction.written", "compaction.synced", "compaction.renamed", "compaction.deleted")

_COLUMNS: Final = {
    **dict.fromkeys(("ts", "type", "source", "id", "agent", "model", "provider", "status"), "VARCHAR"),
    **dict.fromkeys(("started_at", "finished_at", "duration_s", "q"), "DOUBLE"),
    **dict.fromkeys(("attempt", "passed", "failed", "events"), "BIGINT"),
    **dict.fromkeys(("error_type", "tool", "run_id", "trace_id", "span_id", "parent_id", "role"), "VARCHAR"),
    **dict.fromkeys(("call_id", "handoff_id", "key"), "VARCHAR"),
    "usage": "STRUCT(prompt_tokens BIGINT, completion_tokens BIGINT, total_tokens BIGINT, total_usd DOUBLE)",
    **dict.fromkeys(("attributes", "rejected", "dropped"), "JSON"),
}
"""The columns of a compacted segment: the fields of its lines."""


class Retention:
    """Tends the segments of one state directory; only for the process that owns the state.

    Args:
        directory: of the segments.
        keep: how long a compacted segment is kept.
        keep_bytes: how much all compacted segments may hold; the oldest go first.
        crash: called at CRASH_POINTS; for crash tests.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: timedelta,
        keep_bytes: int,
        crash: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self._directory = directory
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._crash = crash
        self.problem: str | None = None  # what could not be compacted at the last call, and why

    def tend(self, folded: Mapping[str, int], *, active: str | None, now: datetime) -> list[str]:
        """Compact what was folded, and delete what is too old or too much: that first, for the rest may need its room.

        What cannot be compacted now stays as it is, :attr:`problem` says so, and the next call tries again.

        Args:
            folded: up to which byte each segment was folded, and that is committed.
            active: the segment that may still grow.
            now: the present instant.

        Returns:
            What was deleted or set aside, for people.

        Raises:
            StorageError: a file cannot be deleted; nothing is lost, and the next call tries again.
        """
        try:
            self._clear()
            notes = self._delete(now)
            done = [
                file
                for file in segment_files(self._directory)
                if file.suffix == SUFFIX and file.name != active and folded.get(file.name, -1) >= file.stat().st_size
            ]
            return notes + self._compact_all(done) + self._delete(now)
        except OSError as error:
            raise StorageError(f"cannot tend the segments in {self._directory}: {error.strerror or error}") from error

    def _clear(self) -> None:
        """Remove what was not written to its end."""
        for part in self._directory.glob(f"*{PART}"):
            part.unlink()

    def _compact_all(self, files: Sequence[Path]) -> list[str]:
        notes: list[str] = []
        failed: list[str] = []
        for file in files:
            try:
                notes += self._compact(file)
            except (OSError, StorageError) as error:
                why = error.strerror if isinstance(error, OSError) and error.strerror else error
                failed.append(f"segment {file.name} cannot be compacted now: {why}")
                self._clear()
        more = f", and {len(failed) - 1} others neither" if len(failed) > 1 else ""
        self.problem = f"{failed[0]}{more}; nothing of it is lost, and it is tried again" if failed else None
        return notes

    def _compact(self, file: Path) -> list[str]:
        """Put `file` in the place of which its Parquet file will be. A corrupt one is set aside."""
        info = file.stat()
        compacted = file.with_suffix(PARQUET)
        if info.st_size and not compacted.exists():
            part = compacted.with_name(compacted.name + PART)
            why = _written(file, part)
            if why is not None:
                part.unlink(missing_ok=True)
                return [self._set_aside(file, why)]
            self._crash("compaction.written")
            os.utime(part, ns=(info.st_atime_ns, info.st_mtime_ns))  # it is as old as what it holds
            with part.open("rb") as written:
                os.fsync(written.fileno())
            self._crash("compaction.synced")
            part.rename(compacted)
            sync_directory(self._directory)
            self._crash("compaction.renamed")
        file.unlink()
        sync_directory(self._directory)
        self._crash("compaction.deleted")
        return []

    def _set_aside(self, file: Path, why: str) -> str:
        aside = file.with_name(file.name + CORRUPT)
        file.rename(aside)
        sync_directory(self._directory)
        return (
            f"segment {file.name} cannot be compacted and is kept as {aside.name}: {why}; its good lines were folded,"
            " so it may be looked at and deleted"
        )

    def _delete(self, now: datetime) -> list[str]:
        """Delete the compacted segments that are too old, then the oldest while they are too much."""
        notes = self._mark(now)
        deleted = [file for file in segment_files(self._directory) if file.suffix == DELETED]
        for file in deleted[:-1]:
            file.unlink()
        for file in deleted[-1:]:
            info = file.stat()
            # Emptied, and not written anew: a full disk has room for that. Until it has its time again, it seems newer
            # than it is, and more is too late; nothing counts twice.
            if info.st_size:
                os.truncate(file, 0)
                os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
        return notes

    def _mark(self, now: datetime) -> list[str]:
        """Mark what is to be deleted by its name: a crash after that deletes it later, and forgets nothing of it.

        By how old the newest of them is, a start tells up to when it knows nothing of what came.
        """
        kept = [(file, file.stat()) for file in segment_files(self._directory) if file.suffix == PARQUET]
        total = sum(info.st_size for _, info in kept)
        oldest_s = (now - self._keep).timestamp()
        notes = []
        for file, info in kept:
            if info.st_mtime >= oldest_s and total <= self._keep_bytes:
                break
            why = "older than is kept" if info.st_mtime < oldest_s else "more than is kept"
            file.rename(file.with_suffix(DELETED))
            total -= info.st_size
            notes.append(f"segment {file.name} was deleted: {why}")
        return notes


def _written(file: Path, part: Path) -> str | None:
    """Write the lines of `file` to `part` in columns; returns why that cannot be done, of what is in `file`."""
    import duckdb  # a process that compacts nothing does without its 30 MB

    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in _COLUMNS.items())
    with duckdb.connect(config={"threads": 1, "memory_limit": "512MB"}) as connection:
        source = f"read_ndjson(?, columns = {{{columns}}}, compression = 'uncompressed', maximum_object_size = 2097152)"
        part.touch(mode=0o600)  # as private as the segment; written into as it is, without another file of DuckDB's
        form = "FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false"
        try:
            connection.execute(f"COPY (SELECT * FROM {source}) TO '{_quoted(part)}' ({form})", [str(file)])
            (rows,) = connection.execute("SELECT count(*) FROM read_parquet(?)", [str(part)]).fetchone() or (0,)
        except duckdb.InvalidInputException as error:
            return str(error).splitlines()[0]
        except duckdb.Error as error:
            raise StorageError(str(error).splitlines()[0]) from error
    lines = _lines(file)
    return None if rows == lines else f"{rows} of its {lines} lines could be read"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _lines(file: Path) -> int:
    with file.open("rb") as opened:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: opened.read(1 << 20), b""))
