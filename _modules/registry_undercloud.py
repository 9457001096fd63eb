"""
An OpenStack undercloud: whether this host is one, and what its own command line does for the mirror.

The pillar ``docker_registry:undercloud`` says how; see ``pillar.example`` and ``docs/undercloud.md``.
"""

from __future__ import annotations

import time
from pathlib import Path

import salt.utils.systemd
from salt.exceptions import CommandExecutionError

import _registry_config_minion as here
import _registry_state_settings as checked
import _registry_tripleo_files as uc
from _registry_config_read import SettingsError, read_undercloud

# Where the rest of a run finds the list that a plan has not written.
_PLANNED = "registry_undercloud.planned"
# A command that starts may load a hundred plugins from a slow disk; a list takes seconds, an upload hours.
_SECONDS_TO_PREPARE = 1800


def is_undercloud():
    """
    Whether this host is an undercloud, whose registry listens on 8787. It looks no further than the first
    thing of the profile that is missing.

    Returns:
        bool: what ``docker_registry:undercloud`` says, or with ``auto`` whether the whole profile is here.

    Raises:
        CommandExecutionError: the pillar has a mistake there.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_undercloud.is_undercloud
    """
    undercloud = _undercloud()
    if isinstance(undercloud.recognise, bool):
        return undercloud.recognise
    missing = next((thing for thing in uc.profile_of(undercloud) if not _is_here(*thing)), None)
    return uc.recognised(undercloud, [missing] if missing else [])


def recognise():
    """
    Look for everything in the profile of an undercloud.

    Returns:
        dict: ``undercloud`` (bool), ``found`` and ``missing`` (lists of *kind: name*), and ``comment``,
        one sentence.

    Raises:
        CommandExecutionError: the pillar has a mistake there.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_undercloud.recognise
    """
    undercloud = _undercloud()
    profile = uc.profile_of(undercloud)
    found = [thing for thing in profile if _is_here(*thing)]
    missing = [thing for thing in profile if thing not in found]
    return {
        "undercloud": uc.recognised(undercloud, missing),
        "found": [": ".join(thing) for thing in found],
        "missing": [": ".join(thing) for thing in missing],
        "comment": uc.recognition(undercloud, found, missing),
    }


def prepare(test=False):
    """
    Have the command line write the list of images and the environment that a deployment reads. Both are
    written beside the old ones first, and replace them only where they name something else.

    Args:
        test (bool): write neither.

    Returns:
        dict: ``command`` (its words after *openstack*), ``images`` (how many the list has) and ``files``:
        path → what it names anew (``added``) and no longer (``removed``), for files that change.

    Raises:
        CommandExecutionError: the user, stackrc or the command is absent, or the command failed; its
            stderr is in the text.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_undercloud.prepare test=True
    """
    settings = _settings()
    undercloud = settings.undercloud
    _refuse_what_cannot_run(undercloud)
    if not uc.tag_of(settings):
        raise CommandExecutionError(
            "docker_registry:undercloud:tag: give one; image_defaults:tags has patterns, and the command "
            "line wants a tag"
        )
    scratch = _run(undercloud, ["mktemp", "-d", undercloud.path(".docker_registry.XXXXXXXX")]).strip()
    try:
        newer = _offers(undercloud, uc.PREPARE_NEWER, uc.PREPARE_NEWER_OPTION, scratch)
        return (_prepare_newer if newer else _prepare)(settings, scratch, test)
    finally:
        _run(undercloud, ["rm", "-rf", "--", scratch])


def upload():
    """
    Have the command line copy its list into the local registry, by way of this host's docker.

    Returns:
        dict: ``command`` (its words after *openstack*) and ``seconds``.

    Raises:
        CommandExecutionError: as ``prepare``'s.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_undercloud.upload
    """
    undercloud = _settings().undercloud
    _refuse_what_cannot_run(undercloud)
    began = time.monotonic()
    words = uc.upload_words(undercloud)
    _openstack(undercloud, words, undercloud.directory, timeout=None)
    return {"command": words, "seconds": round(time.monotonic() - began, 3)}


def uploads():
    """
    Whether the command line is to copy the images, as ``docker_registry:undercloud:upload_with`` says.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_undercloud.uploads
    """
    settings = _settings()
    return settings.sync and settings.undercloud.upload_with == "openstack" and is_undercloud()


def prepares():
    """
    Whether the command line is to write the list, as ``docker_registry:undercloud:prepare`` says.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_undercloud.prepares
    """
    return _settings().undercloud.prepare and is_undercloud()


# How the two generations of the command line make the same two files


def _prepare(settings, scratch, test):
    undercloud = settings.undercloud
    words = uc.prepare_words(settings)
    if not _offers(undercloud, uc.PREPARE, uc.PREPARE_OPTION, scratch):
        raise CommandExecutionError(
            f"{undercloud.command} offers neither {' '.join(uc.PREPARE_NEWER)} nor {' '.join(uc.PREPARE)}; "
            "is python-tripleoclient installed?"
        )
    _openstack(undercloud, words, scratch)
    return _kept(settings, scratch, (undercloud.env_file, undercloud.images_file), words, test)


def _prepare_newer(settings, scratch, test):
    """Newer directors write no list; it is what their environment names without a destination."""
    undercloud = settings.undercloud
    upstream_names, local_names = ".upstream.yaml", undercloud.env_file
    words = []
    for parameter_file, destination, env_file in (
        (".upstream-parameter.yaml", "", upstream_names),
        (undercloud.parameter_file, settings.local.name, local_names),
    ):
        _write(undercloud, f"{scratch}/{parameter_file}", uc.parameter_text(settings, destination))
        words = uc.prepare_newer_words(undercloud, parameter_file, env_file)
        _openstack(undercloud, words, scratch)
    file = f"{scratch}/{upstream_names}"
    try:
        names = sorted(image.text for image in uc.wanted_images(_text(file), file))
    except uc.ListError as mistake:
        raise CommandExecutionError(str(mistake)) from None
    _write(undercloud, f"{scratch}/{undercloud.images_file}", uc.list_text(names, settings.local.name))
    files = (undercloud.parameter_file, undercloud.env_file, undercloud.images_file)
    return _kept(settings, scratch, files, words, test)


def _kept(settings, scratch, names, words, test):
    """Put the files that say something new where the operator looks for them."""
    undercloud = settings.undercloud
    listed = f"{scratch}/{undercloud.images_file}"
    try:
        listing = uc.listing_of(_text(listed), listed, settings, alone=True)
    except uc.ListError as mistake:
        raise CommandExecutionError(str(mistake)) from None
    # What is planned next in this run is planned of the list that is not written.
    __context__[_PLANNED] = _text(listed) if test else ""
    files = {}
    for name in names:
        path = undercloud.path(name)
        changes = uc.changes(_text(path), _text(f"{scratch}/{name}"))
        if changes:
            files[path] = changes
            if not test:
                _run(undercloud, ["mv", "-f", "--", f"{scratch}/{name}", path])
    return {"command": words, "images": len(listing.entries), "files": files}


# The command line and its user


def _refuse_what_cannot_run(undercloud):
    user = __salt__["user.info"](undercloud.user)
    if not user:
        raise CommandExecutionError(
            f"docker_registry:undercloud:user: there is no user {undercloud.user} here"
        )
    for key, kind in (("stackrc", "file"), ("directory", "directory")):
        path = getattr(undercloud, key)
        if not __salt__[f"file.{kind}_exists"](path):
            raise CommandExecutionError(f"docker_registry:undercloud:{key}: there is no {kind} {path}")


def _offers(undercloud, command, option, directory):
    """Whether the command's help names an option; its return code is 0 also where it only guesses."""
    ran = _ran(undercloud, uc.sourced(undercloud, [*command, "--help"]), directory)
    _refuse_absent(undercloud, ran)
    return option in ran["stdout"]


def _openstack(undercloud, words, directory, timeout=_SECONDS_TO_PREPARE):
    ran = _ran(undercloud, uc.sourced(undercloud, words), directory, timeout)
    _refuse_absent(undercloud, ran)
    if ran["retcode"] != 0:
        command = " ".join(word for word in words if not word.startswith("-"))
        raise CommandExecutionError(
            f"openstack {command} failed ({ran['retcode']}): {uc.complaint(ran['stderr'])}"
        )


def _refuse_absent(undercloud, ran):
    # What a shell answers, of a command that it does not find or may not run.
    if ran["retcode"] in (126, 127):
        raise CommandExecutionError(
            f"docker_registry:undercloud:command: user {undercloud.user} cannot run {undercloud.command}: "
            f"{uc.complaint(ran['stderr'])}"
        )


def _run(undercloud, command, stdin=None):
    ran = _ran(undercloud, command, undercloud.directory, stdin=stdin)
    if ran["retcode"] != 0:
        raise CommandExecutionError(
            f"user {undercloud.user} cannot {command[0]} in {undercloud.directory}: {ran['stderr']}"
        )
    return ran["stdout"]


def _ran(undercloud, command, directory, timeout=_SECONDS_TO_PREPARE, stdin=None):
    return __salt__["cmd.run_all"](
        command,
        runas=undercloud.user,
        cwd=directory,
        python_shell=False,
        stdin=stdin,
        timeout=timeout,
        ignore_retcode=True,
        output_loglevel="debug",
    )


def _write(undercloud, path, text):
    _run(undercloud, ["tee", "--", path], stdin=text)


def _text(path):
    return __salt__["file.read"](path) if __salt__["file.file_exists"](path) else ""


# This host


def _is_here(kind, name):
    return _LOOKS[kind](name)


_LOOKS = {
    "directories": lambda name: __salt__["file.directory_exists"](name),
    "files": lambda name: __salt__["file.file_exists"](name),
    "packages": lambda name: uc.is_among(name, __salt__["pkg.list_pkgs"]()),
    "services": lambda name: uc.is_among(name, _services()),
}


def _services():
    if __grains__["os_family"] == "Debian" and not salt.utils.systemd.booted(__context__):
        # Salt would first ask for a runlevel, and have it in its log as an error that there is none.
        return [path.name for path in Path("/etc/init.d").glob("*")]
    return __salt__["service.get_all"]() if "service.get_all" in __salt__ else []


def _undercloud():
    # Read before all else: the defaults of the other settings depend on it.
    try:
        return read_undercloud(here.pillar_of(__pillar__.get("docker_registry"), __salt__, __context__))
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None


def _settings():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__)
