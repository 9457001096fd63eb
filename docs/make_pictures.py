#!/usr/bin/env python3
"""Draw the pictures in docs anew: what a terminal and a page show of a mirror, from real runs on loopback.

    .venv/3008/bin/python docs/make_pictures.py           # check.svg, progress.svg and page.png
    .venv/3008/bin/python docs/make_pictures.py page      # page.png alone

Needs what the tests need (test/run installs it), and rich.
"""

from __future__ import annotations

import fcntl
import html
import itertools
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "test"))

from support.browser import chromium  # noqa: E402
from support.images import Image, Layer, docker_image  # noqa: E402
from support.registries import Distribution  # noqa: E402
from support.registry_content import push  # noqa: E402
from support.salt_minion import Minion, salt_call  # noqa: E402
from support.slow_line import SlowLine  # noqa: E402

COLUMNS = 98
TAGS = ["13.0", "13.0-38", "latest"]
# Enough to see how it looks, few enough for a page; the layers' sizes in kB.
IMAGES = {
    "aodh-api": 900,
    "cinder-volume": 1400,
    "cron": 700,
    "glance-api": 1100,
    "horizon": 2100,
    "iscsid": 800,
    "keystone": 900,
    "mariadb": 1500,
    "neutron-server": 1200,
    "nova-api": 1000,
    "nova-compute": 2500,
    "rabbitmq": 1000,
}
LINE_SECONDS = 0.02
LINE_BYTES = 1.5e6

# A terminal in SVG: every word stands at its own column, so that no font can move it.
FONT_SIZE, CELL, LINE, MARGIN, BAR = 14, 8.43, 19, 18, 30
COLORS = {31: "#e06c75", 32: "#98c379", 33: "#e5c07b", 34: "#61afef", 35: "#c678dd", 36: "#56b6c2"}
INK, PAPER = "#d7dae0", "#21252b"
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<rect width="100%" height="100%" rx="8" fill="{paper}"/>
<circle cx="20" cy="18" r="5.5" fill="#e06c75"/><circle cx="38" cy="18" r="5.5" fill="#e5c07b"/>
<circle cx="56" cy="18" r="5.5" fill="#98c379"/>
<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="{size}" fill="{ink}">
{words}
</g>
</svg>
"""


# Of the page, as a laptop shows it.
PAGE_WIDTH, PAGE_HEIGHT = 1100, 840
LAGGING = ("cron", "nova-compute")


def main() -> None:
    """Write the pictures that were asked for."""
    if "page" not in sys.argv[1:]:
        draw_terminals()
    draw_page()


def draw_page() -> None:
    """Fill a registry, let upstream go on, and take a picture of the page that tells of it."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as place:
        upstream, local = (
            running.enter_context(Distribution(Path(place) / name)) for name in ("upstream", "local")
        )
        fill(upstream)
        page = Path(place, "mirror.html")
        told = pillar(upstream.port, local.port, page=str(page))
        minion = Minion(Path(place) / "minion", DOCS.parent, pillar=told)
        minion.sync()
        for function in ("check", "sync", "check", "check"):
            minion.call(f"registry_sync.{function}")
        for name in LAGGING:
            push(upstream.url, f"rhosp13/openstack-{name}", "latest", image(f"{name} of today", 500))
        minion.call("registry_sync.check")
        photograph(page, DOCS / "page.png")


def photograph(page: Path, path: Path) -> None:
    """Write what a browser shows of a page when it is opened."""
    with chromium() as browser:
        browser.size(PAGE_WIDTH, PAGE_HEIGHT)
        browser.open(page.as_uri())
        browser.picture(path, whole=False)
    print(path)


def draw_terminals() -> None:
    """Start registries and a minion, run what is to be seen, write the pictures."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as place:
        upstream, local, empty = (
            running.enter_context(Distribution(Path(place) / name)) for name in ("upstream", "local", "empty")
        )
        fill(upstream)
        fill_behind(local)
        line = running.enter_context(SlowLine(upstream.url, rtt=LINE_SECONDS, rate=LINE_BYTES))
        minion = Minion(Path(place) / "minion", DOCS.parent, pillar=pillar(line.port, local.port))
        minion.sync()
        draw(DOCS / "check.svg", "salt-call registry_sync.check", on_terminal(minion, "registry_sync.check"))
        minion.set_pillar(pillar(line.port, empty.port))
        said = on_terminal(minion, "registry_sync.sync")
        draw(DOCS / "progress.svg", "salt-call registry_sync.sync", one_of(frames(said)))


def frames(said: str) -> list[str]:
    """The two live lines, which are drawn over themselves again and again, as often as they were drawn."""
    lines = re.split(r"[\r\n]+|\x1b\[2K", said)
    return [
        f"{whole}\n{below}"
        for whole, below in itertools.pairwise(lines)
        if " tags " in whole and " MB" in below
    ]


def one_of(drawn: list[str]) -> str:
    """One from the middle of a run, where more than one blob is under way."""
    busy = [frame for frame in drawn if " more" in frame]
    assert busy, "no live lines; is rich installed?"
    return busy[len(busy) // 2]


def fill(upstream: Distribution) -> None:
    """Have upstream lack one tag that is wanted."""
    for name, size in IMAGES.items():
        there = TAGS[1:] if name == "iscsid" else TAGS
        push(upstream.url, f"rhosp13/openstack-{name}", there, image(name, size))


def fill_behind(local: Distribution) -> None:
    """Let the local registry lag in every way that there is."""
    for name, size in IMAGES.items():
        repository = f"rhosp13/openstack-{name}"
        if name == "horizon":
            continue
        push(local.url, repository, TAGS[1:] if name == "cron" else TAGS, image(name, size))
    push(local.url, "rhosp13/openstack-cron", "13.0", image("cron, last week", 600))
    push(local.url, "rhosp13/openstack-nova-compute", "13.0-37", image("an older build", 2300))


def image(seed: str, kilobytes: int) -> Image:
    """An image of a base that all share and a layer of its own."""
    return docker_image([Layer("base", 300_000), Layer(seed, 1000 * kilobytes)])


def pillar(upstream: int, local: int, **others: object) -> dict[str, object]:
    """What a site would write."""
    return {
        "docker_registry": {
            "upstream": {"host": "localhost", "port": upstream, "tls": False},
            "local": {"host": "localhost", "port": local},
            "image_defaults": {"tags": TAGS},
            "images": list(IMAGES),
            **others,
        }
    }


def on_terminal(minion: Minion, *arguments: str) -> str:
    """Run salt-call on a terminal of its own; what that shows, colours included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    quiet = {"PYTHONWARNINGS": "ignore", "TERM": "xterm-256color"}
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    command = [salt_call(), f"--config-dir={minion.config_dir}", "--local", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | quiet):
        os.close(theirs)
        said = b""
        while chunk := read(ours):
            said += chunk
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def read(terminal: int) -> bytes:
    """What a terminal has to say; nothing where its last program has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def draw(path: Path, command: str, output: str) -> None:
    """Write a picture of a terminal."""
    lines = [f"\x1b[1m$ {command}\x1b[0m", *output.rstrip().splitlines()]
    words = [word for number, line in enumerate(lines) for word in placed(line, number)]
    picture = FRAME.format(
        width=round(COLUMNS * CELL + 2 * MARGIN),
        height=BAR + len(lines) * LINE + MARGIN,
        words="\n".join(words),
        size=FONT_SIZE,
        ink=INK,
        paper=PAPER,
    )
    path.write_text(picture, encoding="utf-8")
    print(path)


def placed(line: str, number: int) -> Iterator[str]:
    """The words of a line as SVG, each at its column and in its colour."""
    column, style = 0, ""
    for piece in re.split(r"(\x1b\[[0-9;]*[A-Za-z])", line):
        if piece.startswith("\x1b["):
            style = style_of(piece)
            continue
        for word in re.finditer(r"[^ ]+", piece):
            x, y = MARGIN + (column + word.start()) * CELL, BAR + (number + 1) * LINE
            length = f'textLength="{len(word[0]) * CELL:.1f}" lengthAdjust="spacingAndGlyphs"'
            yield f'<text x="{x:.1f}" y="{y}" {length}{style}>{html.escape(word[0])}</text>'
        column += len(piece)


def style_of(code: str) -> str:
    """Attributes of SVG for a terminal's code for colour and weight."""
    numbers = [int(number) for number in code[2:-1].split(";") if number]
    if numbers[:2] == [38, 5]:
        return f' fill="{cube(numbers[2])}"'
    colour = next((COLORS[number] for number in numbers if number in COLORS), "")
    bold = ' font-weight="bold"' if 1 in numbers else ""
    return (f' fill="{colour}"' if colour else "") + bold


def cube(number: int) -> str:
    """One of the 256 colours of a terminal: the cube of six steps a side, then shades of grey."""
    if number >= 232:
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3
    steps = (0, 95, 135, 175, 215, 255)
    red, green, blue = (steps[(number - 16) // side % 6] for side in (36, 6, 1))
    return f"#{red:02x}{green:02x}{blue:02x}"


if __name__ == "__main__":
    main()
