"""A page to look at: one more function of ``registry_sync``.

With ``docker_registry:page`` each ``check`` and ``sync`` on the pillar's own list writes it, too. It is one
file of HTML that loads nothing: any web server gives it, and a browser opens it from a disk.
"""

from pathlib import Path

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_state_page as pages
import _registry_state_settings as checked

__virtualname__ = "registry_sync"


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_sync.py``."""
    return __virtualname__


def page(path="", refresh=True):
    """
    Write how the mirror stands as a page of HTML.

    It tells what is not in step first, since when and what to do; then all tags, the size of each repository,
    what the list does not name, the last runs, how to pull, signatures, the last verification, free space and
    when the registry's certificate ends. It holds no logins.

    With ``test=True`` nothing is written.

    Args:
        path: absolute path of the file; without it that of ``docker_registry:page``. Its directory exists. A
            symbolic link is followed within its directory alone.
        refresh: run ``check`` first; False: no registry is asked, and the page has what is remembered of the
            last run, without sizes and signatures.

    Returns:
        ``path`` and ``bytes``.

    Raises:
        CommandExecutionError: no path is given, the file cannot be written, or a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.page
        salt-call registry_sync.page path=/srv/www/mirror.html refresh=False
    """
    settings = checked.settings_of(__pillar__, __grains__, __salt__, __context__)
    target = str(path) or settings.page.path
    if not target.startswith("/"):
        raise CommandExecutionError("give the absolute path of a file as path, or set docker_registry:page")
    if __opts__.get("test"):
        return {"path": target, "bytes": 0}
    report = __salt__["registry_sync.check"]() if refresh else None
    __context__["retcode"] = 0
    try:
        written = pages.put_page(
            target,
            settings,
            report,
            directory=str(Path(__opts__["cachedir"]) / "registry_sync"),
            minion=__opts__["id"],
            functions=__salt__,
            written_by="registry_sync.page",
        )
    except OSError as failure:
        raise CommandExecutionError(f"{target}: not written: {failure}") from None
    return {"path": target, "bytes": written}
