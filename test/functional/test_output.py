"""The outputter in Salt's hands: which data it gets, where colours and widths come from."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.images import Layer, docker_image
from support.registries import Distribution, free_port
from support.registry_content import push
from support.salt_minion import Minion, salt_call

DIGEST = "sha256:" + "b" * 64
COLOR = re.compile(r"\x1b\[[0-9;]*m")
# Whatever moves the cursor or paints.
LIVE = re.compile(r"[\r\n]+|\x1b\[[?0-9;]*[A-Za-z]")


def report(status: str = "current", **image: Any) -> dict[str, Any]:
    blank = {"status": status, "upstream": DIGEST, "local": DIGEST, "bytes": 0, "cause": "", "error": ""}
    counts = dict.fromkeys(("current", "missing", "stale", "extra", "unreadable", "copied", "failed"), 0)
    numbers = {"tags": 1, "blobs": 0, "bytes": 0, "blobs_copied": 0, "blobs_mounted": 0, "seconds": 0.1}
    return {
        "registry": {"url": "http://mirror:5000", "up": True, "repositories": 1, "tags": 1, "error": ""},
        "images": {"a/b:1": blank | image},
        "summary": counts | {status: 1} | numbers,
    }


@pytest.fixture
def show(checkout: Path) -> Callable[..., str]:
    import salt.config
    import salt.output

    def show(data: Any, **options: Any) -> str:
        opts = salt.config.DEFAULT_MINION_OPTS.copy()
        opts.update({"outputter_dirs": [str(checkout / "_output")], "color": False}, **options)
        return str(salt.output.out_format(data, "registry_sync", opts))

    return show


def test_what_salt_call_returns_has_no_minion_above_it(show: Callable[..., str]) -> None:
    assert show({"local": report()}).startswith("mirror:5000  up, 1 repository, 1 tag\n")


def test_each_minion_has_its_name_above_its_table(show: Callable[..., str]) -> None:
    text = show({"site-a": report(), "site-b": report("missing")})
    assert [line for line in text.splitlines() if line.endswith(":")] == ["site-a:", "site-b:"]
    assert text.count("mirror:5000  up") == 2


@pytest.mark.parametrize("damage", [{"seconds": "long"}, {}])
def test_a_report_that_cannot_be_read_is_shown_nested_and_spoils_no_other(
    damage: dict[str, Any], show: Callable[..., str]
) -> None:
    whole = report()
    damaged = whole | {"summary": whole["summary"] | damage if damage else {}}
    text = show({"site-a": damaged, "site-b": whole})
    assert text.count("mirror:5000  up") == 1
    assert "site-a:\n    ----------\n" in text


def test_who_has_signed_what_is_a_table_of_its_own(show: Callable[..., str]) -> None:
    counts = dict.fromkeys(("images", "accepted", "refused", "not_asked", "unreadable", "signatures"), 0)
    told = {"side": "local", "url": "http://mirror:5000", "images": {}, "summary": counts | {"seconds": 0.1}}
    assert show({"local": told}) == "mirror:5000  0 signatures of 0 images\n\nnothing is here"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Minion did not return. [Not connected]", "site-a: Minion did not return. [Not connected]"),
        (None, "site-a:\n    None"),
        (True, "site-a:\n    True"),
        (["a", "b"], "site-a:\n    - a\n    - b"),
        ("Traceback:\n  deep", "site-a:\n    Traceback:\n      deep"),
        ("\x1b[2Jgone", "site-a:  [2Jgone"),
        ({}, "site-a:\n0 repositories, 0 tags"),
    ],
)
def test_what_is_no_report_can_be_read_too(show: Callable[..., str], value: Any, text: str) -> None:
    assert show({"site-a": value}) == text


@pytest.mark.parametrize("data", ["No minions matched the target", None, ["site-a"], {}])
def test_what_is_no_return_of_minions_does_not_crash(show: Callable[..., str], data: Any) -> None:
    assert isinstance(show(data), str)


def test_a_line_for_nagios_stays_one_line(show: Callable[..., str]) -> None:
    line = "OK - 129 current | current=129;;;0;"
    assert show({"local": line}) == line


def test_the_text_of_a_pillar_is_shown_as_it_is(show: Callable[..., str]) -> None:
    text = "# From a file.\ndocker_registry:\n  images:\n    - name: a/b\n      tags: ['1\x1b']"
    assert show({"local": text}) == text.replace("\x1b", " ")


def test_a_report_of_another_version_is_shown_nested(show: Callable[..., str]) -> None:
    text = show({"site-a": {"registry": {"url": "x"}, "images": {}, "summary": {}}})
    assert "url:" in text


def test_colours_follow_salts_options(show: Callable[..., str]) -> None:
    assert COLOR.search(show({"local": report()}, color=True))
    assert COLOR.search(show({"local": report()}, force_color=True))
    assert not COLOR.search(show({"local": report()}, color=True, no_color=True))
    plain = show({"local": report()})
    assert COLOR.sub("", show({"local": report()}, color=True)) == plain


def test_the_width_is_the_terminals_but_a_file_gets_names_whole(
    show: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    long = {"local": {"rhosp13/openstack-" + "x" * 60: {"1": DIGEST}}}
    assert "…" in show(long)
    assert "…" not in show(long, output_file=str(tmp_path / "out"))
    monkeypatch.delenv("COLUMNS")
    assert "…" not in show(long)


def test_a_terminal_that_knows_no_ellipsis_gets_a_tilde(
    show: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Latin:
        encoding = "latin-1"

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout", Latin())
    text = show({"local": {"rhosp13/openstack-" + "x" * 60: {"1": DIGEST}}})
    assert "~" in text
    text.encode("latin-1")


@pytest.fixture(scope="module")
def minion(
    tmp_path_factory: pytest.TempPathFactory,
    checkout: Path,
    start_module_registry: Callable[..., Distribution],
) -> Minion:
    upstream, local = start_module_registry(), start_module_registry()
    image = docker_image([Layer("output", 50_000)])
    push(upstream.url, "rhosp13/openstack-cron", ["13.0", "13.0-38", "latest"], image)
    push(local.url, "rhosp13/openstack-cron", ["13.0", "latest"], image)
    directory = tmp_path_factory.mktemp("minion")
    pillar = {
        "upstream": {"host": upstream.host, "port": upstream.port, "tls": False},
        "local": {"host": local.host, "port": local.port},
        "image_defaults": {"tags": ["13.0", "13.0-38", "latest"]},
        "images": ["cron"],
        "metrics": str(directory / "docker_registry.prom"),
    }
    minion = Minion(directory, checkout, pillar={"docker_registry": pillar})
    minion.sync()
    return minion


def words(minion: Minion, *arguments: str) -> list[str]:
    return [salt_call(), f"--config-dir={minion.config_dir}", "--local", *arguments]


def piped(minion: Minion, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    return subprocess.run(
        words(minion, *arguments),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
        check=False,
    )


def on_terminal(minion: Minion, *arguments: str, columns: int = 80) -> str:
    """Run salt-call on a terminal of its own and return what that shows, colours included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        words(minion, *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"TERM": "xterm"},
    ):
        os.close(theirs)
        said = b""
        # A terminal whose last program has ended answers with an error, not with an end.
        while chunk := _read(ours):
            said += chunk
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.mark.needs("docker-distribution")
def test_check_chooses_the_table_by_itself(minion: Minion) -> None:
    answer = piped(minion, "registry_sync.check", "--retcode-passthrough")
    assert answer.returncode == 2
    assert re.match(r"127.0.0.1:\d+  up, 1 repository, 2 tags  +upstream 127.0.0.1:\d+\n", answer.stdout)
    assert re.search("13.0 latest +[0-9a-f]{12}  current\n", answer.stdout)
    assert "2 current, 1 missing  " in answer.stdout
    assert not COLOR.search(answer.stdout)


@pytest.mark.needs("docker-distribution")
def test_json_stays_the_plain_data(minion: Minion) -> None:
    data = json.loads(piped(minion, "registry_sync.check", "--out=json").stdout)["local"]
    assert set(data) == {"registry", "images", "summary"}
    assert len(data["registry"]["upstreams"]) == 1
    assert data["images"]["rhosp13/openstack-cron:13.0-38"]["status"] == "missing"


@pytest.mark.needs("docker-distribution")
def test_list_chooses_the_table_too(minion: Minion) -> None:
    assert "1 repository, " in piped(minion, "registry_sync.list").stdout


@pytest.mark.needs("docker-distribution")
def test_brief_is_one_bare_line_with_its_code(minion: Minion) -> None:
    answer = piped(minion, "registry_sync.check", "brief=True", "--retcode-passthrough")
    assert answer.returncode == 2
    assert re.fullmatch(r"CRITICAL - 2 current, 1 missing \(.*:13.0-38\) \| current=2;.*\n", answer.stdout)


def test_a_registry_that_is_down_is_critical_to_a_monitor_and_a_failure_to_a_script(
    make_minion: Callable[..., Minion],
) -> None:
    nobody, none = ({"host": "127.0.0.1", "port": free_port(), "tls": False} for _ in range(2))
    pillar = {"upstream": none, "local": nobody, "images": ["cron"], "transfer": {"retries": 0}}
    minion = make_minion(pillar={"docker_registry": pillar})
    minion.sync()
    answer = piped(minion, "registry_sync.check", "brief=True", "--retcode-passthrough")
    assert answer.stdout.startswith(f"CRITICAL - http://127.0.0.1:{nobody['port']} is down: local ")
    assert answer.stdout.count("\n") == 1
    assert answer.returncode == 2
    assert piped(minion, "registry_sync.check", "--retcode-passthrough").returncode == 1


def test_a_mistake_in_the_pillar_is_unknown_to_a_monitor(make_minion: Callable[..., Minion]) -> None:
    minion = make_minion(pillar={"docker_registry": {"imags": []}})
    minion.sync()
    answer = piped(minion, "registry_sync.check", "brief=True", "--retcode-passthrough")
    assert answer.stdout.startswith("UNKNOWN - docker_registry:imags: unknown key")
    assert answer.returncode == 3


@pytest.mark.needs("docker-distribution")
def test_check_writes_the_metrics(minion: Minion) -> None:
    piped(minion, "registry_sync.check")
    assert 'status="missing"} 1\n' in (minion.root / "docker_registry.prom").read_text()


@pytest.mark.needs("docker-distribution", "promtool")
def test_promtool_accepts_what_check_and_sync_write_of_failures(
    make_minion: Callable[..., Minion], upstream: Distribution, local: Distribution
) -> None:
    push(upstream.url, "rhosp13/openstack-cron", "13.0", docker_image([Layer("metrics", 50_000)]))
    minion = make_minion()
    file = minion.root / "docker_registry.prom"
    pillar = {
        "upstream": {"host": upstream.host, "port": upstream.port, "tls": False},
        "local": {"host": local.host, "port": local.port},
        "images": [
            {"name": "cron", "tags": ["13.0", "no-such-tag"]},
            {
                "name": "site/app",
                "tags": ["1"],
                "upstream": {"host": "127.0.0.1", "port": free_port(), "tls": False},
            },
        ],
        "transfer": {"retries": 0},
        "metrics": str(file),
    }
    minion.set_pillar({"docker_registry": pillar})
    minion.sync()
    for function in ("check", "sync"):
        assert minion.call(f"registry_sync.{function}").retcode == 1
        text = file.read_text()
        said = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (said.returncode, said.stdout + said.stderr) == (0, "")
        assert 'registry_sync_failed_tags{cause="absent"} 1\n' in text
        assert 'registry_sync_failed_tags{cause="network"} 1\n' in text
        assert f'registry_sync_last_run_timestamp_seconds{{function="{function}"}} ' in text
        assert "last_success" not in text
    assert f'registry_sync_tags{{upstream="{upstream.address}",status="copied"}} 1\n' in text
    assert re.search(r"^registry_sync_moved_bytes_total [1-9]", text, re.M)


@pytest.mark.needs("docker-distribution")
def test_plan_on_a_terminal_has_colours_and_its_width(minion: Minion) -> None:
    text = on_terminal(minion, "registry_sync.plan", columns=70)
    assert "\x1b[0;32mcurrent\x1b[0;0m" in text
    table = COLOR.sub("", text[text.index("\x1b[") :])
    assert max(map(len, table.splitlines())) <= 70


@pytest.mark.needs("docker-distribution")
def test_sync_on_a_terminal_ends_with_the_report(minion: Minion) -> None:
    text = COLOR.sub("", on_terminal(minion, "registry_sync.sync"))
    assert "2 current, 1 copied; moved" in text
    metrics = (minion.root / "docker_registry.prom").read_text()
    assert 'last_success_timestamp_seconds{function="sync"}' in metrics


@pytest.mark.needs("docker-distribution")
@pytest.mark.parametrize("columns", [60, 100])
def test_sync_on_a_terminal_says_what_is_under_way(
    make_minion: Callable[..., Minion], upstream: Distribution, local: Distribution, columns: int
) -> None:
    pytest.importorskip("rich")
    push(upstream.url, "rhosp13/openstack-cron", "13.0", docker_image([Layer("live", 6_000_000)]))
    pillar = {
        "upstream": {"host": upstream.host, "port": upstream.port, "tls": False},
        "local": {"host": local.host, "port": local.port},
        "images": ["cron"],
        "transfer": {"bandwidth": "3MB"},
    }
    minion = make_minion(pillar={"docker_registry": pillar})
    minion.sync()
    said = on_terminal(minion, "registry_sync.sync", columns=columns)
    live = re.findall(
        r"^rhosp13/openstack-cron [0-9a-f]{12} (\d+) % of 6\.0 MB *$", LIVE.sub("\n", said), re.M
    )
    shares = [int(share) for share in live]
    assert len(set(shares)) > 2
    assert shares == sorted(shares)
    assert max(shares) < 100
    assert COLOR.sub("", said).rstrip().splitlines()[-1].startswith("1 copied; moved 6.0 MB")
