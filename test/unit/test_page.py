"""The pages' text: what they tell, that nothing foreign gets out of its place, and how large they are."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import _registry_show_page_parts as parts
from _registry_config_read import SettingsError, read_settings
from _registry_show_fleet_page import SITES, fleet_page
from _registry_show_fleet_page import WHAT_TO_DO as SITE_TO_DO
from _registry_show_page import WHAT_TO_DO, Extras, host_page
from _registry_show_page_file import write_page
from _registry_show_page_runs import outcome
from _registry_show_report import CAUSES, STATUSES
from support import fleet_pages, pages

HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "style": "</style><style>*{display:none}",
    "json": "</script><script>alert(1)</script>",
    "comment": "<!--",
    "direction": "app\u202egnp.exe\u2066",
    "control": "app\x00\x1b[31m\r\n",
    "long": "a" * 300,
    "surrogate": "app\udcff",
    "login": "https://user:password@registry.example.com/v2/",
}


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def shape(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """Which elements there are, with the names of their attributes."""
    return [(tag, tuple(attributes)) for tag, attributes in Elements(page).elements]


def mirror(**changes: Any) -> str:
    snapshot = pages.snapshot(**changes)
    return host_page(pages.report(snapshot), snapshot, pages.runs(), pages.extras())


def fleet(report: dict[str, Any] | None = None, max_age: float = 0) -> str:
    return fleet_page(report or fleet_pages.fleet(), pages.NOW, max_age)


def with_foreign(words: str) -> str:
    """The page of a mirror in which every string that comes from elsewhere is the same."""
    snapshot = pages.snapshot({words: ("failed", words, words, 60)})
    snapshot["tags"] = {words: words}
    snapshot |= {"extra": {words: words}, "held": {words: words}, "url": f"https://{words}"}
    snapshot |= {"upstreams": [words], "version": words, "list": words, "error": words, "cause": words}
    report = pages.report(snapshot)
    report["registry"]["others"] = [words]
    report["images"][words]["signed_by"] = [words]
    runs = [run | {"error": words, "cause": words, "function": words} for run in pages.runs(2)]
    sizes = {words: pages.Repository(1, 5)}
    extras = pages.extras(repositories=sizes, minion=words, written_by=words, disk=pages.Disk(words, 9, 1))
    return host_page(report, snapshot, runs, extras)


def fleet_with_foreign(words: str) -> str:
    site = fleet_pages.fleet(1)["sites"]["site-001.edge.example.com"]
    site |= {"status": "failed", "cause": words, "error": words, "wave": words, "parent": words}
    behind = {words: {"status": words, "since": 1.0, "cause": words, "error": words, "upstream": words}}
    site |= {"tags": {words: words}, "behind": behind, "version": words, "url": words}
    image = {"statuses": {words: 1}, "digests": {words: [words], "other": [words]}, "drift": True}
    wave = fleet_pages.fleet(1)["waves"]["canary"] | {"status": "stopped", "error": words}
    report = {"sites": {words: site}, "images": {words: image}, "waves": {words: wave}, "left_out": [words]}
    return fleet(report)


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("page", [with_foreign, fleet_with_foreign])
def test_whatever_a_registry_sends_adds_no_element_and_no_attribute(page: Any, words: str) -> None:
    hostile = page(words)
    assert shape(hostile) == shape(page("harmless"))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", hostile)
    assert "password" not in hostile
    hostile.encode("utf-8")


def test_a_long_name_is_there_as_a_whole() -> None:
    assert "a" * 300 in Elements(with_foreign("a" * 300)).text


def test_data_for_the_script_cannot_end_it_and_is_read_as_it_was() -> None:
    page = fleet_with_foreign(HOSTILE["json"])
    data = re.search(r'<script type="application/json" id="cells">(.*?)</script>', page, re.S)
    assert data is not None
    assert "<" not in data[1]
    assert json.loads(data[1])["images"] == [HOSTILE["json"]]


@pytest.mark.parametrize("page", [mirror, fleet])
def test_the_policy_lets_only_the_pages_own_style_and_script_be(page: Any) -> None:
    text = page()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)
    assert policy is not None
    directives = dict(part.split(" ", 1) for part in policy[1].split("; "))
    for kind in ("style", "script"):
        (inline,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert directives.pop(f"{kind}-src") == f"'sha256-{digest}'"
    nothing = dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    assert directives == {**nothing, "img-src": "data:"}
    assert " style=" not in text


@pytest.mark.parametrize("page", [mirror, fleet])
def test_nothing_is_loaded(page: Any) -> None:
    loading = [
        attributes[name]
        for _, attributes in Elements(page()).elements
        for name in ("src", "href", "srcset", "data", "action", "poster")
        if name in attributes
    ]
    assert [address[:24] for address in loading if address] == ["data:image/svg+xml,%3Csv"]
    assert "url(" not in page()


def test_a_page_of_132_tags_has_at_most_60_kilobytes() -> None:
    assert len(mirror().encode()) <= 60_000
    down = dict.fromkeys(pages.names(), ("unreadable", "network", "x" * 150, 60))
    assert len(mirror(behind=down).encode()) <= 120_000


def test_a_page_of_200_sites_has_at_most_200_kilobytes_and_5000_elements() -> None:
    page = fleet()
    assert len(page.encode()) <= 200_000
    assert len(Elements(page).elements) <= 5_000


def test_a_page_of_200_sites_that_all_lag_has_at_most_5000_elements() -> None:
    report = fleet_pages.fleet()
    behind = {name: dict(pages.snapshot()["behind"].popitem()[1]) for name in pages.names()}
    for site in report["sites"].values():
        site |= {"status": "behind", "behind": behind}
    assert len(Elements(fleet(report)).elements) <= 5_000


def test_a_page_of_1000_sites_has_at_most_a_megabyte() -> None:
    assert len(fleet(fleet_pages.fleet(1000)).encode()) <= 1_000_000


def test_what_is_wrong_stands_first_the_worst_at_the_top() -> None:
    page = mirror()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Not in step",
        "All tags",
        "Sizes",
        "Here and not in the list",
        "Runs",
        "Pull from it",
        "Signatures",
        "About this mirror",
    ]
    statuses = re.findall(r'<td class="m (\w+)">', page)
    assert statuses[:4] == ["failed", "unreadable", "missing", "stale"]


def test_a_tag_that_lags_says_since_when_what_is_wanted_and_what_to_do() -> None:
    page = mirror(behind={"a/b:1": ("stale", "", "", 7200)}, tags={"a/b:1": "0123456789ab"})
    row = re.search(r"<tr><th scope=row>a/b:1.*", page)
    assert row is not None
    want = pages.digest("new a/b:1")
    assert parts.clock(pages.NOW - 7200, "") in row[0]
    assert f"<code>0123456789ab</code> → <code>{want}</code>" in row[0]
    assert row[0].endswith("Run registry_sync.sync.")


def test_there_is_something_to_do_about_each_cause() -> None:
    assert set(WHAT_TO_DO) == {"", *CAUSES}


def test_each_status_has_a_word_a_shape_and_a_colour() -> None:
    style = re.search(r"<style>(.*?)</style>", mirror(), re.S)
    assert style is not None
    for status in {*STATUSES, "behind", "unreachable", "done", "stopped", "running", "down"}:
        assert f'class="m {status}">{status}' in parts.mark(status)
        assert re.search(rf"\.{status}(,[^{{]*)?{{color:var\(--\w+\)}}", style[1]), status
        assert re.search(rf"\.{status}::before[,{{]", style[1]), status


@pytest.mark.parametrize(
    ("changes", "word", "sentence"),
    [
        ({"behind": {}}, "In step", "All 132 tags are in step with upstream."),
        ({}, "Failing", "2 of 132 tags could not be read or copied, and 2 more are behind."),
        ({"behind": {"a/b:1": ("stale", "", "", 1)}}, "Behind", "1 of 133 tags is behind upstream."),
        ({"up": False, "error": "no route"}, "Down", "The registry does not answer."),
        ({"behind": {}, "code": 1, "error": "no space"}, "Failing", "The last run failed."),
        ({"behind": {}, "at": 0.0, "tags": {}}, "Not checked", "No check or sync has ended here yet."),
    ],
)
def test_the_first_sentence_says_how_it_stands(changes: Any, word: str, sentence: str) -> None:
    page = mirror(**changes)
    assert f"<title>{word}: mirror.example.com:5000</title>" in page
    assert f"<h1>{sentence}</h1>" in page


def test_a_run_that_ended_without_a_report_has_a_page_all_the_same() -> None:
    snapshot = pages.snapshot({}, code=1, cause="space", error="/var/lib/registry has 3 MB free")
    page = host_page({}, snapshot, [], Extras(written_at=pages.NOW))
    assert "<b>space</b> /var/lib/registry has 3 MB free" in page
    assert "All tags" in page


def test_a_page_of_a_sync_says_that_it_has_not_looked_for_what_is_not_in_the_list() -> None:
    told = "A sync does not look for such tags"
    assert told in mirror(function="sync", extra={})
    assert told not in mirror(function="check", extra={})


def test_runs_are_drawn_the_latest_last_and_stand_in_a_table() -> None:
    page = mirror()
    drawn = re.findall(r"<path class=(\w+) d=", page)
    kinds = {"current": "good", "behind": "lag", "failed": "bad"}
    assert drawn == [kinds[outcome(run)] for run in reversed(pages.runs())]
    table = re.search(r"<details>(.*?)</details>", page, re.S)
    assert table is not None
    assert table[1].count("<tr>") == 61


def test_a_run_of_which_not_all_is_known_is_left_out() -> None:
    snapshot = pages.snapshot({})
    runs = [{"at": 1.0}, *pages.runs(2)]
    assert "2 runs: 2 failed." in host_page({}, snapshot, runs, Extras(written_at=pages.NOW))


def test_a_page_has_no_word_of_what_is_not_known() -> None:
    snapshot = pages.snapshot({})
    page = host_page({}, snapshot, [], Extras(written_at=pages.NOW))
    for absent in ("Sizes", "Runs", "Signatures", "Verified", "Space", "Certificate", "Not in step"):
        assert absent not in page


def test_a_certificate_that_ends_soon_a_broken_image_and_a_full_disk_are_marked() -> None:
    verified = {"at": pages.NOW, "fast": True, "whole": 1, "broken": 1, "repaired": 0, "lost": 1}
    extras = pages.extras(
        certificate_ends=pages.NOW + 5 * pages.DAY,
        verified=verified | {"unread": 0, "left": 0},
        disk=pages.Disk("/srv", 100, 5),
    )
    page = host_page({}, pages.snapshot(), [], extras)
    assert re.search(r'Certificate ends<dd><span class="m stale">soon</span>', page)
    assert re.search(r'Verified<dd><span class="m failed">broken</span> .*: 1 whole, 1 broken, 1 lost', page)
    assert re.search(r'\(5%\) at <code>/srv</code> <span class="m stale">little</span>', page)


def test_a_fleet_names_its_silent_sites_its_stopped_wave_and_its_drift() -> None:
    page = fleet()
    assert "<h1>4 of 200 sites are not current: 1 failed, 1 unreachable, 2 behind.</h1>" in page
    assert "The rollout was stopped in wave <b>sites</b>: 2 of 60 sites failed" in page
    assert "last known; its minion did not answer" in page
    assert re.search(r"openstack-cron:13\.0.*rest\">[0-9a-f]{12} at 195, [0-9a-f]{12} at 5", page)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == ["Waves", "Sites", "Images", "Sites by images", "About this page"]


def test_a_fleet_says_since_when_a_site_lags_and_what_to_do_about_each_status_that_is_there() -> None:
    page = fleet()
    row = re.search(r"<tr><th scope=row>site-110\.edge.*", page)
    assert row is not None
    since = parts.moment(pages.NOW - 3 * pages.DAY)
    assert row[0].endswith(f"<td class=rest>1 stale, 1 missing since {since}")
    told = re.findall(r'<dt><span class="m (\w+)">\w+</span><dd>', page)
    assert told == ["failed", "unreachable", "behind"]
    assert not re.search("<dt><span[^>]*>[^<]*</span><dd>", fleet(fleet_pages.fleet(2)))


def test_a_tag_that_is_on_no_list_does_not_count_as_one_that_lags() -> None:
    report = fleet_pages.fleet()
    report["images"]["a/unlisted:1"] = {"statuses": {"extra": 200}, "digests": {}, "drift": False}
    report["images"]["b/of-some:1"] = {"statuses": {"current": 3, "extra": 1}, "digests": {}, "drift": False}
    images = fleet(report).partition("<h2>Images</h2>")[2]
    assert re.findall(r"<th scope=row>([^<]*)", images)[:4] == [
        "rhosp13/openstack-cron:13.0",
        "rhosp13/openstack-horizon:latest",
        "rhosp13/openstack-iscsid:13.0",
        "a/unlisted:1",
    ]
    assert re.search(r"b/of-some:1<td class=n data-v=3>3 of 3", images)


def test_there_is_something_to_do_about_each_status_of_a_site() -> None:
    assert {*SITE_TO_DO, "current"} == set(SITES)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"up": False, "error": "no route"}, "Look at its service and its log on its own host"),
        ({"behind": {}, "code": 1, "cause": "space", "error": "full"}, WHAT_TO_DO["space"]),
    ],
)
def test_a_run_that_failed_as_a_whole_says_what_to_do(changes: Any, advice: str) -> None:
    header = mirror(**changes).partition("</header>")[0]
    assert f"<p>{advice}" in header
    assert "<p>" not in mirror().partition("</header>")[0].partition("<h1>")[2].replace("<p><span", "")


def test_the_grid_has_the_sites_that_lag_and_the_rest_as_a_letter_a_cell() -> None:
    page = fleet()
    grid = re.search(r"<caption>Sites that are not current.*?</table>", page, re.S)
    assert grid is not None
    assert grid[0].count("<tr>") == 5
    data = re.search(r'id="cells">(.*?)</script>', page, re.S)
    assert data is not None
    cells = json.loads(data[1])
    assert len(cells["sites"]) == 200
    assert {len(row[1]) for row in cells["sites"]} == {132}
    assert "".join(row[1] for row in cells["sites"]).count("s") == 4


def test_a_site_of_which_nothing_is_known_is_unknown_cell_by_cell() -> None:
    report = fleet_pages.fleet(2)
    report["sites"]["site-002.edge.example.com"] |= {"at": 0.0, "tags": {}, "behind": {}, "status": "unknown"}
    data = re.search(r'id="cells">(.*?)</script>', fleet(report), re.S)
    assert data is not None
    assert json.loads(data[1])["sites"][0] == ["site-002.edge.example.com ?", "?" * 132]


def test_an_empty_fleet_and_one_without_images_have_a_page() -> None:
    empty = {"sites": {}, "images": {}, "waves": {}, "left_out": []}
    assert "No minion is a site of this fleet." in fleet(empty)
    brief = fleet_pages.fleet(2)
    for site in brief["sites"].values():
        site |= {"tags": 132, "behind": 0}
    assert "All 2 sites are current." in fleet({**brief, "images": {}})


def test_a_page_is_put_in_the_place_of_an_older_one_and_everybody_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "mirror.html"
    file.write_text("old")
    assert write_page(str(file), "new → \udcff") == len("new → ?".encode())
    assert file.read_text("utf-8") == "new → ?"
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_is_followed_within_its_directory_alone(tmp_path: Path) -> None:
    inside, outside = tmp_path / "www", tmp_path / "etc"
    inside.mkdir()
    outside.mkdir()
    (inside / "a.html").symlink_to("b.html")
    write_page(str(inside / "a.html"), "page")
    assert (inside / "b.html").read_text() == "page"
    assert (inside / "a.html").is_symlink()
    (inside / "c.html").symlink_to(outside / "passwd")
    with pytest.raises(OSError, match="which is not in its directory"):
        write_page(str(inside / "c.html"), "page")
    assert list(outside.iterdir()) == []


def test_a_directory_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_page(str(tmp_path), "page")
    with pytest.raises(FileNotFoundError):
        write_page(str(tmp_path / "nowhere" / "a.html"), "page")


def test_the_pillar_gives_a_path_alone_or_with_an_age() -> None:
    plain = read_settings({"page": "/srv/www/mirror.html"}, host="mirror").page
    assert (plain.path, plain.max_age) == ("/srv/www/mirror.html", 26 * 3600)
    aged = read_settings({"page": {"path": "/srv/m.html", "max_age": "8d"}}, host="mirror").page
    assert (aged.path, aged.max_age) == ("/srv/m.html", 8 * 24 * 3600)
    with pytest.raises(SettingsError, match=r"docker_registry:page: 'mirror\.html' is no absolute path"):
        read_settings({"page": "mirror.html"}, host="mirror")
    with pytest.raises(SettingsError, match="docker_registry:page:age: unknown key"):
        read_settings({"page": {"age": 3}}, host="mirror")
