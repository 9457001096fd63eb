"""The web server of signatures: real nginx with the configuration that the formula writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests

from _registry_host_web import Web
from support.lookaside import nginx, put_signature
from support.pki import Authority
from support.registries import free_port

pytestmark = [
    pytest.mark.needs("nginx"),
    pytest.mark.skipif(os.geteuid() != 0, reason="nginx keeps what it has under way where only root writes"),
]

DIGEST = "sha256:" + "a" * 64
PATH = f"team/app@{DIGEST.replace(':', '=')}"
SIGNATURE = b"\x90signature"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a directory with a signature, and with what is none."""
    directory = tmp_path / "a store"
    put_signature(directory, "team/app", DIGEST, SIGNATURE)
    (directory / PATH / ".signature-2").write_bytes(b"half")
    (directory / "ledger.json").write_text("{}")
    return directory


@pytest.fixture
def web(store: Path) -> Web:
    return Web(str(store), free_port(), "root", ipv6=False)


def get(url: str, **options: object) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(str(options.pop("method", "GET")), url, timeout=10, **options)  # type: ignore[arg-type]


def test_a_signature_is_served_as_it_is(tmp_path: Path, web: Web) -> None:
    with nginx(tmp_path, web):
        answer = get(f"http://127.0.0.1:{web.port}/{PATH}/signature-1")
    assert (answer.status_code, answer.content) == (200, SIGNATURE)


@pytest.mark.parametrize(
    "path",
    [
        f"{PATH}/signature-2",
        f"{PATH}/signature-0",
        f"{PATH}/.signature-2",
        f"{PATH}/",
        PATH,
        "",
        "ledger.json",
        "team/",
    ],
)
def test_all_else_is_a_true_404(tmp_path: Path, web: Web, path: str) -> None:
    with nginx(tmp_path, web):
        assert get(f"http://127.0.0.1:{web.port}/{path}").status_code == 404


def test_the_end_of_a_list_is_no_error_in_the_log(tmp_path: Path, web: Web) -> None:
    with nginx(tmp_path, web):
        get(f"http://127.0.0.1:{web.port}/{PATH}/signature-2")
    assert (tmp_path / "nginx.log").read_text() == ""


def test_nothing_can_be_written(tmp_path: Path, web: Web, store: Path) -> None:
    with nginx(tmp_path, web):
        for method in ("PUT", "POST", "DELETE"):
            url = f"http://127.0.0.1:{web.port}/{PATH}/signature-1"
            assert get(url, method=method, data=b"x").status_code in (403, 405)
    assert (store / PATH / "signature-1").read_bytes() == SIGNATURE


def test_it_has_the_certificate_of_the_registry(tmp_path: Path, store: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("web", "localhost")
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    web = Web(str(store), free_port(), "root", ipv6=False, **tls)
    with nginx(tmp_path, web):
        url = f"https://localhost:{web.port}/{PATH}/signature-1"
        assert get(url, verify=str(authority.bundle)).content == SIGNATURE


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this host has no IPv6")
def test_it_listens_on_both_protocols(tmp_path: Path, store: Path) -> None:
    web = Web(str(store), free_port(), "root")
    with nginx(tmp_path, web):
        for host in ("127.0.0.1", "[::1]"):
            assert get(f"http://{host}:{web.port}/{PATH}/signature-1").content == SIGNATURE
