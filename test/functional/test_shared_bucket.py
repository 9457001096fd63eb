"""Two registries that the formula configured from pillars, with one bucket of an S3 server behind both."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from contextlib import ExitStack
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
import yaml

from support.images import Layer, docker_image
from support.registries import Distribution, free_port
from support.registry_content import digest_of, pull_whole, push
from support.salt_minion import Minion

pytestmark = [
    pytest.mark.needs("docker-distribution", "skopeo"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: Salt's states ask the package manager"),
]

BUCKET = "mirror"
SECRET = "one-for-all-of-a-site"
SECONDS_TO_START = 20
SECONDS_FOR_AN_ANSWER = 30


class Configured(Distribution):
    """A server that is started with what the formula has written."""

    def __init__(self, directory, file):
        port = int(yaml.safe_load(file.read_text(encoding="utf-8"))["http"]["addr"].rpartition(":")[2])
        super().__init__(directory, port=port)
        self._file = file

    def config(self):
        return yaml.safe_load(self._file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def s3(checkout, tmp_path_factory):
    """Return the URL of moto's S3 server with one empty bucket: no object store is to be had here."""
    program = checkout / ".venv" / "moto" / "bin" / "moto_server"
    if not program.exists():
        pytest.skip("needs moto (test/run)")
    url, log = f"http://127.0.0.1:{free_port()}", tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as output:
        port = url.rpartition(":")[2]
        server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", port], stdout=output, stderr=output)
    try:
        make_bucket(url, server, log)
        yield url
    finally:
        server.terminate()
        server.wait()


def ask(method, url, **keywords):
    """Send one request, past all proxies."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=SECONDS_FOR_AN_ANSWER, **keywords)


def make_bucket(url, server, log):
    deadline = time.monotonic() + SECONDS_TO_START
    while server.poll() is None and time.monotonic() < deadline:
        try:
            assert ask("PUT", f"{url}/{BUCKET}").status_code == 200
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"moto's server did not start: {log.read_text(encoding='utf-8')[-2000:]}")


def keys_in(s3):
    return ask("GET", f"{s3}/{BUCKET}?list-type=2").text


def pillar_for(upstream, s3, port, storage, file, **http):
    bucket = {
        "region": "us-east-1",
        "regionendpoint": s3,
        "bucket": BUCKET,
        "accesskey": "site-a",
        "secretkey": "of-site-a",
        "secure": False,
    }
    config = {
        "log": {"level": "error"},
        "http": {"addr": f"127.0.0.1:{port}", **http},
        "storage": {"s3": bucket},
    }
    return {
        "upstream": {"host": upstream.host, "port": upstream.port, "tls": False},
        "local": {"host": "127.0.0.1", "port": port},
        "images": [{"name": "site/app", "tags": ["1.0"]}],
        # The tests are clients of both, and push as any of them.
        "registry": {"install": "package", "push": "everyone", "config": config},
        "lookup": {"config": str(file), "storage": str(storage)},
    }


class Site:
    """A registry that the formula configured, and the minion that did it."""

    def __init__(self, directory, checkout, upstream, s3, **http):
        self.file = directory / "etc" / "config.yml"
        self.unused = directory / "storage"
        pillar = pillar_for(upstream, s3, free_port(), self.unused, self.file, **http)
        self.minion = Minion(directory / "minion", checkout, pillar={"docker_registry": pillar})
        self.configure()
        self.server = Configured(directory, self.file)

    def configure(self):
        """Apply the formula; return what changed."""
        answer = self.minion.apply("docker_registry.config")
        assert answer.retcode == 0, answer.stdout + answer.stderr
        return [state["changes"] for state in answer.value.values() if state["changes"]]

    def config(self):
        """Return what the formula wrote."""
        return yaml.safe_load(self.file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sites(s3, module_upstream, checkout, tmp_path_factory):
    """Return two registries with a common secret, and one whose secret is its own."""
    secrets = {"one": {"secret": SECRET}, "other": {"secret": SECRET}, "stranger": {}}
    with ExitStack() as running:
        # The driver listens to what this machine may say to other programs of AWS.
        patch = running.enter_context(pytest.MonkeyPatch.context())
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        made = {
            name: Site(tmp_path_factory.mktemp(name), checkout, module_upstream, s3, **http)
            for name, http in secrets.items()
        }
        for site in made.values():
            running.enter_context(site.server)
        yield made


def through(server, location):
    """Return an upload's address at another registry, as whatever stands before both would send it on."""
    return urlunsplit(("http", server.address, *urlsplit(location)[2:]))


def test_the_pillars_driver_stands_in_the_place_of_files(sites):
    one = sites["one"]
    config = one.config()
    assert set(config["storage"]) == {"cache", "delete", "s3"}
    assert config["http"]["secret"] == SECRET
    # It holds the key of the bucket.
    assert stat.S_IMODE(one.file.stat().st_mode) == 0o600
    assert not one.unused.exists()
    assert one.configure() == []


def test_what_one_registry_mirrored_the_other_serves(sites, s3, module_upstream, tmp_path):
    image = docker_image([Layer("app", length=6_000_000), Layer("small")])
    push(module_upstream.url, "site/app", "1.0", image)
    synced = sites["one"].minion.call("registry_sync.sync")
    assert synced.retcode == 0, synced.stdout
    assert synced.value["images"]["site/app:1.0"]["status"] == "copied"
    for name in ("one", "other"):
        assert digest_of(sites[name].server.url, "site/app", "1.0") == image.digest
    pull_whole(sites["other"].server.url, "site/app", "1.0", tmp_path / "pulled")
    assert image.digest.removeprefix("sha256:") in keys_in(s3)
    checked = sites["other"].minion.call("registry_sync.check")
    assert (checked.retcode, checked.value["summary"]["current"]) == (0, 1)


def test_an_upload_begun_at_one_is_finished_at_the_other(sites):
    one, other = sites["one"].server, sites["other"].server
    layer = Layer("in two halves", length=7_000_000)
    content = b"".join(layer.chunks())
    half = len(content) // 2
    begun = ask("POST", f"{one.url}/v2/site/halves/blobs/uploads/")
    sent = ask("PATCH", through(one, begun.headers["Location"]), data=content[:half])
    assert sent.status_code == 202
    finish = through(other, sent.headers["Location"])
    assert ask("PUT", finish, params={"digest": layer.digest}, data=content[half:]).status_code == 201
    for server in (one, other):
        assert ask("GET", f"{server.url}/v2/site/halves/blobs/{layer.digest}").content == content


def test_without_a_common_secret_the_other_refuses_the_upload(sites):
    begun = ask("POST", f"{sites['one'].server.url}/v2/site/halves/blobs/uploads/")
    answers = {
        name: ask("GET", through(site.server, begun.headers["Location"])).status_code
        for name, site in sites.items()
    }
    assert answers == {"one": 204, "other": 204, "stranger": 404}
