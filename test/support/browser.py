"""A real Chromium, driven by chromedriver's own protocol: https://www.w3.org/TR/webdriver2/."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

# No traffic but the page's own: chromium otherwise asks its makers for updates.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
SECONDS_TO_START = 60
# Of axe, on a busy machine.
SECONDS_FOR_A_SCRIPT = 300
# https://www.w3.org/TR/webdriver2/#keyboard-actions
ENTER, TAB = "\ue007", "\ue004"
AXE = Path(__file__).resolve().parents[2] / ".venv" / "axe"


def axe_script() -> str | None:
    """Path of axe-core's one file, where test/install.sh has put it."""
    found = sorted(AXE.glob("lib/python3*/site-packages/axe_playwright_python/axe.min.js"))
    return str(found[-1]) if found else None


class Browser:
    """One window.

    Args:
        driver: chromedriver's URL.
        session: the session's id.
    """

    def __init__(self, driver: str, session: str) -> None:
        self._url = f"{driver}/session/{session}"

    def open(self, url: str) -> None:
        """Load a page and forget what was logged before."""
        self._log("browser")
        self._log("performance")
        self._ask("POST", "url", {"url": url})

    def size(self, width: int, height: int = 900) -> None:
        """Give the page so many pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **metrics)

    def dark(self, *, dark: bool) -> None:
        """Prefer dark colours, or light ones."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])

    def scripts(self, *, allowed: bool) -> None:
        """Let pages run scripts, or not."""
        self.devtools("Emulation.setScriptExecutionDisabled", value=not allowed)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script and return what it returns."""
        return self._ask("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def type(self, keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        presses = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": presses}]
        self._ask("POST", "actions", {"actions": actions})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Send a command of https://chromedevtools.github.io/devtools-protocol/."""
        return self._ask("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def durations(self) -> dict[str, float]:
        """Seconds of processor time that the page has taken so far, by what for."""
        self.devtools("Performance.enable", timeDomain="threadTicks")
        told = self.devtools("Performance.getMetrics")["metrics"]
        return {each["name"]: each["value"] for each in told if each["name"].endswith("Duration")}

    def picture(self, path: Path | str, *, whole: bool = True) -> None:
        """Write what is seen as a PNG; whole = all of the page, however long."""
        drawn = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(drawn["data"]))

    def complaints(self) -> list[str]:
        """What the console says since the page was opened."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """The URLs that were asked for since the page was opened."""
        messages = (json.loads(entry["message"])["message"] for entry in self._log("performance"))
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def violations(self) -> list[str]:
        """What axe says of the page, each with the markup that it is about."""
        script = axe_script()
        assert script is not None, "no axe-core"
        self.run(Path(script).read_text("utf-8"))
        found = self._ask(
            "POST",
            "execute/async",
            {"script": "const done = arguments[0]; axe.run().then(done, done);", "args": []},
        )
        return [
            f"{violation['id']}: {node['html'][:200]}: {node['failureSummary']}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._ask("POST", "se/log", {"type": kind})
        return entries

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, f"{self._url}/{path}", json=body, timeout=SECONDS_FOR_A_SCRIPT + 30)
        value = answer.json()["value"]
        assert answer.ok, f"{path}: {value}"
        return value


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a chromium with a profile of its own, and end it."""
    port = _free_port()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        subprocess.Popen(
            [str(shutil.which("chromedriver")), f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as driver,
    ):
        url = f"http://127.0.0.1:{port}"
        session = ""
        try:
            session = _session(url, profile)
            yield Browser(url, session)
        finally:
            if session:
                requests.delete(f"{url}/session/{session}", timeout=30)
            driver.terminate()


def _session(url: str, profile: str) -> str:
    options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "perfLoggingPrefs": {"enableNetwork": True}}
    capabilities = {
        "browserName": "chrome",
        "timeouts": {"script": 1000 * SECONDS_FOR_A_SCRIPT, "pageLoad": 1000 * SECONDS_FOR_A_SCRIPT},
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    body = {"capabilities": {"alwaysMatch": capabilities}}
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            answer = requests.post(f"{url}/session", json=body, timeout=SECONDS_TO_START)
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline, "chromedriver does not answer"
            time.sleep(0.05)
    value = answer.json()["value"]
    assert answer.ok, value
    return str(value["sessionId"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
