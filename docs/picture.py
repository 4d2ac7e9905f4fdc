"""Make the picture of the demo that the README shows, from a real run: ``python docs/picture.py``.

Of what happens, it keeps the story of one fault, and says how many lines it leaves out; the rest is the demo's own
output.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from self_healing.simulation.demo import demo

PICTURE = Path(__file__).parent / "assets" / "demo.svg"
TOLD = "high_error_rate SupportBot"
"""The story with the most in it: a pause, a repair, probation, and a second look without the directive."""


class Cropped(Console):
    """Records what is printed, but of the happenings only those of one story."""

    def __init__(self) -> None:
        super().__init__(record=True, width=129, file=io.StringIO(), force_terminal=False, highlight=False)
        self.left_out = 0

    def print(self, *objects: Any, **options: Any) -> None:
        happening = next((each for each in objects if isinstance(each, Text)), None)
        if happening is not None and TOLD not in happening.plain:
            self.left_out += 1
            return
        if happening is None and self.left_out:
            super().print(f"({self.left_out} lines on the other six faults are left out here)\n", style="dim")
            self.left_out = 0
        super().print(*objects, **options)


def without_fonts(svg: str) -> str:
    """The picture without the fonts that a viewer would fetch from elsewhere; it has one that every viewer has."""
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    console = Cropped()
    code = demo(console=console)
    if code == 0:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(without_fonts(console.export_svg(title="make demo")), encoding="utf-8")
    sys.exit(code)
