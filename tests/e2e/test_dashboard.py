"""The dashboard in a real browser: an incident followed until it is healed, every page, the stop, and for everybody."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from self_healing.clock import Clock, ScaledClock
from self_healing.config import ServerSettings, Settings, StorageSettings, TelemetrySettings
from self_healing.service import serve
from self_healing.simulation.demo import beside
from self_healing.simulation.faults import FAULTS
from self_healing.simulation.history import backfill
from self_healing.testing import Scenario
from tests.scenarios.test_approvals import options as slow_tasks_erase
from tests.unit.dashboard.test_pages import serving

CHROMIUM = shutil.which("chromium")
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
SCREENSHOTS = Path(__file__).parents[2] / ".cache" / "screenshots"
"""What the pages looked like; kept for people to look at."""

PAGES = (
    "/",
    "/incidents",
    "/triggers",
    "/triggers/slow_tasks",
    "/triggers/slow_tasks/try?threshold=50",
    "/actions",
    "/agents",
    "/agents/Coder",
    "/handoffs",
    "/constitution",
    "/audit",
    "/stop",
)

SIDEWAYS = """[...document.querySelectorAll("section, table")]
    .filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.outerHTML.slice(0, 80))"""

LONGEST_MS = 120_000
"""So long a fault may take to be healed, on a busy machine; it takes ten seconds on a quiet one."""

TOKEN = "shown-once"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: `make debian` installs it where it can")


@contextmanager
def served(settings: Settings, clock: Clock) -> Iterator[str]:
    """A service; gives its address."""
    listening, addresses = threading.Event(), dict[str, str]()
    ending: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def ready(found: dict[str, str]) -> None:
        addresses.update(found)
        listening.set()

    async def run() -> None:
        stop = asyncio.Event()
        ending.append((asyncio.get_running_loop(), stop))
        await serve(settings, clock=clock, stop=stop, ready=ready)

    service = threading.Thread(target=lambda: asyncio.run(run()), name="service")
    service.start()
    try:
        assert listening.wait(LONGEST_MS / 1000)
        yield addresses["port"]
    finally:
        loop, stop = ending[0]
        loop.call_soon_threadsafe(stop.set)
        service.join(LONGEST_MS / 1000)


@contextmanager
def sick_fleet(settings: Settings, clock: ScaledClock) -> Iterator[str]:
    """A service beside a fleet of which one agent becomes slow; gives its address."""
    faults = [fault for fault in FAULTS if fault.trigger == "slow_tasks"]
    with beside(settings, clock, faults), served(settings, clock) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def opened(browser: Browser, dark: bool = False, phone: bool = False) -> tuple[Page, list[str]]:
    """A page, and what goes wrong in it."""
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
    page = browser.new_page(viewport=size, color_scheme="dark" if dark else "light")  # type: ignore[arg-type]
    page.set_default_timeout(LONGEST_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    return page, wrong


def shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def serious(page: Page) -> list[str]:
    """What axe finds that keeps people from using the page."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_an_incident_is_followed_live_from_its_detection_until_it_is_healed(browser: Browser, tmp_path: Path) -> None:
    settings = Settings(
        telemetry=TelemetrySettings(dir=tmp_path / "telemetry"),
        storage=StorageSettings(state_dir=tmp_path / "state", logs_dir=tmp_path / "logs"),
        server=ServerSettings(port=0, otlp_http_port=None, otlp_grpc_port=None),
    )
    start = datetime.now(UTC).replace(microsecond=0)
    backfill(settings.telemetry.dir, start, hours=2, seed=7)
    clock = ScaledClock(30, start, origin=time.monotonic() + 2)
    with sick_fleet(settings, clock) as url:
        page, wrong = opened(browser)
        page.goto(f"{url}/")
        link = page.get_by_role("link", name="slow tasks")
        expect(link).to_be_visible(timeout=LONGEST_MS)  # it comes by itself: nobody loads the page again
        shoot(page, "now")
        link.click()
        expect(page.locator("h1")).to_contain_text("Coder")
        expect(page.locator("#timeline + ol")).to_contain_text("verifying", timeout=LONGEST_MS)
        for answer in page.locator(".story dt, .story dd").all():  # also to what is not known yet
            expect(answer).to_be_visible()
        expect(page.locator("p.line .tag.healed")).to_be_visible(timeout=LONGEST_MS)
        expect(page.locator("#chart canvas")).to_be_visible(timeout=LONGEST_MS)
        expect(page.locator("#live")).to_have_text("live")
        shoot(page, "incident")
        page.goto(f"{url}/")
        expect(page.get_by_role("table").last).to_contain_text("analyze slow tasks")
        assert wrong == []
        page.close()
    # What is looked at from here on does not need thirty times the work of a fleet.
    with served(settings, ScaledClock(1, clock.now())) as url:
        _every_page(browser, url)
        _the_trial(browser, url)
        _the_stop(browser, url)


def _every_page(browser: Browser, url: str) -> None:
    """Each page, in light and dark and on a phone, without an error and without what keeps people out."""
    for dark, phone in ((False, False), (True, True)):
        page, wrong = opened(browser, dark=dark, phone=phone)
        page.goto(f"{url}/incidents")
        healed = page.locator("td a").first.get_attribute("href") or ""
        assert healed
        for path in (*PAGES, healed, "/login"):
            page.goto(f"{url}{path}")
            expect(page.locator("h1")).to_be_visible()
            if path != "/login":
                says = "shown as it was asked for" if "?" in path else "live"  # a trial is of what was stored then
                expect(page.locator("#live")).to_have_text(says, timeout=LONGEST_MS)
            name = "incident" if path == healed else re.sub(r"[^a-z_]+", "-", path.lower()).strip("-") or "first"
            _for_everybody(page, name, phone)
        assert wrong == []
        page.close()


def _for_everybody(page: Page, name: str, phone: bool = False) -> None:
    """Nothing in the page keeps people out, and it is as wide as what shows it."""
    assert (name, serious(page)) == (name, [])
    assert (name, page.evaluate("document.documentElement.scrollWidth")) <= (name, page.evaluate("innerWidth"))
    if phone:  # and nothing in the page has to be moved sideways to be read, but for code
        assert (name, page.evaluate(SIDEWAYS)) == (name, [])
    shoot(page, f"{name}{'-dark-phone' if phone else ''}")


def _the_trial(browser: Browser, url: str) -> None:
    """What somebody opened stays open while the page follows; that a trial is under way is said, and it can be left."""
    page, wrong = opened(browser)
    held: list[Route] = []
    page.route("**/try?*", lambda route: held.append(route))  # noqa: PLW0108 playwright marks what it calls
    for leave in (True, False):
        page.goto(f"{url}/triggers/slow_tasks")
        made = page.locator("#main").get_attribute("data-now") or ""
        page.get_by_text("Try another threshold").click()
        expect(page.locator("#main")).not_to_have_attribute("data-now", made, timeout=LONGEST_MS)
        expect(page.get_by_role("progressbar")).to_be_hidden()
        page.get_by_role("button", name="Try it").click()
        expect(page.get_by_role("status").filter(has_text="are replayed")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_be_visible()
        if leave:
            shoot(page, "trying-under-way")
            assert serious(page) == []
            page.get_by_role("link", name="leave it").click()
    held[-1].continue_()
    expect(page.locator("h1")).to_contain_text("Another threshold", timeout=LONGEST_MS)
    expect(page.locator("h1")).to_be_focused()
    assert wrong == []
    page.close()


def _the_stop(browser: Browser, url: str) -> None:
    """It is told to whoever has the page of it open, too."""
    page, wrong = opened(browser)
    other, _ = opened(browser)
    other.goto(f"{url}/stop")
    expect(other.locator("#live")).to_have_text("live", timeout=LONGEST_MS)
    page.goto(f"{url}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_role("link", name="Stop").click()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Why").fill("a drill")
    page.get_by_label("Yes, stop all healing").check()
    page.get_by_role("button", name="Stop healing").click()
    expect(page.locator(".notice")).to_contain_text("stopped by Ada: a drill")
    expect(other.get_by_role("button", name="Resume healing")).to_be_visible(timeout=LONGEST_MS)
    other.close()
    page.goto(f"{url}/")
    expect(page.locator("h1")).to_have_text("Healing is stopped")
    shoot(page, "stopped")
    page.goto(f"{url}/stop")
    page.get_by_label("Why").fill("the drill is over")
    page.get_by_role("button", name="Resume healing").click()
    expect(page.get_by_role("button", name="Stop healing")).to_be_visible()
    assert wrong == []
    page.close()


def test_who_logs_in_answers_what_waits_for_a_person_and_reads_what_is_handed_over(
    browser: Browser, tmp_path: Path
) -> None:
    with Scenario(tmp_path, settings=slow_tasks_erase(tmp_path)) as fleet:
        fleet.finish("slow", duration_s=70.0).expect_actions("slow_tasks", erase="awaiting_approval")
        with serving(fleet.loop, token=TOKEN) as port:
            page, wrong = opened(browser, dark=True, phone=True)
            _the_login(page, f"http://127.0.0.1:{port}/handoffs")
            _of_one(page, "handoffs")
            _of_one(page, "approvals")
            _the_answer(page)
            _the_logout(page, f"http://127.0.0.1:{port}/handoffs")
            assert wrong == []
            page.close()


def _the_login(page: Page, url: str) -> None:
    page.goto(url)
    _for_everybody(page, "login", phone=True)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(url)


def _of_one(page: Page, kind: str) -> None:
    """A list, and the page of the one that is in it."""
    page.get_by_role("navigation").get_by_role("link", name=kind.capitalize()).click()
    expect(page.locator("h1")).to_have_text(kind.capitalize())
    _for_everybody(page, kind, phone=True)
    page.locator(f"td a[href^='/{kind}/']").first.click()
    expect(page.locator("p.line")).to_be_visible()
    _for_everybody(page, kind.removesuffix("s"), phone=True)


def _the_answer(page: Page) -> None:
    expect(page.locator("h1")).to_have_text("May erase be done? for Coder")
    yes = page.locator("#approve")
    yes.get_by_label("Your name").fill("Ada")
    yes.get_by_label("Why").fill("it is a cache")
    yes.get_by_role("button", name="Yes, do it").click()
    expect(page.locator("p.line")).to_contain_text("Ada: it is a cache")
    expect(page.locator("#approve")).to_have_count(0)


def _the_logout(page: Page, url: str) -> None:
    """Whoever comes next sees nothing, and is asked for a token."""
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("h1")).to_have_text("Log in")
    page.goto(url)
    expect(page.locator("h1")).to_have_text("Log in")
