"""Free the space that nothing needs, with docker-distribution's own ``garbage-collect``.

The registry that clients pull from goes on; it is read-only and caches nothing. Only the service through
which this host pushes is stopped. Never ``garbage-collect -m``: it takes the images that indexes name.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from _registry_http_endpoint import Endpoint, Transfer
from _registry_http_retry import Pace, Run
from _registry_oci_errors import NotFound, RegistryError
from _registry_store_disk import DiskStore
from _registry_store_remote import RemoteStore
from _registry_sync_collect import Collected, Sweep, View, damage, doubts, read_output, some
from _registry_sync_collect_disk import Lease, empty_repositories, look, remove_repository, sweep_aside
from _registry_sync_collect_window import (
    CollectError,
    Held,
    Pushes,
    Window,
    locked,
    recover,
    without_pushes,
)

# Far above what the largest local disk takes; it ends what hangs, so that pushes do not wait for ever.
_SECONDS_TO_COLLECT = 3600.0
# Of a push that writes a link or a manifest just now.
_SECONDS_TO_SETTLE = 1.0


@dataclass(frozen=True)
class Collector:
    """The registry's own program.

    Args:
        command: words before ``--dry-run`` and the configuration.
        config: path of the configuration of the service through which this host pushes.
        user: whom it runs as; empty = as we do.
        group: and its group.
    """

    command: Sequence[str]
    config: str
    user: str = ""
    group: str = ""

    def run(self, *, dry: bool, lock: int = -1) -> Sweep:
        """Run it to its end.

        Args:
            dry: it only says what it would do.
            lock: descriptor of a locked file, which stays locked while the program runs.

        Raises:
            CollectError: it does not run, or ends with a failure.
        """
        arguments = [*self.command, *["--dry-run"] * dry, self.config]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            try:
                process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    encoding="utf-8",
                    errors="replace",
                    env=_environment(),
                    pass_fds=[lock] * (lock >= 0),
                    # A Ctrl-C is for us alone: we begin nothing more, and end what has begun.
                    start_new_session=True,
                    cwd="/",
                    **self._identity(),
                )
            except (OSError, KeyError, LookupError) as failure:
                raise CollectError(f"{self.command[0]} cannot be run: {failure}") from None
            try:
                sweep, code = _read(process)
            except BaseException:
                # Nobody may push before it has ended.
                process.terminate()
                process.wait()
                raise
            if code:
                said.seek(0)
                last = said.read()[-4000:].strip().splitlines() or [""]
                raise CollectError(f"garbage-collect has ended with {code}: {last[-1][:300]}")
        return sweep

    def _identity(self) -> dict[str, Any]:
        if not self.user or os.geteuid() != 0:
            return {}
        return {"user": self.user, "group": self.group or None, "extra_groups": []}


def _environment() -> dict[str, str]:
    """REGISTRY_STORAGE_… would have another disk collected than the configuration names."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}


def _read(process: subprocess.Popen[str]) -> tuple[Sweep, int]:
    deadline = threading.Timer(_SECONDS_TO_COLLECT, process.terminate)
    deadline.daemon = True
    deadline.start()
    assert process.stdout is not None
    with process.stdout:
        sweep = read_output(process.stdout)
    code = process.wait()
    deadline.cancel()
    return sweep, code


@dataclass(frozen=True)
class Site:
    """What space is freed of, and how.

    Args:
        storage: the registry's storage directory.
        pushes: the service through which this host pushes.
        collector: the registry's own program.
        lock: path of the file that is locked meanwhile.
        grace: seconds that a blob stays which nothing names yet.
        repositories: whether empty ones go.
        clock: seconds since 1970.
    """

    storage: str
    pushes: Pushes
    collector: Collector
    lock: str
    grace: float
    repositories: bool = False
    clock: Callable[[], float] = time.time


def foresee(site: Site) -> Collected:
    """Say what could be freed now, and change nothing; pushes go on.

    Args:
        site: the registry.
    """
    try:
        disk = DiskStore(site.storage)
        view = _sound_view(disk, site)
        sweep = site.collector.run(dry=True)
        found = _described(view, sweep.swept & view.loose)
        found.refused = doubts(view, sweep)
        if site.repositories:
            found.repositories = empty_repositories(disk, view, site.grace, site.clock())
    except RegistryError as failure:
        return Collected(refused=str(failure))
    return found


def collect(site: Site) -> Collected:
    """Free the space.

    Pushes wait while it is read again what lies there, compared and freed.

    Args:
        site: the registry.
    """
    found = Collected()
    try:
        recover(site.lock, site.pushes)
        with locked(site.lock) as held:
            disk = DiskStore(site.storage)
            Lease(disk).remove()
            sweep_aside(disk)
            # What stands against it is found while pushes go on.
            _sound_view(disk, site)
            found = _in_a_window(disk, site, held)
    except RegistryError as failure:
        found.refused = str(failure)
    return found


def _sound_view(disk: DiskStore, site: Site) -> View:
    """What lies on the disk, if all of it can be read.

    Raises:
        CollectError: it cannot, and not because a push writes just now.
    """
    view = look(disk, site.grace, site.clock())
    if damage(view.mark):
        time.sleep(_SECONDS_TO_SETTLE)
        view = look(disk, site.grace, site.clock())
    if reason := damage(view.mark):
        raise CollectError(reason)
    return view


def _described(view: View, freed: set[str] | frozenset[str]) -> Collected:
    return Collected(
        manifests=len(view.mark.manifests),
        blobs=len(freed),
        size=view.size_of(freed),
        leased=len(view.young),
    )


def _in_a_window(disk: DiskStore, site: Site, held: Held) -> Collected:
    """Free it while nobody can push; whatever fails, pushes are started again and the lease is gone."""
    found, window = Collected(), Window()
    try:
        with without_pushes(held, site.pushes, window):
            lease = Lease(disk)
            try:
                found = _compared_and_freed(disk, site, held, lease)
            finally:
                lease.remove()
    except RegistryError as failure:
        found.error = _joined(found.error, str(failure))
    found.read_only_seconds = window.seconds
    return found


def _compared_and_freed(disk: DiskStore, site: Site, held: Held, lease: Lease) -> Collected:
    try:
        view = _sound_view(disk, site)
        unprotected = _lease(lease, view)
        planned = site.collector.run(dry=True, lock=held.descriptor)
        if reason := doubts(view, planned, lease.digests):
            raise CollectError(_joined(reason, unprotected))
    except RegistryError as failure:
        return Collected(refused=str(failure))
    return _freed(disk, site, held, view, planned)


def _lease(lease: Lease, view: View) -> str:
    """Name what must stay; a disk that is too full for that may be freed where nothing of it is in danger.

    Returns:
        Why it could not be done; empty where it was.
    """
    try:
        lease.write(view.kept)
    except CollectError as failure:
        lease.remove()
        return str(failure)
    return ""


def _freed(disk: DiskStore, site: Site, held: Held, view: View, planned: Sweep) -> Collected:
    error = ""
    try:
        done = site.collector.run(dry=False, lock=held.descriptor)
        if done.swept != planned.swept:
            error = f"garbage-collect took {some(sorted(done.swept ^ planned.swept))} unlike its dry run"
    except CollectError as failure:
        error = str(failure)
    gone = {digest for digest in planned.swept if disk.blob(digest) is None}
    lost = sorted(digest for digest in view.kept & view.blobs.keys() if disk.blob(digest) is None)
    found = _described(view, gone)
    found.error = _joined(
        error,
        f"gone, though it is needed: {some(lost)}" if lost else "",
        f"{site.pushes.name} was started meanwhile, what it was sent may lack blobs" * site.pushes.runs(),
    )
    if site.repositories and not found.error:
        _remove_empty(disk, site, view, found)
    return found


def _remove_empty(disk: DiskStore, site: Site, view: View, found: Collected) -> None:
    for name in empty_repositories(disk, view, site.grace, site.clock()):
        try:
            remove_repository(disk, name)
        except CollectError as failure:
            found.error = _joined(found.error, str(failure))
        else:
            found.repositories.append(name)


def _joined(*sentences: str) -> str:
    return "; ".join(filter(None, sentences))


def takes_writes(local: Endpoint, storage: str) -> bool:
    """Whether clients of the network may change the registry, whatever its configuration says by now.

    It is asked to delete what cannot be there.

    Args:
        local: where clients reach it.
        storage: its storage directory.
    """
    repository = next(DiskStore(storage).repositories(), "")
    if not repository:
        return False
    store = RemoteStore(local, Pace(Run(Transfer(retries=0))))
    try:
        store.delete(repository, f"sha256:{'0' * 64}")
    except NotFound:
        return True
    except RegistryError:
        # Read-only, as it should be; or it does not answer us, and so changes nothing.
        return False
    return True
