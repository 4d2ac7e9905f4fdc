"""The state machine in columns goes where a plain one for a single series goes, in whatever setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from self_healing.clock import SECOND_US
from self_healing.model import SeriesState
from self_healing.spec import NoData, TriggerSpec
from self_healing.triggers.series import Series
from self_healing.triggers.states import Finding, next_timer_us, step
from tests.unit.triggers.engine import trigger

SERIES = 4
State = Literal["inactive", "pending", "firing", "recovering"]


@dataclass
class Plain:
    """One series, told what is found at one instant after the other; times are in seconds."""

    trigger: TriggerSpec
    state: State = "inactive"
    since: int = 0
    began: list[int] = field(default_factory=list)
    flapping: bool = False

    def look(self, finding: Finding, t: int) -> None:
        no_data = self.trigger.no_data
        missing = finding in (Finding.TOO_FEW, Finding.NO_DATA, Finding.NO_BASELINE)
        met = finding is Finding.MET or (finding is Finding.NO_DATA and no_data is NoData.FIRE)
        well = finding is Finding.CLEARED or (missing and not met and no_data is NoData.CLEAR)
        match self.state:
            case "inactive" if met:
                self._go("pending" if self.trigger.for_s else "firing", t)
            case "pending" if not met:
                self._go("inactive", t)
            case "pending" if t - self.since >= self.trigger.for_s:
                self._go("firing", t)
            case "firing" if well:
                self._go("recovering", t)
            case "recovering" if met:
                self._go("firing", t)
            case "recovering" if t - self.since >= self._keep() and (not missing or no_data is NoData.CLEAR):
                self._go("inactive", t)

    def _keep(self) -> int:
        rest = self.trigger.flap_window // 4 if self.flapping else 0
        return max(rest, self.trigger.keep_firing_for)

    def _go(self, to: State, t: int) -> None:
        if to == "firing" and self.state != "recovering":
            self.began.append(t)
            lately = [each for each in self.began if t - each <= self.trigger.flap_window]
            if 0 < self.trigger.flap_after <= len(lately):
                self.flapping = True
        if to == "inactive":
            self.flapping = False
        self.state, self.since = to, t


settings = st.fixed_dictionaries(
    {
        "for": st.sampled_from([0, 1, 20, 60]),
        "keep_firing_for": st.sampled_from([0, 1, 30, 120]),
        "no_data": st.sampled_from(list(NoData)),
        "flap_after": st.sampled_from([0, 2, 3, 5]),
        "flap_window": st.sampled_from([60, 240, 900]),
    }
)
looks = st.lists(
    st.tuples(st.integers(1, 90), st.lists(st.sampled_from(Finding), min_size=SERIES, max_size=SERIES)), max_size=60
)


@given(settings, looks)
def test_every_series_goes_where_a_plain_state_machine_goes(
    given_settings: dict[str, object], found: list[tuple[int, list[Finding]]]
) -> None:
    tried = trigger(**given_settings)
    series, plain = Series(tried), [Plain(tried) for _ in range(SERIES)]
    series.widen(SERIES)
    t = 1000
    for later, findings in found:
        t += later
        looked = np.array(findings, np.uint8)
        columns = step(tried, series.state, series.since_us, series.flapping, looked, t * SECOND_US)
        series.become(*columns, t * SECOND_US)
        for each, finding in zip(plain, findings, strict=True):
            each.look(finding, t)

        assert [SeriesState(state).name.lower() for state in series.state.tolist()] == [each.state for each in plain]
        assert (series.since_us // SECOND_US).tolist() == [each.since for each in plain]
        assert series.flapping.tolist() == [each.flapping for each in plain]


@given(settings, looks)
def test_nothing_changes_before_the_next_timer_while_the_same_is_found(
    given_settings: dict[str, object], found: list[tuple[int, list[Finding]]]
) -> None:
    tried = trigger(**given_settings)
    series = Series(tried)
    series.widen(SERIES)
    t_us = 1000 * SECOND_US
    for later, findings in found:
        looked = np.array(findings, np.uint8)
        for _ in range(3):  # one change may follow on the other, but not without end
            t_us += 1
            series.become(*step(tried, series.state, series.since_us, series.flapping, looked, t_us), t_us)
        due_us = next_timer_us(tried, series.state, series.since_us, series.flapping, t_us)
        t_us = min(t_us + later * SECOND_US, t_us + later * SECOND_US if due_us is None else due_us - 1)

        state, _ = step(tried, series.state, series.since_us, series.flapping, looked, t_us)

        assert state.tolist() == series.state.tolist()
