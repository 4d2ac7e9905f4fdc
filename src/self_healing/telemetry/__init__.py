"""Events in: whatever arrives is read, decoded and accounted for, and folded into the panes that triggers look at.

::

    native files ---------------------------------------------------> reader -> telemetry -> panes
    OTLP, HTTP, JUnit, alerts -> normalised -> intake -> segments ---^    (traces and sessions become tasks)
"""

__all__: list[str] = []
