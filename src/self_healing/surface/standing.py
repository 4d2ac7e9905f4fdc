"""How the framework itself stands, a check, the stop, and telemetry that is brought by hand."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import msgspec

from self_healing import status
from self_healing.constitution import stop
from self_healing.errors import StateBusy
from self_healing.overview import overview
from self_healing.surface.shared import Answers, Aware, Said
from self_healing.telemetry.junit_files import take_file
from self_healing.views import Json


class Standing(Answers):
    """How it stands."""

    def ingest_junit(self, paths: tuple[str, ...], agent: str | None = None) -> Json:
        intake = self._loop.receiving.intake
        taken = [(path, take_file(intake, Path(path), agent)) for path in paths]
        return {"files": [{"path": path, **msgspec.structs.asdict(receipt)} for path, receipt in taken]}

    def check(self, now: Aware | None = None) -> Json:
        if now is not None and self._serving:
            raise StateBusy("a service runs on this state, and its time is its own; leave --now out, or stop it")
        return self._loop.check(now)

    def status(self) -> Json:
        return status.status(
            self._loop.settings,
            self._loop.spec,
            at=self._loop.clock.now(),
            serving=self._serving,
            health=self._loop.health() if self._serving else None,
            evaluated_us=self._loop.evaluated_us if self._serving else None,
            refused=self._refused,
        )

    def figures(self) -> Json:
        return {
            **self.status(),
            "version": version("agency-self-healing"),
            "ingest_lag_s": self._loop.ingest_lag_s,
            "firing": dict(self._loop.firing()),
        }

    def overview(self) -> Json:
        return overview(self._loop, serving=self._serving)

    def health(self) -> Json:
        told: Json = self.status()["health"]
        return told

    def stop(self, by: Said, reason: Said) -> Json:
        record = stop.stop(self._loop.settings.storage.state_dir, reason, by, self._loop.clock.now())
        return {"stopped": msgspec.to_builtins(record)}

    def resume(self, by: Said, reason: Said) -> Json:
        state_dir, at = self._loop.settings.storage.state_dir, self._loop.clock.now()
        return {"resumed": stop.resume(state_dir, reason, by, at)}
