"""What a page tells of the host: when the registry's certificate ends, and how much room there is."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.utils import CryptographyDeprecationWarning

from _registry_config_read import read_settings
from _registry_config_values import Settings
from _registry_show_page_parts import clock
from _registry_state_page import put_page
from _registry_state_storage import own_certificate
from support.pki import LIFE, Authority

PORT = 5000


@pytest.fixture
def settings() -> Settings:
    return read_settings({"local": {"host": "localhost", "port": PORT}, "images": []}, host="localhost")


def functions_of(file: Path) -> dict[str, Any]:
    """Salt's, as far as they say which configuration the formula has written."""
    saved = {"files": {str(file): None}}
    own = dict.fromkeys(("network.ip_addrs", "network.ip_addrs6"), lambda include_loopback: ["127.0.0.1"])
    return {"registry_backup.saved_state": lambda: saved, **own}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a registry with a certificate and a directory of its own."""
    (tmp_path / "images").mkdir()
    certificate = Authority(tmp_path).issue("mirror", "localhost").certificate
    file = tmp_path / "config.yml"
    tls = {"certificate": str(certificate), "key": "/nowhere"}
    http = {"addr": f":{PORT}", "tls": tls}
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "images")}}
    file.write_text(yaml.safe_dump({"version": 0.1, "http": http, "storage": storage}))
    return file


def page_of(settings: Settings, functions: dict[str, Any], directory: Path) -> str:
    """The page without a run."""
    file = directory / "page.html"
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        put_page(
            str(file),
            settings,
            None,
            directory=str(directory),
            minion="mirror",
            functions=functions,
            written_by="registry_sync.page",
        )
    return file.read_text("utf-8")


def test_the_end_of_the_registrys_own_certificate_and_its_room_are_told(
    settings: Settings, config: Path, tmp_path: Path
) -> None:
    page = page_of(settings, functions_of(config), tmp_path)
    ends = re.search(r"Certificate ends<dd>(.*?)<dt>", page)
    assert ends is not None
    issued = config.parent.joinpath("page.html").stat().st_mtime
    days = {clock(issued + LIFE.total_seconds(), "")[:10], clock(issued - 60 + LIFE.total_seconds(), "")[:10]}
    assert any(day in ends[1] for day in days)
    assert '<span class="m stale">soon</span>' in ends[1]
    assert re.search(rf"Space<dd>[0-9.]+ .B free of .* at <code>{tmp_path}/images</code>", page)


def test_of_a_registry_that_is_not_the_formulas_neither_is_told(settings: Settings, tmp_path: Path) -> None:
    page = page_of(settings, {"registry_backup.saved_state": dict}, tmp_path)
    assert "Certificate ends" not in page
    assert "Space" not in page


def test_a_certificate_that_cannot_be_read_is_not_told(
    settings: Settings, config: Path, tmp_path: Path
) -> None:
    certificate = Path(own_certificate(settings, functions_of(config)))
    certificate.write_text("no certificate")
    assert "Certificate ends" not in page_of(settings, functions_of(config), tmp_path)
    certificate.unlink()
    assert "Certificate ends" not in page_of(settings, functions_of(config), tmp_path)
