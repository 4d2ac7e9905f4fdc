"""What files of telemetry are called: said once, for whoever writes, reads or counts them."""

from __future__ import annotations

from typing import Final

SUFFIX: Final = ".jsonl"
"""How the names end of the files that hold events, a line each."""

OWN_EVENTS: Final = "events-self-healing-"
"""How the names of the files begin that the framework itself writes to the telemetry directory; they are not read."""

SEGMENTS: Final = "segments"
"""The folder in the state directory for what comes in otherwise than as native files."""

CORRUPT: Final = ".corrupt"
"""What is put behind the name of a segment that cannot be compacted, since it was damaged."""
