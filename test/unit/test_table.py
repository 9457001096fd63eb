"""Tables: what stands in them, what gives way where there is little room."""

from __future__ import annotations

import re
from typing import Any

import pytest

import _registry_table as table
from _registry_config_defaults import OVERCLOUD_IMAGES
from support.cursor import moving, spoilt

TAGS = ("13.0", "13.0-38", "latest")
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def image(status: str = "current", **more: Any) -> dict[str, Any]:
    blank = {"upstream": NEW, "local": NEW, "bytes": 0, "cause": "", "error": ""}
    return {"status": status, **blank, **more}


def report(images: dict[str, Any], *, registry: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    summary: dict[str, Any] = dict.fromkeys(table.ORDER, 0)
    for entry in images.values():
        summary[entry["status"]] += 1
    numbers = {"tags": len(images), "blobs": 0, "bytes": 0, "blobs_copied": 0, "blobs_mounted": 0}
    up = {"url": "http://mirror:5000", "up": True, "repositories": 44, "tags": 131, "error": ""}
    return {
        "registry": up | (registry or {}),
        "images": images,
        "summary": summary | numbers | {"seconds": 0.41} | more,
    }


def overcloud() -> dict[str, Any]:
    return {f"rhosp13/openstack-{name}:{tag}": image() for name in OVERCLOUD_IMAGES for tag in TAGS}


def shown(images: dict[str, Any], width: int = 0, **more: Any) -> str:
    return "\n".join(table.report_lines(report(images, **more), width=width))


def test_first_line_is_the_registry_and_its_state() -> None:
    assert shown({}).splitlines()[0] == "mirror:5000  up, 44 repositories, 131 tags"


VENDOR = "registry.access.redhat.com:443"


def test_the_upstream_stands_at_the_right_edge_of_the_table() -> None:
    lines = shown(overcloud(), 100, registry={"upstreams": [VENDOR]}).splitlines()
    assert re.fullmatch(f"mirror:5000  up, 44 repositories, 131 tags  +upstream {VENDOR}", lines[0])
    assert len(lines[0]) == len(lines[2].rstrip()) + len("current") - len("status")
    # As do the seconds below.
    assert len(lines[-1]) == len(lines[0])


def test_an_upstream_without_room_beside_the_registry_stands_below_it() -> None:
    lines = shown(overcloud(), 80, registry={"upstreams": [VENDOR]}).splitlines()
    assert lines[:3] == ["mirror:5000  up, 44 repositories, 131 tags", f"  upstream {VENDOR}", ""]


@pytest.mark.parametrize("width", [0, 90, 60, 40])
def test_several_upstreams_are_all_named(width: int) -> None:
    names = [VENDOR, "quay.example.com:443", "hub.example.com:443"]
    head = shown(overcloud(), width, registry={"upstreams": names}).partition("\n\n")[0]
    assert f"upstreams {', '.join(names)}" in " ".join(head.split())
    assert not width or max(map(len, head.splitlines())) <= max(
        width, len("mirror:5000  up, 44 repositories, 131 tags")
    )


def test_a_report_that_asked_no_upstream_names_none() -> None:
    assert "upstream" not in shown({}, registry={"upstreams": []})
    # Nor does one of a minion whose modules are older than the master's outputter.
    assert "upstream" not in shown({})


def test_a_registry_that_is_down_says_why_once_and_not_of_every_tag() -> None:
    error = "local mirror:5000: connection refused"
    images = {f"a/b:{tag}": image("unreadable", cause="network", error=error) for tag in TAGS}
    text = shown(images, registry={"up": False, "error": error, "upstreams": [VENDOR]})
    assert text.splitlines()[0].startswith("mirror:5000  down")
    assert text.count(error) == 1
    assert "3 tags of 1 repository unreadable" in text


def test_tags_of_one_digest_share_a_row() -> None:
    assert re.search(
        r"a/b  +13.0 13.0-38 latest  b{12}  current", shown({f"a/b:{tag}": image() for tag in TAGS})
    )


def test_tags_of_two_digests_have_two_rows() -> None:
    text = shown({"a/b:1": image(), "a/b:2": image(upstream=OLD, local=OLD)})
    assert len(re.findall("a/b .* current", text)) == 2


def test_a_stale_row_has_both_digests() -> None:
    assert "bbbbbbbbbbbb  stale (here aaaaaaaaaaaa)" in shown({"a/b:1": image("stale", local=OLD)})


def test_a_stale_row_of_the_right_digest_says_how_many_attachments_it_lacks() -> None:
    lacking = {"attachments": {"here": 1, "lacking": 2, "skipped": 0}}
    assert "bbbbbbbbbbbb  stale (lacks 2 attachments)" in shown({"a/b:1": image("stale", **lacking)})
    for width in (40, 30):
        assert "lacks 2 attachments" in shown({"a/b:1": image("stale", **lacking)}, width=width)


def test_the_summary_says_how_many_are_signed_where_that_is_asked_for() -> None:
    assert "1 current; 1 signed" in shown({"a/b:1": image()}, signed=1)
    assert "signed" not in shown({"a/b:1": image()}, signed=0)
    assert shown({"a/b:1": image()}, 20, signed=1).splitlines()[-1] == "1 signed  0.4 s"


def test_a_pinned_digest_is_no_tag() -> None:
    assert re.search("a/b  +by digest  b{12}", shown({f"a/b@{NEW}": image()}))


def test_what_needs_attention_stands_last() -> None:
    words = ["failed", "unreadable", "missing", "stale", "extra", "copied", "current"]
    images = {f"a/{word}:1": image(word) for word in words}
    for word in words[:2]:
        images[f"a/{word}:1"] |= {"cause": "auth", "error": word}
    text = shown(images)
    order = sorted(words[2:], key=lambda word: text.index(f"a/{word} "))
    assert order == ["current", "copied", "extra", "stale", "missing"]
    assert text.index("a/missing ") < text.index("a/failed:1  failed: auth; failed")


def test_why_something_is_missing_is_told_where_it_is_known() -> None:
    error = "mirror:5000 has no a/b:1, which DockerCronImage names"
    text = shown({"a/b:1": image("missing", cause="absent", error=error)})
    assert f"a/b:1  missing: absent; {error}" in text


def test_a_failure_is_told_in_full() -> None:
    error = "upstream registry.example.com:443 " + "has no such tag " * 20
    text = shown({"a/b:1": image("failed", cause="absent", error=error)}, 80)
    assert " ".join(error.split()) in " ".join(text.split())
    assert "a/b:1  failed: absent; upstream" in text


def test_failures_of_one_reason_are_told_once() -> None:
    failed = image("failed", cause="network", error="connection refused")
    text = shown({f"{name}:{tag}": failed for name in ("a/b", "c/d") for tag in TAGS})
    assert text.count("connection refused") == 1
    assert "6 tags of 2 repositories  failed: network; connection refused" in text
    assert "c/d 13.0 13.0-38 latest" in text


def test_sizes_are_shown_where_there_are_any() -> None:
    assert "size" not in shown({"a/b:1": image("missing", local="")})
    text = shown({"a/b:1": image("missing", local="", bytes=1_234_000_000)}, blobs=6, bytes=1_234_000_000)
    assert "1.2 GB  missing" in text
    assert re.search("1 missing; 1.2 GB in 6 blobs to move  +0.4 s", text)


def test_a_sync_says_what_it_moved() -> None:
    text = shown({"a/b:1": image("copied")}, blobs=6, bytes=310_000_000, blobs_copied=6, blobs_mounted=2)
    assert "1 copied; moved 310 MB in 6 blobs, 2 mounted  0.4 s" in text


def test_an_empty_list_says_so() -> None:
    assert shown({}).splitlines()[-1].startswith("the list is empty")


@pytest.mark.parametrize("width", [40, 50, 60, 70, 80, 90, 100, 120, 200])
@pytest.mark.parametrize("size", [0, 312_000_000])
def test_no_line_is_wider_than_the_terminal(width: int, size: int) -> None:
    images = overcloud()
    images["rhosp13/openstack-cron:13.0"] = image("stale", local=OLD, bytes=size)
    images["rhosp13/openstack-horizon:13.0"] = image("missing", local="", bytes=size)
    images["ceph/rhceph-3-rhel7:" + "3" * 128] = image("extra", upstream="")
    images["rhosp13/openstack-iscsid:13.0"] = image("failed", cause="auth", error="refused " * 30)
    lines = table.report_lines(report(images, blobs=2, bytes=size), width=width)
    narrowest = 2 + table.NARROWEST_NAME + 2 + table.NARROWEST_TAGS + 2 + 12 + 2 + (8 if size else 0) + 7
    assert max(map(len, lines)) <= max(width, narrowest)


def test_the_overcloud_has_a_line_an_image_at_80_columns() -> None:
    images = overcloud()
    for tag in TAGS:
        images[f"rhosp13/openstack-horizon:{tag}"] = image("missing", local="", bytes=312_000_000)
    lines = table.report_lines(report(images), width=80)
    rows = [line for line in lines if re.search("current|missing$", line) and line.startswith("  ")]
    assert len(rows) == len(OVERCLOUD_IMAGES)
    assert all("13.0 13.0-38 latest" in row for row in rows)
    # The start that all share is in the heading; nothing else of a name is left out.
    assert lines[2].split()[0] == "rhosp13/openstack-…"
    assert any(row.split()[0] == "…neutron-openvswitch-agent" for row in rows)


def test_where_there_is_room_names_are_whole() -> None:
    assert "…" not in shown(overcloud(), 110)
    assert "…" not in shown(overcloud())


def test_long_names_are_elided_in_the_middle() -> None:
    assert table.elide("rhosp13/openstack-neutron-openvswitch-agent", 26) == "rhosp13/…openvswitch-agent"
    assert table.elide("short", 5) == "short"
    assert table.elide("a" * 30 + "b" * 30, 21) == "a" * 6 + "…" + "b" * 14


@pytest.mark.parametrize("width", range(3, 60))
def test_an_elided_name_has_the_width_asked_for(width: int) -> None:
    assert len(table.elide("rhosp13/openstack-neutron-openvswitch-agent-with-more-behind", width)) == width


def test_names_with_nothing_in_common_share_no_start() -> None:
    assert table.shared_start(["a/b", "c/d", "e/f"]) == ""
    assert table.shared_start(["a/b", "a/c"]) == ""
    assert table.shared_start([]) == ""


def test_most_names_are_enough_to_share_a_start() -> None:
    names = ["rhosp13/openstack-a", "rhosp13/openstack-b", "rhosp13/openstack-c", "ceph/rhceph"]
    assert table.shared_start(names) == "rhosp13/openstack-"


def test_a_registrys_words_cannot_move_the_cursor() -> None:
    hostile = "\x1b[2J\r\n\x9bH\u202eno"
    text = shown({"a/b:1": image("failed", cause="auth", error=hostile)})
    assert not set("\x1b\r\x9b\u202e") & set(text)


@pytest.mark.parametrize("but", [(), ("status",)])
@pytest.mark.parametrize("width", [0, 40])
def test_nothing_that_a_minion_says_can_move_the_cursor(but: Any, width: int) -> None:
    images = {
        "a/b:1": image("failed", cause="auth", error="no"),
        "a/b:2": image("stale", local=OLD),
        "a/c:1": image("missing", cause="absent", error="gone"),
    }
    down = report(images, registry={"up": False, "error": "refused", "upstreams": ["v:443"]})
    assert moving(table.report_lines(spoilt(down, but=but), width=width)) == []
    assert moving(table.listing_lines(spoilt({"a/b": {"a:1": NEW}}), width=width)) == []


@pytest.mark.parametrize("width", [80, 120])
def test_paint_takes_no_room(width: int) -> None:
    def paint(text: str, style: str) -> str:
        return f"<{style}>{text}</>"

    images = overcloud() | {"a/b:1": image("failed", cause="auth", error="no"), "a/c:1": image("missing")}
    told = report(images, registry={"upstreams": [VENDOR]})
    painted = table.report_lines(told, width=width, paint=paint)
    plain = table.report_lines(told, width=width)
    assert [re.sub("<[^>]*>", "", line) for line in painted] == plain
    assert any("<current>current</>" in line for line in painted[3:5])


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_320_000_000, "1.3 GB"),
        (5_500_000_000_000, "5.5 TB"),
    ],
)
def test_bytes_are_said_in_six_characters(size: int, text: str) -> None:
    assert table.sized(size) == text


def test_a_listing_has_a_row_a_digest_and_a_total() -> None:
    lines = table.listing_lines({"a/b": {"1": NEW, "2": NEW, "3": OLD}, "c/d": {"1": NEW}})
    assert [line.split() for line in lines[1:4]] == [
        ["a/b", "1", "2", "b" * 12],
        ["a/b", "3", "a" * 12],
        ["c/d", "1", "b" * 12],
    ]
    assert lines[-1] == "2 repositories, 4 tags"


def test_an_empty_listing_says_so() -> None:
    assert table.listing_lines({}) == ["0 repositories, 0 tags"]
