"""Decisions of the modules that the state files ask, on hosts that are made up."""

from __future__ import annotations

import importlib.util
import json

import pytest
from salt.exceptions import CommandExecutionError


def load(checkout, name, *, grains=None, pillar=None, salt=None, root="/nonexistent"):
    """Load a module as Salt does, with what Salt puts into it."""
    spec = importlib.util.spec_from_file_location(f"loaded_{name}", checkout / "_modules" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__grains__ = grains or {"os_family": "Debian", "osmajorrelease": 12}
    module.__pillar__ = {"docker_registry": pillar or {}}
    module.__context__ = {}
    module.__opts__ = {"test": False, "root_dir": str(root)}
    module.__salt__ = {"registry_undercloud.is_undercloud": lambda: False, **(salt or {})}
    return module


def packages(**versions):
    """Answer as the package manager would that has these."""
    return {
        "pkg.version": lambda name: "",
        "pkg.latest_version": lambda name: versions.get(name.replace("-", "_"), ""),
        "pkg.list_repo_pkgs": lambda name: {name: ["1"]} if name.replace("-", "_") in versions else {},
        "pkg.version_cmp": lambda one, other: (one > other) - (one < other),
        "registry_backup.is_ours": lambda config="": False,
        "registry_service.answers": lambda: False,
        "network.ip_addrs": lambda include_loopback: [],
        "network.ip_addrs6": lambda include_loopback: [],
    }


SYSTEMS = {
    "debian": ({"os_family": "Debian", "osmajorrelease": 12}, {}, "package"),
    "suse": ({"os_family": "Suse", "osmajorrelease": 15}, {}, "package"),
    "el7": ({"os_family": "RedHat", "osmajorrelease": 7}, {}, "package"),
    "el8": ({"os_family": "RedHat", "osmajorrelease": 8}, {"podman": "2:4.2.0-3.el8"}, "unit"),
    "el9": ({"os_family": "RedHat", "osmajorrelease": 9}, {"podman": "2:4.9.4-3.el9"}, "quadlet"),
    "fedora": ({"os_family": "RedHat", "osmajorrelease": 38}, {"docker_distribution": "2.8.1"}, "package"),
    "fedora-newer": ({"os_family": "RedHat", "osmajorrelease": 42}, {"podman": "5.4"}, "quadlet"),
}
WAYS = ("package", "container", "quadlet", "unit", "service")


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_gets_a_package_or_podman_with_what_it_knows(system, checkout):
    grains, versions, way = SYSTEMS[system]
    module = load(checkout, "registry_host", grains=grains, salt=packages(**versions))
    expected = {way, "service"} if way == "package" else {way, "service", "container"}
    assert {what for what in WAYS if module.should_manage(what)} == expected


@pytest.mark.parametrize(
    ("install", "expected"),
    [
        ("package", {"package", "service"}),
        ("container", {"container", "unit", "service"}),
        ("none", set()),
    ],
)
def test_the_pillar_may_choose_the_way(install, expected, checkout):
    pillar = {"registry": {"install": install}}
    module = load(checkout, "registry_host", pillar=pillar, salt=packages(podman="4.3"))
    assert {what for what in WAYS if module.should_manage(what)} == expected


def test_in_a_container_everything_is_roots(checkout):
    module = load(checkout, "registry_host", pillar={"registry": {"install": "container"}}, salt=packages())
    assert module.owner("docker-registry") == "root"
    assert load(checkout, "registry_host", salt=packages()).owner("docker-registry") == "docker-registry"


def test_a_condition_forgets_the_failed_command_before_it(checkout):
    # Salt would skip the state, whatever the condition says.
    for name in ("registry_host", "registry_engine"):
        module = load(checkout, name, salt={**packages(), "registry_host.skips_configuration": lambda: False})
        module.__context__["retcode"] = 3
        module.should_manage("package")
        assert module.__context__["retcode"] == 0


def test_what_was_found_first_in_a_run_stays(checkout, monkeypatch):
    answers = iter([False, True])
    module = load(checkout, "registry_host", pillar={"local": {"host": "127.0.0.1"}}, salt=packages())
    monkeypatch.setattr(module.found.commands, "holds_anything", lambda settings: next(answers))
    # The service that starts in between may find the images of a bucket or of an earlier installation.
    assert [module.skips_configuration(), module.skips_configuration()] == [False, False]


def test_force_looks_no_further(checkout, monkeypatch):
    module = load(checkout, "registry_host", pillar={"force": True}, salt=packages())
    monkeypatch.delattr(module.found.commands, "holds_anything")
    assert not module.skips_configuration()


def test_a_mistake_in_the_pillar_is_an_error_of_salts(checkout):
    module = load(checkout, "registry_host", pillar={"force": "yes"}, salt=packages())
    with pytest.raises(CommandExecutionError, match=r"^docker_registry:force: 'yes' is a string"):
        module.should_manage("package")


@pytest.fixture
def engine_host(checkout, monkeypatch):
    """Return a function that makes a host with these files and programs."""

    def make(files, *, insecure=("mirror:5000",), programs=("dockerd",), engine=None, grains=None):
        salt = {
            "registry_host.skips_configuration": lambda: False,
            "registry_undercloud.is_undercloud": lambda: False,
            "file.file_exists": files.__contains__,
            "file.read": lambda path, binary: files[path].encode(),
        }
        monkeypatch.setattr("salt.utils.path.which", programs.__contains__)
        module = load(checkout, "registry_engine", pillar={"engine": engine or {}}, salt=salt, grains=grains)
        module.insecure = lambda: list(insecure)
        monkeypatch.setattr(module.docker, "running_process", lambda: (0, []))
        return module

    return make


REGISTRIES_CONF = "/etc/containers/registries.conf.d/docker_registry.conf"
SYSCONFIG, DAEMON = "/etc/sysconfig/docker", "/etc/docker/daemon.json"
EL7 = {"os_family": "RedHat", "osmajorrelease": 7}


@pytest.mark.parametrize(
    ("files", "grains", "programs", "expected"),
    [
        ({}, None, ["dockerd"], {"daemon"}),
        ({SYSCONFIG: ""}, None, ["dockerd"], {"sysconfig"}),
        ({SYSCONFIG: "", DAEMON: '{"debug": true}'}, None, ["dockerd"], {"sysconfig"}),
        ({SYSCONFIG: "", DAEMON: '{"insecure-registries": []}'}, None, ["dockerd"], {"daemon"}),
        ({SYSCONFIG: "INSECURE_REGISTRY='--insecure-registry mirror:5000'"}, None, ["dockerd"], set()),
        ({DAEMON: '{"insecure-registries": ["mirror:5000"]}'}, None, ["dockerd"], set()),
        ({SYSCONFIG: ""}, EL7, ["dockerd-current"], {"sysconfig"}),
        ({}, None, [], set()),
        ({}, None, ["podman"], {"podman"}),
        ({}, None, ["podman", "dockerd"], {"podman", "daemon"}),
    ],
)
def test_one_file_of_docker_is_written_and_only_where_something_is_missing(
    files, grains, programs, expected, engine_host
):
    module = engine_host(files, programs=programs, grains=grains)
    assert {what for what in ("sysconfig", "daemon", "podman") if module.should_manage(what)} == expected


EL8 = {"os_family": "RedHat", "osmajorrelease": 8}


@pytest.mark.parametrize(
    ("grains", "engine", "expected"),
    [
        (EL7, {}, True),
        (EL7, {"install": "auto"}, True),
        (EL7, {"install": False}, False),
        (EL7, {"manage": "podman"}, False),
        (EL7, {"manage": "none"}, False),
        (EL8, {}, False),
        (EL8, {"install": True}, True),
        (None, {}, False),
        (None, {"install": True}, True),
    ],
)
def test_docker_is_installed_on_enterprise_linux_7_and_where_the_pillar_says(
    grains, engine, expected, engine_host
):
    module = engine_host({}, programs=[], engine=engine, grains=grains)
    assert module.installs() == expected
    assert module.should_manage("package") == expected
    # What is installed is told of the registries in the same run.
    assert module.manages("docker") == expected


@pytest.mark.parametrize(("grains", "expected"), [(None, "daemon"), (EL7, "sysconfig")])
def test_a_plan_names_the_file_that_the_package_will_bring(grains, expected, engine_host):
    module = engine_host({}, programs=[], engine={"install": True}, grains=grains)
    assert module.should_manage("package")
    assert module.should_manage(expected)


def test_with_tls_that_is_verified_nothing_is_insecure(engine_host):
    module = engine_host({SYSCONFIG: ""}, insecure=[], programs=["dockerd", "podman"])
    assert not any(module.should_manage(what) for what in ("sysconfig", "daemon", "podman"))


def test_what_podman_was_told_before_the_registry_had_tls_is_taken_back(engine_host):
    old = '[[registry]]\nlocation = "mirror:5000"\ninsecure = true\n'
    module = engine_host({REGISTRIES_CONF: old}, insecure=[], programs=["podman"])
    assert module.should_manage("podman")
    assert "[[registry]]" not in module.text("podman")


def test_docker_is_not_installed_where_another_engine_is_managed(engine_host):
    assert not engine_host({}, engine={"install": True, "manage": "podman"}).installs()
    assert engine_host({}, engine={"install": True, "manage": "docker"}).installs()


def test_what_engines_pull_from_is_insecure_only_without_tls_or_verification(checkout):
    def insecure(grains=EL7, **upstream):
        pillar = {"local": {"host": "m"}, "images": ["cron"], "upstream": {"host": "u", **upstream}}
        return load(checkout, "registry_engine", pillar=pillar, salt=packages(), grains=grains).insecure()

    assert insecure() == ["m:5000"]
    assert insecure(tls=False, port=80) == ["m:5000", "u:80"]
    assert insecure(verify=False) == ["m:5000", "u:443"]
    assert insecure(verify="/ca.pem") == ["m:5000"]
    assert insecure(grains=None, verify=False) == ["m:5000"]


def test_authorities_come_from_the_pillar_or_from_a_file(checkout):
    text = "-----BEGIN CERTIFICATE-----\nx\n"
    salt = {
        **packages(),
        "file.file_exists": lambda path: True,
        "file.read": lambda path, binary: f"read {path}".encode(),
    }
    pillar = {
        "local": {"host": "m", "tls": True, "verify": "/ours.pem"},
        "upstream": {"host": "u", "verify": "/theirs.pem"},
        "images": ["cron"],
    }
    module = load(checkout, "registry_engine", pillar=pillar, salt=salt, grains=EL7)
    assert module.authorities() == {"m:5000": "read /ours.pem", "u:443": "read /theirs.pem"}
    module = load(checkout, "registry_engine", pillar=pillar, salt=salt)
    assert module.authorities() == {"m:5000": "read /ours.pem"}
    pillar["registry"] = {"tls": {"ca": text}}
    module = load(checkout, "registry_engine", pillar=pillar, salt=salt)
    assert module.authorities()["m:5000"] == text
    assert load(checkout, "registry_engine", salt=salt).authorities() == {}


def test_what_former_versions_have_saved_is_read(checkout):
    former = (
        '{"package": "docker-registry", "service": {"runs": true, "enabled": false}, '
        '"files": {"/etc/docker/registry/config.yml": null}}'
    )
    files = {"/var/lib/docker_registry/before.json": former}
    salt = {"file.file_exists": files.__contains__, "file.read": files.__getitem__}
    module = load(checkout, "registry_backup", salt=salt)
    assert module.saved_state()["service"] == {"runs": True, "enabled": False}
    assert module.installed("docker-registry")
    del files["/var/lib/docker_registry/before.json"]
    assert module.saved_state() == {}


def test_what_former_versions_have_put_into_the_mine_is_read(checkout):
    ca = "-----BEGIN CERTIFICATE-----\nx\n"
    mine = {("mirror", "docker_registry_authority"): {"mirror": ca}}
    salt = {
        **packages(),
        "mine.get": lambda minion, function, tgt_type: mine.get((minion, function), {}),
    }
    module = load(checkout, "registry_tls", pillar={"local": {"host": "mirror"}}, salt=salt)
    assert module.published_ca() == ca


NFT = {
    "shut": [{"chain": {"name": "input", "hook": "input", "policy": "drop"}}],
    "open": [{"chain": {"name": "input", "hook": "input", "policy": "accept"}}],
    # As fail2ban does: some are banned, nobody else.
    "bans": [
        {"chain": {"name": "input", "hook": "input", "policy": "accept"}},
        {
            "rule": {
                "chain": "input",
                "handle": 3,
                "expr": [
                    {
                        "match": {
                            "op": "==",
                            "left": {"payload": {"protocol": "ip", "field": "saddr"}},
                            "right": "@banned",
                        }
                    },
                    {"drop": None},
                ],
            }
        },
    ],
}


def nft(kind, family="inet"):
    """Answer as nft does where these rules are active."""
    objects = [
        {name: {"family": family, "table": "filter", **item} for name, item in each.items()}
        for each in NFT[kind]
    ]
    return json.dumps({"nftables": objects})


@pytest.fixture
def firewall_of(checkout, monkeypatch):
    """Return a function that makes the firewall module of a host with these programs."""

    def make(outputs, *, files=(), pillar=None, grains=None, check="", run=None):
        def run_stdout(command, **_):
            return outputs.get(command[0], "")

        def run_all(command, stdin="", **_):
            if run is not None and command[1:] == ["--file", "-"]:
                run.extend(stdin.splitlines())
                return {"retcode": 0, "stdout": "", "stderr": ""}
            stdout = outputs["nft"] if "--json" in command else outputs.get("nft list", "")
            error = check if "--check" in command else "" if stdout.startswith("{") else "Error: no JSON"
            return {"retcode": int(bool(error)), "stdout": stdout, "stderr": error}

        texts = files if isinstance(files, dict) else dict.fromkeys(files, "")
        monkeypatch.setattr("salt.utils.path.which", outputs.__contains__)
        salt = {
            "cmd.run_stdout": run_stdout,
            "cmd.run_all": run_all,
            "registry_host.port": lambda: 5000,
            "file.file_exists": texts.__contains__,
            "file.read": texts.__getitem__,
            "file.write": lambda path, text: texts.update({path: f"{text}\n"}),
            "iptables.version": lambda: "",
            "iptables.delete": lambda *_, **__: "",
            "iptables.insert": lambda *_, **__: "",
            "nftables.version": lambda: "",
        }
        return load(checkout, "registry_firewall", pillar=pillar, salt=salt, grains=grains)

    return make


WALL = "-P INPUT DROP\n"
NO_WALL = "-P INPUT ACCEPT\n"


@pytest.mark.parametrize(
    ("outputs", "kinds"),
    [
        ({}, []),
        ({"iptables": NO_WALL}, []),
        ({"iptables": WALL}, ["iptables"]),
        ({"nft": nft("open")}, []),
        ({"nft": nft("bans")}, []),
        ({"nft": nft("shut")}, ["nftables"]),
        ({"nft": nft("shut"), "iptables": NO_WALL}, ["nftables"]),
        ({"nft": nft("shut"), "iptables": WALL}, ["iptables", "nftables"]),
        # The tables that iptables makes, and those it does not understand.
        ({"nft": nft("shut", "ip"), "iptables": WALL}, ["iptables"]),
        ({"nft": nft("shut", "ip6"), "iptables": NO_WALL, "ip6tables": WALL}, ["iptables"]),
        ({"nft": nft("shut", "ip"), "iptables": ""}, ["nftables"]),
        # An iptables that keeps its rules elsewhere, as the legacy one does.
        ({"nft": nft("shut", "ip"), "iptables": NO_WALL}, ["nftables"]),
        # Nobody is let ask, as in a container.
        ({"nft": ""}, []),
    ],
)
def test_the_port_is_opened_in_each_firewall_that_refuses_it(outputs, kinds, firewall_of):
    assert firewall_of(outputs).kinds() == kinds


def test_the_port_of_signatures_is_opened_beside_the_registrys(firewall_of):
    run = []
    served = {"signatures": {"serve": 5001}}
    module = firewall_of({"nft": nft("shut")}, files=["/etc/nftables.conf"], pillar=served, run=run)
    assert module.ports() == [5000, 5001]
    assert not module.is_open()
    module.open_()
    assert [line.partition(" accept")[0] for line in run] == [
        "insert rule inet filter input tcp dport 5000",
        "insert rule inet filter input tcp dport 5001",
    ]


def test_iptables_has_a_rule_for_each_port_and_only_these(firewall_of):
    rule = "-p tcp -m tcp --dport {} -m comment --comment salt-docker-registry -j ACCEPT"
    active = WALL + "".join(f"-A INPUT {rule.format(port)}\n" for port in (5000, 5001))
    served = {"signatures": {"serve": 5001}}
    assert firewall_of({"iptables": active}, pillar=served).is_open()
    assert not firewall_of({"iptables": active}).is_open()
    assert not firewall_of({"iptables": active}, pillar={"signatures": {"serve": 5002}}).is_open()


OURS = "-A INPUT -p tcp -m tcp --dport 5000 -m comment --comment salt-docker-registry -j ACCEPT\n"
SAVED_IPV4, SAVED_IPV6 = "/etc/iptables/rules.v4", "/etc/iptables/rules.v6"


def test_a_rule_is_saved_for_ipv6_too_where_the_site_filters_ipv4_alone(firewall_of):
    files = {SAVED_IPV4: f"*filter\n{OURS}-A INPUT -j REJECT\nCOMMIT\n", SAVED_IPV6: ""}
    module = firewall_of({"iptables": f"{OURS}-A INPUT -j REJECT\n", "ip6tables": OURS}, files=files)
    assert not module.is_open()
    module.open_()
    assert module.is_open()
    assert files[SAVED_IPV6].startswith(f"*filter\n{OURS}COMMIT\n")
    module.close()
    assert files == {SAVED_IPV4: "*filter\n-A INPUT -j REJECT\nCOMMIT\n", SAVED_IPV6: "\n"}


def test_a_rule_that_the_site_has_saved_with_counters_is_found_and_removed(firewall_of):
    files = {SAVED_IPV4: f"*filter\n[7:420] {OURS}[3:180] -A INPUT -j REJECT\nCOMMIT\n"}
    module = firewall_of({"iptables": f"{OURS}-A INPUT -j REJECT\n"}, files=files)
    assert module.is_open()
    module.close()
    assert files == {SAVED_IPV4: "*filter\n[3:180] -A INPUT -j REJECT\nCOMMIT\n"}


def test_rules_of_nftables_that_cannot_be_read_are_an_error_with_the_rule_to_add(firewall_of):
    module = firewall_of({"nft": "", "nft list": "type filter hook input priority 0"})
    with pytest.raises(CommandExecutionError, match=r"be read \(no JSON\).*add 'tcp dport 5000 accept'"):
        module.kinds()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({}, "there is no file of rules that nftables.service would load"),
        ({"grains": {"os_family": "Suse"}, "files": ["/etc/nftables.conf"]}, "there is no file of rules"),
        (
            {"files": ["/etc/nftables.conf"], "check": "/dev/stdin:3:1-6: Error: No such table\ninsert"},
            "once /etc/nftables.conf is loaded, nft says: No",
        ),
    ],
)
def test_a_rule_of_nftables_that_no_boot_brings_back_is_an_error_with_the_rule_to_add(
    where, said, firewall_of
):
    module = firewall_of({"nft": nft("shut")}, **where)
    with pytest.raises(CommandExecutionError, match=f"{said}.*add 'tcp dport 5000 accept' to the chain"):
        module.is_open()


def test_a_choice_that_leaves_the_port_shut_is_an_error(firewall_of):
    module = firewall_of({"nft": nft("shut"), "iptables": WALL}, pillar={"firewall": "iptables"})
    with pytest.raises(
        CommandExecutionError, match=r"nftables refuses connections to port 5000 .* auto opens"
    ):
        module.is_open()


def test_a_choice_that_names_not_all_that_filters_is_a_warning(firewall_of):
    module = firewall_of({"nft": nft("shut"), "iptables": WALL}, pillar={"firewall": "nftables"})
    assert [warning.split(",")[0] for warning in module.warnings()] == ["iptables filters here"]


def test_a_site_that_opens_the_port_itself_gets_no_warning(firewall_of):
    module = firewall_of({"nft": nft("shut"), "iptables": WALL}, pillar={"firewall": "none"})
    assert (module.kinds(), module.is_open(), module.warnings()) == ([], True, [])


EL9 = {"os_family": "RedHat", "osmajorrelease": 9}


@pytest.mark.parametrize(
    ("grains", "files", "said"),
    [
        (None, [], "no /etc/iptables/rules.v4; install iptables-persistent and apply again"),
        (EL9, [], "no /etc/sysconfig/iptables; install iptables-services and apply again"),
        ({"os_family": "Suse"}, [], "knows no file of saved rules on this system"),
        (None, ["/etc/iptables/rules.v4"], ""),
    ],
)
def test_a_rule_that_no_boot_brings_back_is_a_warning(grains, files, said, firewall_of):
    module = firewall_of({"iptables": "-P INPUT DROP"}, files=files, grains=grains)
    warnings = module.warnings()
    assert len(warnings) == bool(said)
    assert all(said in warning and "is lost at the next boot" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("name", "function", "arguments", "sentence"),
    [
        ("registry_host", "should_manage", ["x"], "what: 'x' is a string; give one of package, quadlet, "),
        ("registry_host", "text", ["token"], "of: 'token' is a string; give one of certificate, key"),
        ("registry_lookaside", "should_manage", [5], "what: 5 is a number; give one of serve, "),
        (
            "registry_engine",
            "should_manage",
            ["x"],
            "what: 'x' is a string; give one of package, sys",
        ),
        ("registry_engine", "manages", ["rkt"], "engine: 'rkt' is a string; give one of docker, podman"),
        ("registry_engine", "text", [["daemon"]], "of: is a list; give one of sysconfig, daemon, "),
        ("registry_policy", "text", ["x", "/nowhere"], "of: 'x' is a string; give one of lookaside, "),
        ("registry_sync_actions", "pull", [5], "name: 5 is a number; give a string"),
        ("registry_sync_actions", "plan", [False, 5], "images_file: 5 is a number; give a string"),
        ("registry_sync_actions", "check", [False, "", 5], "environment: 5 is a number; give a string"),
        ("registry_sync_bundle", "export", ["/x", "", "", "local", 5], "images_file: 5 is a number; give "),
        ("registry_sync_begin", "convert", [5], "file: 5 is a number; give a string"),
        ("registry_sync", "runs", ["x"], "limit: 'x'; give a whole number, 0 for all"),
        ("registry_sync", "runs", [None], "limit: None; give a whole number, 0 for all"),
        ("registry_sync", "runs", [-1], "limit: -1; give a whole number, 0 for all"),
    ],
)
def test_a_bad_argument_is_one_sentence_with_its_name(name, function, arguments, sentence, checkout):
    module = load(checkout, name)
    module.__opts__ = {"cachedir": "/nowhere", "root_dir": "/", "test": True}
    with pytest.raises(CommandExecutionError) as mistake:
        getattr(module, function)(*arguments)
    assert str(mistake.value).startswith(sentence)


def test_a_monitor_is_told_of_a_bad_argument(checkout):
    module = load(checkout, "registry_sync_actions")
    module.__opts__ = {"cachedir": "/nowhere", "root_dir": "/", "test": True}
    assert module.check(brief=True, environment=5).startswith("UNKNOWN")
    assert module.__context__["retcode"] == 3
