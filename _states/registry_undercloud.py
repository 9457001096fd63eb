"""
States of an OpenStack undercloud: what it was recognised by, its list of images, and their upload.

All do nothing on a host that is no undercloud, and take what they need from the pillar
``docker_registry:undercloud``.
"""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret


def recognised(name):
    """
    Say whether this host is an undercloud, and what of its profile was found and missing.

    Args:
        name (str): any.

    Returns:
        dict: result False only where the pillar has a mistake.

    .. code-block:: yaml

        Undercloud is recognised:
          registry_undercloud.recognised: []
    """
    try:
        return _ret(name, True, __salt__["registry_undercloud.recognise"]()["comment"])
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))


def prepared(name):
    """
    Have the list of images and the environment for the deployment, as the command line writes them. In
    test mode it is run as well, but the files of the operator stay.

    Args:
        name (str): any.

    Returns:
        dict: changes are, for each file, what it names anew and no longer.

    .. code-block:: yaml

        Undercloud image list is prepared:
          registry_undercloud.prepared: []
    """
    try:
        if not __salt__["registry_undercloud.prepares"]():
            return _ret(name, True, "Nothing to prepare on this host")
        done = __salt__["registry_undercloud.prepare"](test=__opts__["test"])
    except CommandExecutionError as failure:
        return _ret(name, False, str(failure))
    command = f"openstack {' '.join(word for word in done['command'] if not word.startswith('-'))}"
    if not done["files"]:
        return _ret(name, True, f"{command} names the {done['images']} images that the files have")
    files = " and ".join(done["files"])
    if __opts__["test"]:
        return _ret(name, None, f"{command} would change {files}", done["files"])
    return _ret(name, True, f"{command} named {done['images']} images in {files}", done["files"])


def uploaded(name):
    """
    Have the command line copy the images that are missing or stale, where
    ``docker_registry:undercloud:upload_with`` is ``openstack``.

    Args:
        name (str): any.

    Returns:
        dict: changes are the tags that moved, each with its old and new digest.

    .. code-block:: yaml

        Undercloud images are uploaded:
          registry_undercloud.uploaded: []
    """
    try:
        if not __salt__["registry_undercloud.uploads"]():
            return _ret(name, True, "The command line of OpenStack has nothing to upload on this host")
        lacking = _lacking(__salt__["registry_sync.plan"](fresh=__opts__["test"]))
        if not lacking:
            return _ret(name, True, "All images are there already")
        if __opts__["test"]:
            return _ret(
                name, None, f"Would upload {_tags(len(lacking))}", _moved(lacking, lacking, "upstream")
            )
        done = __salt__["registry_undercloud.upload"]()
        after = __salt__["registry_sync.plan"]()
    except CommandExecutionError as failure:
        return _ret(name, False, str(failure))
    moved, left = _moved(lacking, after["images"], "local"), _lacking(after)
    took = f"{done['seconds']:.1f} s"
    comment = f"openstack overcloud container image upload copied {_tags(len(moved))} ({took})"
    if left:
        comment += f"; {_tags(len(left))} left for registry_sync, such as {next(iter(left))}"
    if any(tag in left for tag in moved):
        comment += " (docker may have written a manifest anew, which then has another digest)"
    return _ret(name, True, comment, moved)


def _moved(before, after, side):
    """Tags that have another digest than before, or will have."""
    pairs = {tag: {"old": image["local"], "new": after[tag][side]} for tag, image in before.items()}
    return {tag: pair for tag, pair in pairs.items() if pair["old"] != pair["new"]}


def _lacking(report):
    return {tag: image for tag, image in report["images"].items() if image["status"] in ("missing", "stale")}


def _tags(count):
    return f"{count} {'tag' if count == 1 else 'tags'}"
