"""What the process's environment says about the way to registries: proxies and files with logins.

It is read here, once, and handed on as values: what runs in threads and tests never looks around.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Environment:
    """What is so unless the pillar says otherwise.

    Args:
        auth_files: where podman and docker keep logins, in the order in which they are asked.
        http_proxy: URL of the proxy to plain-HTTP servers; it may hold a password.
        https_proxy: the same to HTTPS servers.
        no_proxy: hosts to be reached directly, separated by commas.
    """

    auth_files: tuple[str, ...] = ()
    http_proxy: str = field(default="", repr=False)
    https_proxy: str = field(default="", repr=False)
    no_proxy: str = ""


def process_environment() -> Environment:
    """The environment of this process and of the user it runs as."""
    user = os.getuid()
    try:
        home = pwd.getpwuid(user).pw_dir
    except KeyError:
        home = "/"
    return read_environment(os.environ, home=home, user=user)


def read_environment(variables: Mapping[str, str], *, home: str, user: int) -> Environment:
    """Take from environment variables what matters here.

    Args:
        variables: of the environment.
        home: the home directory where ``HOME`` is not set, as in a minion that systemd started.
        user: the numeric id, part of podman's default path.
    """
    home = variables.get("HOME") or home
    any_proxy = _either_case(variables, "all_proxy")
    return Environment(
        auth_files=tuple(
            dict.fromkeys([*_podman_files(variables, home, user), *_docker_files(variables, home)])
        ),
        http_proxy=_either_case(variables, "http_proxy") or any_proxy,
        https_proxy=_either_case(variables, "https_proxy") or any_proxy,
        no_proxy=_either_case(variables, "no_proxy"),
    )


def _podman_files(variables: Mapping[str, str], home: str, user: int) -> list[str]:
    """https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md."""
    named = variables.get("REGISTRY_AUTH_FILE")
    if named:
        return [named]
    # A minion that systemd started has no XDG_RUNTIME_DIR; a root that logged in has one.
    runtime = [variables["XDG_RUNTIME_DIR"]] if variables.get("XDG_RUNTIME_DIR") else []
    config = variables.get("XDG_CONFIG_HOME") or f"{home}/.config"
    directories = [
        *(f"{path}/containers" for path in runtime),
        f"/run/containers/{user}",
        f"{config}/containers",
    ]
    return [f"{directory}/auth.json" for directory in directories]


def _docker_files(variables: Mapping[str, str], home: str) -> list[str]:
    """https://docs.docker.com/reference/cli/docker/#environment-variables."""
    return [f"{variables.get('DOCKER_CONFIG') or home + '/.docker'}/config.json"]


def _either_case(variables: Mapping[str, str], name: str) -> str:
    # Lower case first, as curl has it.
    return variables.get(name) or variables.get(name.upper()) or ""
