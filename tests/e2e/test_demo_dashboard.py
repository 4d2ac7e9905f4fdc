"""The demo with its dashboard: it says where, answers there, and goes on until Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from urllib.request import urlopen

WELL = """
from self_healing.simulation.demo import demo
from self_healing.simulation.faults import FAULTS

slow = [fault for fault in FAULTS if fault.trigger == "slow_tasks"]
raise SystemExit(demo(faults=slow, dashboard=True))
"""


def test_the_dashboard_goes_on_after_the_demo_until_ctrl_c() -> None:
    with subprocess.Popen([sys.executable, "-c", WELL], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        told = ""
        while "Ctrl-C ends them" not in told:
            line = demo.stdout.readline()
            assert line, told
            told += line
        address = re.search(r"browser: (http://127\.0\.0\.1:\d+/)", told)
        assert address is not None, told
        with urlopen(address[1], timeout=30) as page:
            assert b"agents are well" in page.read()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    assert "1 of 1 faults were detected, acted on and verified healed." in told
