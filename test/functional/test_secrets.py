"""Nothing leaks: a minion at log level `all`, with known secrets, and a search through all it left."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from support import faults
from support.forward_proxy import ForwardProxy
from support.images import Layer, docker_image
from support.logins import endpoint, htpasswd_config, session, tls_config, write_auth_file, write_helper
from support.pki import Authority
from support.proxy import FaultProxy
from support.registries import LOOPBACK, Distribution, free_port, merge
from support.registry_content import push
from support.salt_minion import Minion
from support.token_server import TokenServer

pytestmark = pytest.mark.needs("docker-distribution")

# What nobody may find anywhere, each of them easy to find.
TOKEN_LOGIN = ("far-user", "Pw-Far-7f3a/+&=")
DOOR_LOGIN = ("near-user", "Pw-Near-b41c: x")
PROXY_LOGIN = ("proxy-user", "Pw-Proxy-9d2e")
SIGNATURE = "Signed-55aa"
NAME = "mirror.example.test"
IMAGES = ["team/one", "team/two"]
EXTRA_FLAGS = ["-l", "all", "--log-file-level=all"]


class ProcessList:
    """Reads everybody's command line over and over while in `with`, as anybody on a host may."""

    def __init__(self):
        self.seen = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._end.wait(0.01):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(path.read_bytes().replace(b"\0", b" "))
                except OSError:
                    continue

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._end.set()
        self._thread.join()


def helpers_in(directory):
    """Make a credential helper for the local side, as podman calls it."""
    directory.mkdir()
    (directory / "secret").write_text(DOOR_LOGIN[1])
    secret = f"$(cat {directory}/secret)"
    says = f"""printf '{{"Username": "{DOOR_LOGIN[0]}", "Secret": "%s"}}' "{secret}" """
    write_helper(directory, "near", says)
    return directory


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Tokens and signed redirects far away; at the local side a door, behind a proxy with a login."""
    directory = tmp_path_factory.mktemp("world")
    authority = Authority(directory)
    with ExitStack() as running:
        tokens = running.enter_context(TokenServer(authority, directory, users=dict([TOKEN_LOGIN])))
        config = merge(tokens.registry_config(), {"http": {"relativeurls": True}})
        far = running.enter_context(Distribution(directory / "far", config=config))
        same_storage = {"storage": {"filesystem": {"rootdirectory": str(far.data)}}}
        open_far = running.enter_context(Distribution(directory / "open", config=same_storage))
        store = running.enter_context(FaultProxy(open_far.url))
        line = running.enter_context(FaultProxy(far.url))
        tls = tls_config(authority.issue("near", LOOPBACK, NAME))
        near_config = merge(htpasswd_config(directory, dict([DOOR_LOGIN])), tls)
        near = running.enter_context(Distribution(directory / "near", config=near_config))
        way = running.enter_context(ForwardProxy({f"{NAME}:443": near.port}, login=":".join(PROXY_LOGIN)))
        for name in IMAGES:
            http = session()
            http.headers.update(tokens.session_headers(f"repository:{name}:pull,push"))
            push(far.url, name, "1", docker_image([Layer("base", 60_000), Layer(name)]), session=http)
        line.on(
            "GET",
            "/blobs/",
            faults.redirect(lambda r: f"{store.url}{r.path}?X-Amz-Signature={SIGNATURE}"),
            times=None,
        )
        helpers = helpers_in(directory / "bin")
        auth_file = write_auth_file(
            directory / "auth.json", {line.address: TOKEN_LOGIN}, credHelpers={NAME: "near"}
        )
        yield {
            "tokens": tokens,
            "line": line,
            "store": store,
            "way": way,
            "near": near,
            "pillar": {
                "upstream": endpoint(line),
                "local": {"host": NAME, "port": 443, "tls": True, "verify": str(authority.bundle)},
                "images": [{"name": name, "tags": ["1"]} for name in IMAGES],
                "transfer": {"retries": 1},
            },
            "environment": {
                **os.environ,
                "PATH": f"{helpers}:{os.environ['PATH']}",
                # Nobody names the file in the pillar: it is found as root's own.
                "REGISTRY_AUTH_FILE": str(auth_file),
                "https_proxy": f"http://{':'.join(map(quote, PROXY_LOGIN))}@{way.address}",
            },
        }


def secrets_of(world):
    """Every secret in every form that it has had on a line or in a file."""
    found = {SIGNATURE, "X-Amz-Signature", "_state="}
    for user, password in (TOKEN_LOGIN, DOOR_LOGIN, PROXY_LOGIN):
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        found |= {password, quote(password), quote(password, safe=""), pair, pair.rstrip("=")}
    tokens = world["tokens"].tokens
    assert tokens
    found |= {token.rpartition(".")[2] for token in tokens}
    return {secret.encode() for secret in found}


def run(world, minion, function, *arguments):
    """Run `salt-call` at log level `all`; return all that it said."""
    command = [*minion.words(function, *arguments), *EXTRA_FLAGS]
    done = subprocess.run(
        command,
        capture_output=True,
        env=world["environment"],
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def minion(world, checkout, tmp_path_factory):
    """A minion that has the modules."""
    minion = Minion(tmp_path_factory.mktemp("minion"), checkout)
    minion.sync()
    return minion


def test_nothing_leaks_from_a_minion_that_logs_all(world, minion):
    minion.set_pillar({"docker_registry": world["pillar"]})
    heard = {}
    with ProcessList() as processes:
        heard["check"] = run(world, minion, "registry_sync.check")
        heard["plan"] = run(world, minion, "registry_sync.plan")
        # The signed URL fails, in every way in which an exception would name it.
        world["store"].on("GET", "/blobs/", faults.answer(403), times=None, skip=4)
        world["store"].on("GET", "/blobs/", faults.cut_after(10), times=2)
        world["store"].on("GET", "/blobs/", faults.reset(), times=2)
        heard["bad sync"] = run(world, minion, "registry_sync.sync")
        world["store"].forget_rules()
        heard["state"] = run(world, minion, "state.single", "registry_sync.synced", "name=Images")
    # It really went the way that has the secrets on it.
    assert b'"missing": 2' in heard["check"][0]
    assert b'"status": "failed"' in heard["bad sync"][0]
    assert b'"result": true' in heard["state"][0]
    assert b"Mirrored" in heard["state"][0]
    assert world["store"].count("GET blobs") > 0
    assert world["way"].count(f"CONNECT {NAME}:443") > 0
    secrets = secrets_of(world)
    for function, (stdout, stderr) in heard.items():
        # And the log was as talkative as can be, about our requests too.
        assert b"[TRACE" in stderr or b"[DEBUG" in stderr
        assert found_in(stdout, secrets) == [], function
        assert found_in(stderr, secrets) == [], function
    assert b"/v2/team/one/manifests/1: 200" in heard["check"][1]
    assert processes.seen
    for line in processes.seen:
        assert found_in(line, secrets) == [], line
    files = [path for path in minion.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert (minion.root / "minion.log") in files
    assert (minion.root / "minion.log").stat().st_size > 10_000
    for path in files:
        assert found_in(path.read_bytes(), secrets) == [], path


def found_in(text, secrets):
    return [secret for secret in secrets if secret in text]


def test_wrong_logins_do_not_leak_either(world, minion, tmp_path):
    """What is refused was a secret yesterday, or is one elsewhere."""
    wrong = "Pw-Wrong-77ce"
    pillar = merge(world["pillar"], {"local": endpoint(world["near"], verify=False)})
    minion.set_pillar({"docker_registry": pillar})
    logins = {world["line"].address: ("far-user", wrong), world["near"].address: ("near-user", wrong)}
    auth_file = write_auth_file(tmp_path / "wrong.json", logins)
    changed = dict(world, environment={**world["environment"], "REGISTRY_AUTH_FILE": str(auth_file)})
    stdout, stderr = run(changed, minion, "registry_sync.sync")
    assert f"refused user near-user from {auth_file}".encode() in stdout
    secrets = {wrong.encode(), base64.b64encode(f"near-user:{wrong}".encode()).rstrip(b"=")}
    assert found_in(stdout, secrets) == found_in(stderr, secrets) == []
    for path in minion.root.rglob("*"):
        if path.is_file():
            assert found_in(path.read_bytes(), secrets) == [], path


def test_passwords_of_the_pillar_are_in_no_return(world, minion):
    """Salt itself logs a rendered pillar at debug; what we say and leave has nothing of it."""
    logins = dict(zip(("username", "password"), DOOR_LOGIN, strict=True))
    far = dict(zip(("username", "password"), TOKEN_LOGIN, strict=True))
    pillar = merge(world["pillar"], {"local": logins, "upstream": far})
    minion.set_pillar({"docker_registry": pillar})
    command = [*minion.words("registry_sync.check"), "-l", "info", "--log-file-level=info"]
    began = time.time()
    done = subprocess.run(command, capture_output=True, env=world["environment"], timeout=120, check=False)
    assert b'"registry"' in done.stdout
    secrets = secrets_of(world)
    assert found_in(done.stdout, secrets) == found_in(done.stderr, secrets) == []
    written = [path for path in minion.root.rglob("*") if path.is_file() and path.stat().st_mtime >= began]
    for path in written:
        assert found_in(path.read_bytes(), secrets) == [], path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: Salt's states ask the package manager")
def test_the_doors_own_secrets_are_nowhere_but_where_they_belong(tmp_path, checkout):
    """A password that comes from sdb, so that Salt's own lines on the pillar do not have it."""
    user, password = DOOR_LOGIN
    vault = tmp_path / "vault.yaml"
    vault.write_text(json.dumps({"door": password}), encoding="utf-8")
    config = {"vault": {"driver": "yaml", "files": [str(vault)]}}
    minion = Minion(tmp_path / "minion", checkout, config=config)
    minion.sync()
    directory = tmp_path / "registry"
    minion.set_pillar(
        {
            "docker_registry": {
                "local": {
                    "host": LOOPBACK,
                    "port": free_port(),
                    "username": user,
                    "password": "sdb://vault/door",
                },
                "registry": {
                    "tls": "self_signed",
                    "htpasswd": {user: "sdb://vault/door"},
                    "install": "package",
                    "storage": str(tmp_path / "images"),
                    "config": {"http": {"secret": "sdb://vault/door"}},
                },
                "lookup": {"config": f"{directory}/config.yml", "authority": str(tmp_path / "authority")},
            }
        }
    )
    world = {"environment": dict(os.environ)}
    with ProcessList() as processes:
        plan = run(world, minion, "state.apply", "docker_registry.config", "test=True")
        stdout, stderr = run(world, minion, "state.apply", "docker_registry.config")
    assert b'"Made the authority: there is none' in stdout
    # They are where they belong, and readable by nobody else.
    config = directory / "config.yml"
    assert password in config.read_text()
    hashed = (directory / "htpasswd").read_text().partition(":")[2].strip()
    assert hashed.startswith("$2b$")
    keys = [tmp_path / "authority/ca-key.pem", directory / "tls-key.pem"]
    for path in (config, directory / "htpasswd", *keys):
        assert path.stat().st_mode & 0o077 == 0, path
    secrets = {password.encode(), hashed.encode(), *(key.read_bytes().splitlines()[1] for key in keys)}
    for text in (*plan, stdout, stderr, *processes.seen):
        assert found_in(text, secrets) == []
    assert b"Calling slot: registry_host.service_config" in stderr
    for path in minion.root.rglob("*"):
        if path.is_file():
            assert found_in(path.read_bytes(), secrets) == [], path
