"""What is declared: triggers with their series, and actions with how well they work."""

from __future__ import annotations

from collections import defaultdict

from self_healing import listing, views
from self_healing.explaining.live import last, live
from self_healing.explaining.telling import declared
from self_healing.model import (
    Group,
    Lesson,
    Verdict,
)
from self_healing.overview import sparks
from self_healing.surface.shared import Answers, AtLeastOne, Said
from self_healing.telemetry.signals import unit
from self_healing.views import Json


class Declared(Answers):
    """What is declared."""

    def triggers(self) -> Json:
        verdicts = self._verdicts()
        return {"triggers": [views.trigger(each, verdicts[each.name]) for each in self._loop.spec.triggers]}

    def _verdicts(self) -> defaultdict[str, list[Verdict]]:
        """Those of each trigger, by its name."""
        verdicts: defaultdict[str, list[Verdict]] = defaultdict(list)
        for verdict in self._loop.verdicts():
            verdicts[verdict.trigger].append(verdict)
        return verdicts

    def trigger(self, name: str) -> Json:
        spec = declared(self._loop.spec, name)
        series = [views.verdict(each) for each in self._loop.verdicts() if each.trigger == name]
        return {
            "trigger": spec.model_dump(mode="json", by_alias=True),
            "condition": views.condition(spec),
            "unit": unit(spec),
            "series": series,
        }

    def series(
        self,
        triggers: tuple[str, ...] = (),
        states: tuple[str, ...] = (),
        limit: AtLeastOne = 50,
        cursor: str | None = None,
    ) -> Json:
        """Every series with its verdict, ordered by trigger and group, which stay what they are between two pages."""
        behind = ("", ()) if cursor is None else listing.opened(cursor, "series", tuple[str, Group])
        wanted = [
            each
            for each in self._loop.verdicts()
            if (not triggers or each.trigger in triggers)
            and (not states or each.state.name.lower() in states)
            and (cursor is None or (each.trigger, each.group) > behind)
        ]
        found = sorted(wanted, key=lambda each: (each.trigger, each.group))
        those = found[:limit]
        specs = {spec.name: spec for spec in self._loop.spec.triggers}
        return {
            "series": [{**views.verdict(each), "unit": unit(specs[each.trigger])} for each in those],
            "next": listing.sealed("series", (those[-1].trigger, those[-1].group)) if len(found) > limit else None,
        }

    def explain(self, name: str, keys: dict[str, str] = {}) -> Json:  # noqa: B006 it is only read
        return live(self._loop, name, keys)

    def sparks(self) -> Json:
        verdicts = self._verdicts()
        return {
            "triggers": [
                {
                    **views.trigger(each, verdicts[each.name]),
                    "course": sparks(self._loop, each.name),
                    "last": last(self._loop, each, verdicts[each.name]),
                }
                for each in self._loop.spec.triggers
            ]
        }

    def enable(self, name: str, by: Said) -> Json:
        return self._switch(name, True, by)

    def disable(self, name: str, by: Said) -> Json:
        return self._switch(name, False, by)

    def _switch(self, name: str, enabled: bool, by: str) -> Json:
        open_before = [each.id for each in self._loop.register.open.values() if each.trigger == name]
        changed = self._loop.override_trigger(name, {"enabled": enabled}, by)
        dismissed = [id for id in open_before if id not in self._loop.register.open]
        version = self._loop.spec.version
        return {"name": changed.name, "enabled": changed.enabled, "spec_version": version, "dismissed": dismissed}

    def actions(self) -> Json:
        spec, lessons = self._loop.spec, self._store.select(Lesson)
        return {
            "actions": [
                views.action(
                    action,
                    [trigger.name for trigger in spec.triggers if action.name in trigger.actions],
                    [lesson for lesson in lessons if lesson.action == action.name],
                )
                for action in spec.actions
            ]
        }
