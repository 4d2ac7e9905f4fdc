"""The label of a fleet on what leaves, so that where there are several nobody takes one for another."""

from __future__ import annotations

from typing import Any, Final

LABEL: Final = "environment"
"""The name of the label: as a key, as a label of a metric, and behind ``self-healing-`` as a header."""

HEADER: Final = f"self-healing-{LABEL}"


def label(environment: str) -> dict[str, Any]:
    """The label as a mapping, to be merged into what leaves; empty where there is only one fleet."""
    return {LABEL: environment} if environment else {}


def marked(environment: str, text: str) -> str:
    """A text with the label before it, such as ``[production] healthy``."""
    return f"[{environment}] {text}" if environment else text
