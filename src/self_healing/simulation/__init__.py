"""A fleet to demo, test and measure on.

It writes native telemetry, reads directives and works handoffs like a real one, on any clock::

    backfill(telemetry_dir, until=start)                       # a healthy day to compare with
    fleet = Fleet(seed=7, start=start, faults=FAULTS)
    fleet.step(start + timedelta(minutes=5))                   # by hand: the lines of five minutes
    await run_fleet(fleet, clock, telemetry_dir, stop)         # or beside a running service
"""

from self_healing.simulation.agents import NAMES, SPECIALISTS
from self_healing.simulation.faults import FAULTS, Effect, Fault, chosen
from self_healing.simulation.fleet import Fleet
from self_healing.simulation.history import backfill, generate
from self_healing.simulation.live import run_fleet

__all__ = ["FAULTS", "NAMES", "SPECIALISTS", "Effect", "Fault", "Fleet", "backfill", "chosen", "generate", "run_fleet"]
