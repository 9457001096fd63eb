"""States of what podman, CRI-O and skopeo are told of signatures."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret

_LEFT_ALONE = "Nothing to configure on this host"


def managed(name, of):
    """
    Have a file say what the pillar wants of signatures; what is not ours in it stays.

    Args:
        name (str): path of the file.
        of (str): ``lookaside``, ``mirrors`` or ``policy``, as in ``registry_policy.text``.

    Returns:
        dict: as ``file.managed`` or, where nothing is to be in it, ``file.absent`` gives it; result False
        where the file, or one beside it, does not let us.

    .. code-block:: yaml

        Podman refuses what nobody has signed:
          registry_policy.managed:
            - name: /etc/containers/policy.json
            - of: policy
    """
    return _with_text(name, of, clean=False)


def absent(name, of):
    """
    Undo ``managed``: a file that was there before is as it was, unless others have changed it since.

    Args:
        name (str): path of the file.
        of (str): as in ``managed``.

    Returns:
        dict: as that of ``managed``.

    .. code-block:: yaml

        Podman refuses nothing for our sake:
          registry_policy.absent:
            - name: /etc/containers/policy.json
            - of: policy
    """
    return _with_text(name, of, clean=True)


def _with_text(name, of, clean):
    try:
        if not clean and not __salt__["registry_policy.manages"]():
            return _ret(name, True, _LEFT_ALONE)
        if not __salt__["registry_policy.concerns"](of, name, clean=clean):
            return _ret(name, True, f"{name} has nothing of ours")
        text = __salt__["registry_policy.text"](of, name, clean=clean)
        ret = _gone(name, of) if text is None else _written(name, of, clean, text)
    except CommandExecutionError as error:
        return _ret(name, False, str(error))
    warnings = [] if clean else __salt__["registry_policy.warnings"](of)
    return {**ret, "comment": ". ".join([ret["comment"], *(f"Warning: {each}" for each in warnings)])}


def _written(name, of, clean, text):
    # Before it is written: what is noted and is not there harms nobody.
    ours = not clean and _note(name, of)
    ends = text.endswith("\n")
    ret = __states__["file.managed"](name, contents=text, contents_newline=ends, makedirs=True)
    if not ours:
        _forget(name, of, ret)
    return ret


def _gone(name, of):
    there = __salt__["file.file_exists"](name)
    ret = __states__["file.absent"](name) if there else _ret(name, True, f"There is no {name}")
    _forget(name, of, ret)
    return ret


def _note(name, of):
    return of == "policy" and not __opts__["test"] and __salt__["registry_policy.note"](name)


def _forget(name, of, ret):
    if of == "policy" and ret["result"] and not __opts__["test"]:
        __salt__["registry_policy.forget"](name)
