"""TLS and users of the registry, as the formula creates them: a CA, bcrypt hashes, and a sync with both."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import bcrypt
import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support.images import Layer, docker_image
from support.logins import endpoint
from support.pki import Authority
from support.registries import LOOPBACK, free_port
from support.registry_content import push
from support.token_server import TokenServer

pytestmark = [
    pytest.mark.needs("docker-distribution"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the authority's key is root's"),
]

LOGIN = ("site-a", "Pw-Secured-51f0: é")
HASH = re.compile(r"\$2b\$05\$[./A-Za-z0-9]{53}")


class SecuredRegistry:
    """A minion that makes a registry's certificate and users in directories of its own."""

    def __init__(self, directory, make_minion, **keywords):
        self.directory = directory / "registry"
        self.directory.mkdir()
        self.authority = directory / "authority"
        self.port = free_port()
        self.pillar = {
            "local": {"host": LOOPBACK, "port": self.port},
            "registry": {"tls": "self_signed"},
            "lookup": {"authority": str(self.authority)},
            "images": [{"name": "team/app", "tags": ["1"]}],
            "transfer": {"retries": 1},
        }
        self.minion = make_minion(pillar={"docker_registry": self.pillar}, **keywords)
        self.minion.sync()

    def change(self, **others):
        """Change keys of the pillar."""
        self.pillar |= others
        self.minion.set_pillar({"docker_registry": self.pillar})

    def state(self, function, name=None, **keywords):
        """Run one state, as root."""
        owns = function in ("registry_tls.certificate", "registry_htpasswd.managed")
        owner = {"user": "root", "group": "root"} if owns else {}
        name = name or (f"{self.directory}/htpasswd" if "htpasswd" in function else str(self.directory))
        answer = self.minion.call("state.single", function, name=name, **owner, **keywords)
        assert isinstance(answer.value, dict), answer.stdout + answer.stderr
        return SimpleNamespace(said=answer.stdout + answer.stderr, **next(iter(answer.value.values())))

    def certificate(self, name="tls-certificate.pem"):
        """Read the registry's certificate, or the authority's."""
        path = self.authority / name if name == "ca.pem" else self.directory / name
        return x509.load_pem_x509_certificate(path.read_bytes())

    def shorten(self, name, days):
        """Have the certificate of that name end in so many days."""
        old = self.certificate(name)
        key = load_pem_private_key((self.authority / "ca-key.pem").read_bytes(), None)
        new = x509.CertificateBuilder(
            issuer_name=old.issuer,
            subject_name=old.subject,
            public_key=old.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=old.not_valid_before_utc - timedelta(days=1),
            not_valid_after=datetime.now(timezone.utc) + timedelta(days=days),
            extensions=list(old.extensions),
        ).sign(key, hashes.SHA256())
        path = self.authority / name if name == "ca.pem" else self.directory / name
        path.write_bytes(new.public_bytes(serialization.Encoding.PEM))

    def tls(self):
        """Return what makes a docker-distribution use it."""
        files = {
            "certificate": f"{self.directory}/tls-certificate.pem",
            "key": f"{self.directory}/tls-key.pem",
        }
        return {"http": {"tls": files}}

    def users(self):
        """Return each user of the file with the hash."""
        lines = (self.directory / "htpasswd").read_text().splitlines()
        return dict(line.split(":") for line in lines)


@pytest.fixture
def secured(tmp_path, make_minion):
    return SecuredRegistry(tmp_path, make_minion)


def contents(*directories):
    return {path: path.read_bytes() for top in directories for path in top.rglob("*") if path.is_file()}


def test_an_authority_is_made_once_and_the_plan_makes_none(secured):
    planned = secured.state("registry_tls.certificate", test=True)
    assert planned.result is None
    assert planned.comment == (
        "Would make the authority: there is none; Would make the certificate: its authority is new"
    )
    assert contents(secured.directory, secured.authority) == {}
    made = secured.state("registry_tls.certificate")
    assert (made.result, set(made.changes)) == (True, {"authority", "certificate"})
    assert "PRIVATE KEY" not in made.said
    before = contents(secured.directory, secured.authority)
    again = secured.state("registry_tls.certificate")
    assert (again.result, again.changes) == (True, {})
    assert contents(secured.directory, secured.authority) == before
    modes = {path.name: path.stat().st_mode & 0o777 for path in before}
    assert modes == {"ca.pem": 0o644, "ca-key.pem": 0o600, "tls-certificate.pem": 0o644, "tls-key.pem": 0o600}


def test_the_names_on_it_are_those_by_which_others_call_the_registry(secured):
    secured.change(local={"host": "mirror.example.com", "port": secured.port})
    secured.state("registry_tls.certificate")
    names = secured.certificate().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"mirror.example.com", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert LOOPBACK in addresses
    assert not any(address.startswith("fe80") for address in addresses)
    secured.change(local={"host": "other.example.com", "port": secured.port})
    renewed = secured.state("registry_tls.certificate")
    assert renewed.comment == "Made the certificate: it lacks other.example.com"


def test_an_authority_that_is_renewed_keeps_its_key_so_that_the_older_one_still_vouches(secured):
    secured.state("registry_tls.certificate")
    secured.shorten("ca.pem", days=400)
    old, old_leaf = secured.certificate("ca.pem"), secured.certificate()
    renewed = secured.state("registry_tls.certificate")
    assert renewed.changes["authority"] == "it ends within 455 days"
    new, leaf = secured.certificate("ca.pem"), secured.certificate()
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert leaf.serial_number != old_leaf.serial_number
    leaf.verify_directly_issued_by(old)
    leaf.verify_directly_issued_by(new)
    assert leaf.not_valid_after_utc < old.not_valid_after_utc


def test_a_key_of_another_certificate_or_mode_is_put_right(secured):
    secured.state("registry_tls.certificate")
    key = secured.directory / "tls-key.pem"
    key.chmod(0o644)
    assert secured.state("registry_tls.certificate").result is True
    assert key.stat().st_mode & 0o777 == 0o600
    key.write_bytes((secured.authority / "ca-key.pem").read_bytes())
    assert secured.state("registry_tls.certificate").changes == {"certificate": "its key is another's"}
    (secured.directory / "tls-certificate.pem").write_text("rubbish")
    assert secured.state("registry_tls.certificate").changes == {"certificate": "it cannot be read"}
    (secured.authority / "ca.pem").write_text("rubbish")
    assert secured.state("registry_tls.certificate").changes["authority"] == "it cannot be read"
    for rubbish in (b"rubbish", b"\xff\x00\xfe"):
        (secured.authority / "ca-key.pem").write_bytes(rubbish)
        lost = secured.state("registry_tls.certificate")
        assert lost.result is False
        assert lost.comment.startswith(f"{secured.authority}/ca-key.pem: ")


def test_the_sync_trusts_the_authority_without_being_told(secured, upstream, start_registry):
    push(upstream.url, "team/app", "1", docker_image([Layer("app")]))
    login = dict(zip(("username", "password"), LOGIN, strict=True))
    secured.change(
        upstream=endpoint(upstream),
        local={"host": LOOPBACK, "port": secured.port, **login},
        registry={"tls": "self_signed", "htpasswd": dict([LOGIN])},
    )
    # Nothing is known of an authority that is yet to be made.
    assert "ca.pem: no such file" in secured.minion.call("registry_sync.registry").value["error"]
    for state in ("registry_tls.certificate", "registry_htpasswd.managed"):
        assert secured.state(state).result is True
    auth = {"auth": {"htpasswd": {"realm": "test", "path": f"{secured.directory}/htpasswd"}}}
    start_registry(port=secured.port, config={**secured.tls(), **auth})
    synced = secured.minion.call("registry_sync.sync")
    assert (synced.retcode, synced.value["summary"]["copied"]) == (0, 1)
    assert synced.value["registry"]["url"] == f"https://{LOOPBACK}:{secured.port}"
    assert secured.minion.call("registry_sync.warnings").value == []
    secured.change(local={"host": LOOPBACK, "port": secured.port, **login, "verify": True})
    assert secured.minion.call("registry_sync.registry").value["up"] is False


def test_passwords_become_hashes_that_stay_and_hashes_stay_what_they_are(secured, start_registry):
    given = {kind: bcrypt.hashpw(b"given", bcrypt.gensalt(4)).decode() for kind in "aby"}
    wanted = {f"hash-{kind}": f"$2{kind}{hashed[3:]}" for kind, hashed in given.items()} | dict([LOGIN])
    secured.change(registry={"htpasswd": wanted})
    planned = secured.state("registry_htpasswd.managed", test=True)
    assert planned.result is None
    made = secured.state("registry_htpasswd.managed")
    assert made.result is True
    first = secured.users()
    assert HASH.fullmatch(first.pop(LOGIN[0]))
    assert first == {name: wanted[name] for name in first}
    for said in (planned.said, made.said):
        assert "Pw-Secured" not in said
        assert "$2" not in said
    file = secured.directory / "htpasswd"
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    assert secured.state("registry_htpasswd.managed").changes == {}
    assert file.read_text() == before

    server = start_registry(config={"auth": {"htpasswd": {"realm": "test", "path": str(file)}}})

    def status(user, password):
        pair = (user.encode(), password.encode())
        return requests.get(f"{server.url}/v2/", auth=pair, timeout=10).status_code

    assert {name: status(name, "given") for name in first} == dict.fromkeys(first, 200)
    assert (status(*LOGIN), status(LOGIN[0], "wrong"), status("nobody", "given")) == (200, 401, 401)

    secured.change(registry={"htpasswd": {**wanted, LOGIN[0]: "another", "new": "one"}})
    assert secured.state("registry_htpasswd.managed").changes
    server.restart()
    assert (status(*LOGIN), status(LOGIN[0], "another"), status("new", "one")) == (401, 200, 200)
    assert secured.users()["hash-y"] == wanted["hash-y"]


def test_a_token_server_may_guard_it(secured, upstream, start_registry, tmp_path):
    push(upstream.url, "team/app", "1", docker_image([Layer("app")]))
    login = dict(zip(("username", "password"), LOGIN, strict=True))
    with TokenServer(Authority(tmp_path), tmp_path, users=dict([LOGIN])) as tokens:
        token = tokens.registry_config()["auth"]["token"]
        secured.change(
            upstream=endpoint(upstream),
            local={"host": LOOPBACK, "port": secured.port, **login},
            registry={
                "push": "everyone",
                "token": token,
                "config": {"http": {"addr": f"{LOOPBACK}:{secured.port}"}},
            },
        )
        images = str(tmp_path / "images")
        config = secured.minion.call("registry_host.service_config", "/nowhere", images).value
        assert config["auth"] == {"token": token}
        server = start_registry(port=secured.port, config=config)
        assert requests.get(f"{server.url}/v2/", timeout=10).status_code == 401
        synced = secured.minion.call("registry_sync.sync")
        assert (synced.retcode, synced.value["summary"]["copied"]) == (0, 1)
        assert tokens.count("repository:team/app:pull,push") > 0


@pytest.fixture
def secretive(tmp_path, make_minion):
    """A secured whose minion has a database of secrets, as Salt's sdb reads it."""
    file = tmp_path / "vault.yaml"
    file.write_text(yaml.safe_dump(dict(zip(("user", "password"), LOGIN, strict=True))), encoding="utf-8")
    # One of the two drivers that every Salt has: https://docs.saltproject.io/en/latest/ref/sdb/all/
    profile = {"driver": "yaml", "files": [str(file)]}
    return SecuredRegistry(tmp_path, make_minion, config={"secrets": profile})


def test_what_stands_in_sdb_is_read_from_there(secretive, start_registry):
    secured = secretive
    names = {"username": "sdb://secrets/user", "password": "sdb://secrets/password"}
    local = {"host": LOOPBACK, "port": secured.port, **names}
    secured.change(
        local=local, registry={"tls": "self_signed", "htpasswd": {LOGIN[0]: "sdb://secrets/password"}}
    )
    for state in ("registry_tls.certificate", "registry_htpasswd.managed"):
        assert secured.state(state).result is True
    auth = {"auth": {"htpasswd": {"realm": "test", "path": f"{secured.directory}/htpasswd"}}}
    start_registry(port=secured.port, config={**secured.tls(), **auth})
    registry = secured.minion.call("registry_sync.registry").value
    assert (registry["error"], registry["up"]) == ("", True)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("sdb://secrets/none", "sdb://secrets/none has no value"),
        (
            "sdb://nowhere/x",
            "cannot be read (SaltInvocationError); salt-call sdb.get sdb://nowhere/x strict=True",
        ),
    ],
)
def test_what_sdb_does_not_have_is_told_by_its_key(secretive, uri, why):
    secretive.change(local={"host": LOOPBACK, "username": "u", "password": uri})
    for function in ("registry_sync.check", "registry_host.skips_configuration", "registry_tls.due"):
        arguments = ["/nowhere"] if function.endswith("due") else []
        answer = secretive.minion.call(function, *arguments)
        assert answer.retcode != 0
        assert f"docker_registry:local:password: {why}" in answer.stdout + answer.stderr


def test_other_hosts_need_no_master_where_there_is_none(secured):
    secured.state("registry_tls.certificate")
    told = secured.state("registry_tls.ca_published", name="x")
    assert (told.result, told.changes) == (True, {})
    assert secured.state("registry_tls.ca_fetched", name="x").comment == "It was created on this host"
    (secured.authority / "ca-key.pem").unlink()
    kept = secured.state("registry_tls.ca_fetched", name="x")
    assert kept.comment == f"No CA in the mine; keeping {secured.authority}/ca.pem"
    (secured.authority / "ca.pem").unlink()
    lost = secured.state("registry_tls.ca_fetched", name="x")
    assert lost.result is False
    assert lost.comment.startswith(
        "docker_registry:registry:tls: self_signed: the mine has nothing of a minion"
    )


def test_what_was_made_can_be_forgotten(secured):
    secured.state("registry_tls.certificate")
    planned = secured.state("registry_tls.absent", test=True)
    assert planned.result is None
    assert secured.authority.exists()
    gone = secured.state("registry_tls.absent")
    assert set(gone.changes) == {f"{secured.authority}/ca.pem", f"{secured.authority}/ca-key.pem"}
    assert not secured.authority.exists()
    assert secured.state("registry_tls.absent").changes == {}
