"""Make the picture of the dashboard that the docs show, from a real run: ``python docs/dashboard.py``.

The service of the demo beside its fleet, looked at in Debian's chromium once three incidents are open.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "assets" / "dashboard.png"
OPEN = 3
"""So many incidents are open when the picture is taken."""

LONGEST_MS = 80_000
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def main() -> int:
    """Take the picture; 1 when so many incidents were never open."""
    command = [str(Path(sys.executable).with_name("self-healing")), "demo", "--dashboard"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo, sync_playwright() as playwright:
        assert demo.stdout is not None
        try:
            address = next(found[0] for line in demo.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
            threading.Thread(target=demo.stdout.read, daemon=True).start()  # what nobody reads would hold the demo up
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 960})
            page.goto(address, wait_until="domcontentloaded")
            page.locator("section", has=page.locator("#open")).locator("tbody tr").nth(OPEN - 1).wait_for(
                timeout=LONGEST_MS
            )
            page.wait_for_timeout(3_000)  # until the first effects are judged
            page.screenshot(path=PICTURE)
            browser.close()
        finally:
            demo.send_signal(signal.SIGINT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
