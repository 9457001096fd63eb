"""Logging in to real registries by htpasswd, over a private CA; what others say of the same logins."""

from __future__ import annotations

import base64
import json
import os
import subprocess

import pytest

import _registry_sync_commands as mirror
from _registry_config_warnings import warnings_of
from _registry_http_environment import Environment
from support.faults import redirect
from support.images import Layer, docker_image
from support.logins import (
    Guarded,
    endpoint,
    htpasswd_config,
    session,
    settings_between,
    skopeo_login,
    tls_config,
    write_auth_file,
    write_helper,
)
from support.pki import Authority
from support.proxy import FaultProxy
from support.registries import merge
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

# A colon, a letter beyond ASCII, a space and a percent sign: what people's passwords have.
LOGIN = ("site-a", "pass:wörd %41!")
IMAGE = docker_image([Layer("one", 100_000), Layer("two", 300)])


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def secured(start_module_registry, authority, tmp_path_factory):
    """A registry over TLS that knows one user and holds one image."""
    directory = tmp_path_factory.mktemp("secured")
    users = htpasswd_config(directory, dict([LOGIN]))
    tls = tls_config(authority.issue("secured", "127.0.0.1", "::1", "localhost"))
    registry = start_module_registry(directory=directory, config=merge(users, tls))
    push(registry.url, "team/image", "1", IMAGE, session=session(authority.bundle, LOGIN))
    return registry


@pytest.fixture(scope="module")
def ours(secured, authority):
    """The pillar with which the registry lets us in."""
    return endpoint(secured, verify=str(authority.bundle), username=LOGIN[0], password=LOGIN[1])


@pytest.fixture(scope="module")
def strangers(ours):
    """The same without a login."""
    return {key: value for key, value in ours.items() if key not in ("username", "password")}


def entry(report, name="team/image:1"):
    return report["images"][name]


def error(report):
    bad = entry(report)
    return bad["cause"], bad["error"]


def sync(upstream, local, **others):
    return mirror.sync(settings_between(upstream, local, **others))


def test_a_user_and_a_private_ca_from_the_pillar(ours, local):
    assert entry(sync(ours, endpoint(local)))["status"] == "copied"
    assert digest_of(local.url, "team/image", "1") == IMAGE.digest


def test_the_local_registry_has_a_door_as_well(upstream, secured, ours, authority, tmp_path):
    built = docker_image([Layer("local", 70_000)])
    push(upstream.url, "pushed/here", "1", built)
    report = sync(endpoint(upstream), ours, images=["pushed/here"])
    assert entry(report, "pushed/here:1")["status"] == "copied"
    # skopeo agrees: the same login and CA show the same digest.
    auth_file = write_auth_file(tmp_path / "auth.json", {secured.address: LOGIN})
    command = ["skopeo", "inspect", "--authfile", auth_file, "--cert-dir", authority.bundle.parent]
    shown = subprocess.run(
        [*command, f"docker://{secured.address}/pushed/here:1"], capture_output=True, check=True
    )
    assert json.loads(shown.stdout)["Digest"] == built.digest


@pytest.mark.parametrize("login", [{}, {"username": LOGIN[0], "password": "wrong"}])
def test_a_refusal_says_what_was_tried_and_that_it_may_not_exist(secured, local, login):
    tried = f"user {LOGIN[0]}" if login else "anonymous access"
    with FaultProxy(secured.url) as line:
        report = sync(endpoint(line, **login), endpoint(local), images=[f"a/b{n}" for n in range(9)])
        for number in range(9):
            bad = entry(report, f"a/b{number}:1")
            assert (bad["status"], bad["cause"]) == ("failed", "auth")
            assert bad["error"].startswith(f"upstream {line.address} refused {tried} ")
            assert bad["error"].endswith("it may also not exist") is not bool(login)
        # A wrong password was shown once, not for each image: that would lock an account.
        with_login = [r for r in line.requests() if r.header("Authorization")]
        assert len(with_login) == (1 if login else 0)


def test_a_wrong_password_of_the_local_registry_is_named(upstream, ours):
    push(upstream.url, "team/image", "1", IMAGE)
    report = sync(endpoint(upstream), {**ours, "password": "wrong"})
    assert report["registry"]["error"].endswith(f"refused user {LOGIN[0]} (authentication required)")
    assert error(report)[0] == "auth"


def test_an_unknown_ca_is_refused(strangers, local):
    cause, said = error(sync({**strangers, "verify": True}, endpoint(local)))
    assert cause == "network"
    assert "unable to get local issuer certificate; verify takes the path of a private CA" in said


def test_a_certificate_of_another_name_is_refused(secured, ours, local, authority, start_registry, tmp_path):
    tls = tls_config(authority.issue("elsewhere", "elsewhere.example.com"))
    imposter = start_registry(directory=tmp_path / "imposter", config=tls)
    cause, said = error(sync({**ours, "port": imposter.port}, endpoint(local)))
    assert cause == "network"
    assert "certificate is not valid for '127.0.0.1'" in said or "is for another name" in said


def test_verification_can_be_switched_off_and_that_is_told(secured, local):
    settings = settings_between(
        endpoint(secured, verify=False, username=LOGIN[0], password=LOGIN[1]), endpoint(local)
    )
    assert entry(mirror.sync(settings))["status"] == "copied"
    assert warnings_of(settings) == [
        f"upstream {secured.address}: verify is false, so anybody on the way to it can pose as it "
        f"and take the password of user {LOGIN[0]}"
    ]


def test_plain_http_where_tls_is_spoken_says_so(secured, upstream, local):
    cause, said = error(sync(endpoint(upstream, tls=True), endpoint(local)))
    assert (cause, said) == (
        "network",
        f"upstream {upstream.address}: does not speak TLS; is it plain HTTP (tls: false)?",
    )
    report = sync(endpoint(secured, tls=False), endpoint(local))
    assert error(report)[1].startswith(f"upstream {secured.address}")


# Files and helpers.


def test_the_file_that_skopeo_login_writes(secured, strangers, local, authority, tmp_path):
    auth_file = tmp_path / "auth.json"
    skopeo_login(secured, auth_file, LOGIN, authority.bundle.parent)
    report = sync({**strangers, "auth_file": str(auth_file)}, endpoint(local))
    assert entry(report)["status"] == "copied"


def test_a_refused_login_names_its_file(secured, strangers, local, tmp_path):
    auth_file = write_auth_file(tmp_path / "config.json", {secured.address: ("olduser", "gone")})
    cause, said = error(sync({**strangers, "auth_file": str(auth_file)}, endpoint(local)))
    assert (cause, said) == (
        "auth",
        f"upstream {secured.address} refused user olduser from {auth_file} (authentication required)",
    )


def test_a_file_without_this_registry_is_named(secured, strangers, local, tmp_path):
    auth_file = write_auth_file(tmp_path / "config.json", {"other.example.com": LOGIN})
    cause, said = error(sync({**strangers, "auth_file": str(auth_file)}, endpoint(local)))
    assert cause == "auth"
    assert f"refused anonymous access ({auth_file} has no login for {secured.address})" in said


@pytest.mark.parametrize("content", [None, "not json", '["a list"]'])
def test_a_file_that_is_none_is_one_sentence(secured, strangers, local, tmp_path, content):
    auth_file = tmp_path / "auth.json"
    if content:
        auth_file.write_text(content)
    cause, said = error(sync({**strangers, "auth_file": str(auth_file)}, endpoint(local)))
    why = "not a docker or podman auth file" if content else "no such file"
    assert (cause, said) == ("auth", f"upstream {secured.address}: {auth_file}: {why}")


def test_roots_own_files_are_asked_where_the_pillar_says_nothing(secured, strangers, local, tmp_path):
    podmans = write_auth_file(tmp_path / "podman.json", {"other.example.com": ("x", "y")})
    dockers = write_auth_file(tmp_path / "docker.json", {secured.address: LOGIN})
    environment = Environment(auth_files=("/nonexistent", str(podmans), str(dockers)))
    report = sync(strangers, endpoint(local), environment=environment)
    assert entry(report)["status"] == "copied"


def test_a_login_for_a_namespace_wins_over_that_for_the_host(secured, strangers, local, tmp_path):
    keys = {secured.address: ("nobody", "x"), f"{secured.address}/team": LOGIN}
    auth_file = write_auth_file(tmp_path / "auth.json", keys)
    with FaultProxy(secured.url) as line:
        keys = {f"{line.address}/team": LOGIN, f"{line.address}/team/image/below": ("nobody", "x")}
        auth_file = write_auth_file(tmp_path / "auth.json", keys)
        report = sync(
            endpoint(line, auth_file=str(auth_file)), endpoint(local), images=["team/image", "no/login"]
        )
    assert entry(report)["status"] == "copied"
    assert "refused anonymous access" in entry(report, "no/login:1")["error"]


@pytest.fixture
def helpers(tmp_path, monkeypatch):
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


SAYS_THE_LOGIN = f"""
cat >> "$(dirname "$0")/asked"; echo " $*" >> "$(dirname "$0")/asked"
echo '{json.dumps({"ServerURL": "", "Username": LOGIN[0], "Secret": LOGIN[1]})}'
"""


@pytest.mark.parametrize("kind", ["credHelpers", "credsStore"])
def test_a_credential_helper_is_asked_once(secured, strangers, local, helpers, tmp_path, kind):
    write_helper(helpers, "site", SAYS_THE_LOGIN)
    others = {"credHelpers": {secured.address: "site"}} if kind == "credHelpers" else {"credsStore": "site"}
    # docker leaves an empty entry for what its store holds.
    auth_file = tmp_path / "config.json"
    auth_file.write_text(json.dumps({"auths": {secured.address: {}}, **others}))
    report = sync(
        {**strangers, "auth_file": str(auth_file)}, endpoint(local), images=["team/image", "not/there"]
    )
    assert entry(report)["status"] == "copied"
    # The server's name on its standard input, the verb as its argument, and no more.
    assert (helpers / "asked").read_text() == f"{secured.address} get\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("cat >/dev/null; echo credentials not found in native keychain; exit 1", "has no login for"),
        ("echo secret-on-stderr >&2; exit 3", "docker-credential-site failed for"),
        ("echo '{}'", "has no login for"),
        ("echo hello", "docker-credential-site gave something else than a login"),
        ("sleep 60 & sleep 60", "docker-credential-site gave no answer within 1 s"),
        (None, "docker-credential-site is not installed"),
    ],
)
def test_a_helper_that_is_no_help(secured, strangers, local, helpers, tmp_path, monkeypatch, script, said):
    monkeypatch.setattr("_registry_http_authfile.HELPER_SECONDS", 1.0)
    if script:
        write_helper(helpers, "site", script)
    auth_file = tmp_path / "config.json"
    auth_file.write_text(json.dumps({"credHelpers": {secured.address: "site"}}))
    cause, told = error(sync({**strangers, "auth_file": str(auth_file)}, endpoint(local)))
    assert cause == "auth"
    assert said in told
    assert "secret-on-stderr" not in told


def test_a_refused_helper_is_named(secured, strangers, local, helpers, tmp_path):
    write_helper(helpers, "site", """echo '{"Username": "robot", "Secret": "stale"}'""")
    auth_file = tmp_path / "config.json"
    auth_file.write_text(json.dumps({"credHelpers": {secured.address: "site"}}))
    _, told = error(sync({**strangers, "auth_file": str(auth_file)}, endpoint(local)))
    assert "refused helper docker-credential-site (user robot)" in told


def test_a_broken_file_that_nobody_named_does_not_stand_in_the_way(upstream, local, tmp_path, helpers):
    push(upstream.url, "team/image", "1", IMAGE)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    environment = Environment(auth_files=(str(broken),))
    report = sync(endpoint(upstream), endpoint(local), environment=environment)
    assert entry(report)["status"] == "copied"


# Certificates of ours.


@pytest.fixture(scope="module")
def guarded(authority, tmp_path_factory):
    tls = tls_config(authority.issue("guarded", "127.0.0.1"), clients=authority.bundle)
    with Guarded(tmp_path_factory.mktemp("guarded"), config=tls) as registry:
        client = authority.issue("pusher")
        http = session(authority.bundle)
        http.cert = (str(client.certificate), str(client.key))
        push(registry.url, "team/image", "1", IMAGE, session=http)
        yield registry


def test_a_client_certificate_opens(guarded, local, authority):
    client = authority.issue("client")
    proof = {"cert": str(client.certificate), "key": str(client.key)}
    report = sync(endpoint(guarded, verify=str(authority.bundle), **proof), endpoint(local))
    assert entry(report)["status"] == "copied"
    both = client.certificate.with_name("both.pem")
    both.write_bytes(client.certificate.read_bytes() + client.key.read_bytes())
    pillar = endpoint(guarded, verify=str(authority.bundle), cert=str(both))
    assert entry(mirror.check(settings_between(pillar, endpoint(local))))["status"] == "current"


def test_without_a_certificate_the_message_says_what_is_wanted(guarded, local, authority):
    cause, said = error(sync(endpoint(guarded, verify=str(authority.bundle)), endpoint(local)))
    assert cause == "network"
    assert "wants a certificate of ours" in said


@pytest.mark.parametrize("broken", ["missing", "passphrase", "other key", "no ca"])
def test_files_of_certificates_that_are_no_good_are_named(guarded, local, authority, tmp_path, broken):
    client = authority.issue("client")
    proof = {"cert": str(client.certificate), "key": str(client.key), "verify": str(authority.bundle)}
    if broken == "missing":
        proof["key"] = str(tmp_path / "nowhere.key")
    elif broken == "passphrase":
        proof["cert"], proof["key"] = map(str, vars(authority.issue("locked", passphrase=b"x")).values())
    elif broken == "other key":
        proof["key"] = str(authority.issue("other").key)
    else:
        proof["verify"] = str(client.key)
    cause, said = error(sync(endpoint(guarded, **proof), endpoint(local)))
    assert cause == "network"
    assert (proof["verify"] if broken == "no ca" else proof["key"]) in said


def test_our_certificate_is_not_shown_to_whom_a_registry_redirects(
    guarded, local, authority, start_registry, tmp_path
):
    """Two hosts that ask for certificates; ours is for the first."""
    client = authority.issue("client")
    store = {"storage": {"filesystem": {"rootdirectory": str(guarded.data)}}}
    host = "127.0.0.2"
    tls = tls_config(authority.issue("second", host), clients=authority.bundle)
    with (
        Guarded(tmp_path / "second", host=host, config=merge(store, tls)) as second,
        Guarded(
            tmp_path / "first",
            config=merge(
                merge(store, tls_config(authority.issue("first", "127.0.0.1"), clients=authority.bundle)),
                {"middleware": {"storage": [{"name": "redirect", "options": {"baseurl": second.url}}]}},
            ),
        ) as first,
    ):
        proof = {"cert": str(client.certificate), "key": str(client.key)}
        report = sync(
            endpoint(first, verify=str(authority.bundle), **proof),
            endpoint(local),
            transfer={"retries": 0},
        )
    cause, said = error(report)
    assert cause == "network"
    assert f"leads to {second.address}: wants a certificate of ours" in said


# Ways to a registry.


def test_an_ipv6_address(start_registry, local, authority, tmp_path):
    users = htpasswd_config(tmp_path, dict([LOGIN]))
    tls = tls_config(authority.issue("six", "::1"))
    registry = start_registry(host="::1", config=merge(users, tls))
    push(registry.url, "team/image", "1", IMAGE, session=session(authority.bundle, LOGIN))
    auth_file = write_auth_file(tmp_path / "auth.json", {registry.address: LOGIN})
    pillar = endpoint(registry, verify=str(authority.bundle), auth_file=str(auth_file))
    assert entry(sync(pillar, endpoint(local)))["status"] == "copied"


def test_a_path_in_front_of_the_api(start_registry, upstream, local, tmp_path):
    config = merge({"http": {"prefix": "/registry/"}}, htpasswd_config(tmp_path, dict([LOGIN])))
    below = start_registry(config=config)
    http = session(login=LOGIN)
    push(f"{below.url}/registry", "team/image", "1", IMAGE, session=http)
    push(upstream.url, "pushed/here", "1", IMAGE)
    pillar = endpoint(below, path="/registry/", username=LOGIN[0], password=LOGIN[1])
    assert entry(sync(pillar, endpoint(local)))["status"] == "copied"
    report = sync(endpoint(upstream), pillar, images=["pushed/here"])
    assert entry(report, "pushed/here:1")["status"] == "copied"


def test_where_blobs_lie_elsewhere_our_login_stays_here(start_registry, secured, local):
    """A registry that redirects blobs, with a signature, to another host that needs no login."""
    anonymous = start_registry(config={"storage": {"filesystem": {"rootdirectory": str(secured.data)}}})
    with FaultProxy(secured.url) as front, FaultProxy(anonymous.url) as store:
        front.on("GET", "/blobs/", redirect(lambda r: f"{store.url}{r.path}?X-Amz-Signature=abc"), times=None)
        pillar = endpoint(front, username=LOGIN[0], password=LOGIN[1])
        assert entry(sync(pillar, endpoint(local)))["status"] == "copied"
        assert store.count("GET blobs") == len(IMAGE.blobs)
        for request in store.requests():
            assert request.header("Authorization") is None
            assert request.header("Cookie") is None
            assert request.header("Referer") is None
        assert all(r.header("Authorization") for r in front.requests("GET blobs"))
    assert base64.b64encode(":".join(LOGIN).encode()).decode() in str(front.requests())
