"""The pages in a real Chromium: requests, what axe says, the keyboard, no scripts, and any width."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from _registry_show_fleet_page import fleet_page
from _registry_show_page import host_page
from support import fleet_pages, pages
from support.browser import ENTER, TAB, Browser, chromium

pytestmark = pytest.mark.needs("chromium", "chromedriver")

WIDTHS = (320, 1600)
NARROW, WIDE = WIDTHS
HOSTILE = (
    "<script>document.title='owned'</script><img src=http://127.0.0.1:9/x onerror=document.title='owned'>"
)
TURNED = "\u202egnp.exe \u0634\u0631\u06a9\u062a"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(autouse=True)
def as_usual(browser: Browser) -> None:
    browser.scripts(allowed=True)
    browser.dark(dark=False)
    browser.size(WIDE)


def mirror(max_age: float = 26 * 3600) -> str:
    snapshot = pages.snapshot()
    extras = pages.extras(written_at=time.time(), max_age=max_age)
    return host_page(pages.report(snapshot), snapshot, pages.runs(), extras)


def fleet(sites: int = 200) -> str:
    return fleet_page(fleet_pages.fleet(sites), time.time(), 26 * 3600)


def small_fleet() -> str:
    return fleet(40)


def hostile() -> str:
    lags = {name: ("failed", "network", name, 60) for name in (HOSTILE, TURNED, "a" * 300)}
    snapshot = pages.snapshot(lags, error=HOSTILE, version=TURNED)
    snapshot["tags"] = dict.fromkeys(lags, HOSTILE)
    return host_page(pages.report(snapshot), snapshot, pages.runs(3), pages.extras(written_at=time.time()))


PAGES: dict[str, Callable[[], str]] = {"mirror": mirror, "fleet": small_fleet, "hostile": hostile}
page_of = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
width_of = pytest.mark.parametrize("width", WIDTHS)


def show(browser: Browser, page: str, directory: Path) -> str:
    file = directory / "page.html"
    file.write_text(page, "utf-8")
    browser.open(file.as_uri())
    return file.as_uri()


@contextmanager
def served(page: str) -> Iterator[str]:
    """Serve a page on loopback; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/mirror.html"
        finally:
            server.shutdown()
            thread.join()


@page_of
@width_of
def test_a_page_from_disk_asks_for_nothing_complains_of_nothing_and_fits(
    browser: Browser, tmp_path: Path, page: Callable[[], str], width: int
) -> None:
    browser.size(width)
    url = show(browser, page(), tmp_path)
    assert browser.requests() == [url]
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") == width
    assert "owned" not in browser.run("return document.title")


@page_of
def test_a_page_from_a_web_server_asks_for_nothing_more(browser: Browser, page: Callable[[], str]) -> None:
    with served(page()) as url:
        browser.open(url)
        # A browser asks for an icon a moment later.
        time.sleep(0.5)
        assert browser.requests() == [url]
        assert browser.complaints() == []


@pytest.mark.needs("axe-core")
@page_of
@width_of
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(
    browser: Browser, tmp_path: Path, page: Callable[[], str], width: int, dark: bool
) -> None:
    browser.size(width)
    browser.dark(dark=dark)
    show(browser, page(), tmp_path)
    browser.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert browser.violations() == []


@pytest.mark.needs("axe-core")
def test_axe_finds_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    show(browser, mirror().replace('<html lang="en">', "<html>"), tmp_path)
    assert [words.partition(":")[0] for words in browser.violations()] == ["html-has-lang"]


@page_of
def test_without_scripts_all_is_told_and_nothing_is_dead(
    browser: Browser, tmp_path: Path, page: Callable[[], str]
) -> None:
    browser.scripts(allowed=False)
    whole = page()
    show(browser, whole, tmp_path)
    assert browser.run("return document.querySelectorAll('tbody tr').length") == whole.count(
        "<tr>"
    ) - whole.count("<thead>")
    seen = (
        "return [...document.querySelectorAll('button, input')].filter(part => part.checkVisibility()).length"
    )
    assert browser.run(seen) == 0
    assert browser.complaints() == []


def focus(browser: Browser, wanted: str) -> None:
    """Press Tab until what has the focus says so."""
    told = (
        "const at = document.activeElement; return at.closest('label')?.textContent.trim() || at.textContent"
    )
    for _ in range(40):
        browser.type(TAB)
        if browser.run(told) == wanted:
            return
    raise AssertionError(f"{wanted} is not reached by Tab")


FIRST_OF_TAGS = "return document.querySelector('#tags tbody tr:not([hidden]) th').textContent"
SORTED = "return [...document.querySelectorAll('[aria-sort]')].map(th => th.textContent + ' ' + th.ariaSort)"
SAID = "return document.querySelector('[role=status]').textContent"


def test_a_table_is_sorted_by_keyboard_and_says_so(browser: Browser, tmp_path: Path) -> None:
    show(browser, mirror(), tmp_path)
    assert browser.run(SORTED) == []
    focus(browser, "Filter")
    focus(browser, "Status")
    browser.type(ENTER)
    assert browser.run(SORTED) == ["Status ascending"]
    assert browser.run(SAID) == "Sorted by Status, ascending"
    assert browser.run(FIRST_OF_TAGS) == "rhosp13/openstack-aodh-api:13.0"
    browser.type(ENTER)
    assert browser.run(SORTED) == ["Status descending"]
    assert browser.run(FIRST_OF_TAGS) == "rhosp13/openstack-iscsid:13.0"
    focus(browser, "Digest here")
    browser.type(ENTER)
    assert browser.run(SORTED) == ["Digest here ascending"]


def test_sizes_are_sorted_as_numbers_and_times_by_when_they_were(browser: Browser, tmp_path: Path) -> None:
    show(browser, mirror(), tmp_path)
    focus(browser, "Size")
    browser.type(ENTER)
    column = "section:nth-of-type(3) tbody td:nth-child(3)"
    sizes = browser.run(f"return [...document.querySelectorAll('{column}')].map(td => +td.dataset.v)")
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 10


def test_a_table_is_filtered_by_keyboard_and_says_how_many_are_left(browser: Browser, tmp_path: Path) -> None:
    show(browser, mirror(), tmp_path)
    focus(browser, "Filter")
    browser.type("LATEST neutron")
    shown = (
        "return [...document.querySelectorAll('#tags tbody tr:not([hidden]) th')].map(th => th.textContent)"
    )
    assert browser.run(shown) == [
        "rhosp13/openstack-neutron-l3-agent:latest",
        "rhosp13/openstack-neutron-server:latest",
    ]
    assert browser.run(SAID) == "2 of 132 rows"
    browser.type("\ue003" * len("LATEST neutron"))
    assert len(browser.run(shown)) == 132


def test_ages_are_counted(browser: Browser, tmp_path: Path) -> None:
    pages_now, pages.NOW = pages.NOW, time.time()
    try:
        show(browser, mirror(), tmp_path)
    finally:
        pages.NOW = pages_now
    assert browser.run("return document.querySelector('header .age').textContent") == " (12 min ago)"
    ages = "return [...document.querySelectorAll('td .age')].map(age => age.textContent.trim())"
    assert browser.run(ages) == ["5 days ago", "9 days ago", "3 days ago", "2 h ago"]


def test_a_page_that_nobody_writes_any_more_says_so_itself(browser: Browser, tmp_path: Path) -> None:
    seen = "return document.getElementById('old').checkVisibility()"
    show(browser, mirror(), tmp_path)
    assert browser.run(seen) is False
    old = pages.extras(written_at=time.time() - 4 * pages.DAY)
    show(browser, host_page({}, pages.snapshot(), [], old), tmp_path)
    assert browser.run(seen) is True
    said = "This page is 4 days old: whatever writes it has stopped."
    assert browser.run("return document.getElementById('old').textContent") == said
    assert browser.run("return document.title").startswith("Out of date: ")
    never = pages.extras(written_at=time.time() - 4 * pages.DAY, max_age=0)
    show(browser, host_page({}, pages.snapshot(), [], never), tmp_path)
    assert browser.run(seen) is False


def test_all_of_a_fleet_is_shown_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    show(browser, small_fleet(), tmp_path)
    focus(browser, "Show all sites and images")
    browser.type(ENTER)
    assert browser.run("return document.querySelectorAll('#grid td').length") == 40 * 132
    assert browser.run("return document.activeElement.id") == "grid"
    assert browser.run(SAID) == "All sites are shown"
    assert browser.run("return document.querySelector('#whole').checkVisibility()") is False


def milliseconds_of(browser: Browser, script: str) -> float:
    """Processor time of a script with the style and layout that it causes; others use this machine, too."""
    before = browser.durations()
    browser.run(f"{script}; document.body.offsetHeight")
    after = browser.durations()
    kinds = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration")
    return 1000 * sum(after[kind] - before[kind] for kind in kinds)


def test_200_sites_are_sorted_within_100_milliseconds(browser: Browser, tmp_path: Path) -> None:
    show(browser, fleet(), tmp_path)
    assert browser.run("return document.querySelectorAll('*').length") <= 5_000
    click = "document.querySelectorAll('#sites th button')[1].click()"
    assert min(milliseconds_of(browser, click) for _ in range(5)) <= 100


def test_all_of_200_sites_is_shown_within_a_second(browser: Browser, tmp_path: Path) -> None:
    show(browser, fleet(), tmp_path)
    assert milliseconds_of(browser, "document.getElementById('whole').click()") <= 1000
    assert browser.run("return document.querySelectorAll('#grid td').length") == 200 * 132
