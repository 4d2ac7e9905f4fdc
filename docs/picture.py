"""Make the picture of the demo that the README shows, from a real run: ``python docs/picture.py``."""

import sys
from pathlib import Path

from rich.console import Console

from self_healing.simulation.demo import demo

if __name__ == "__main__":
    console = Console(record=True, width=132, force_terminal=False)
    code = demo(console=console)
    console.save_svg(str(Path(__file__).parent / "assets" / "demo.svg"), title="make demo")
    sys.exit(code)
