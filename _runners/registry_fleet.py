"""Many mirrors at a glance, brought up to date in waves: ``salt-run registry_fleet.…``.

Which minions are sites, and in which waves they come, stands in the master's configuration under
``registry_fleet``, as the formula's ``docs/fleet.md`` tells. Sites are asked for what their last ``check`` or
``sync`` has found (``registry_sync.last``); of one that is silent the mine may have its last word.

``salt-run saltutil.sync_all`` copies the runner to the master. What can be read in one glance is a table on a
terminal; ``--out=json`` gives the data.
"""

import contextlib
import importlib
import logging
import sys
from pathlib import Path

import salt.client
import salt.utils.event
import salt.utils.jid
import salt.utils.minions
from salt.exceptions import SaltClientError, SaltException, SaltReqTimeoutError

# Modules, not their functions: whatever function stands here is one of registry_fleet to Salt.
import _registry_fleet_config as config
import _registry_fleet_files as files
import _registry_fleet_publish as publishing
import _registry_fleet_report as reports
import _registry_fleet_returns as returns
import _registry_fleet_run as fleets
import _registry_fleet_waves as courses
import _registry_sync_snapshot as snapshots
from _registry_config_validators import SettingsError

log = logging.getLogger(__name__)

# A job that went out in spite of that is no harm: a second sync is kept out by the first, and waited for.
_BUSY_MASTER = (SaltClientError, SaltReqTimeoutError)
_TRIES = 3
_MISTAKES = (SettingsError, config.FleetError, SaltException, OSError)


def matrix(target="", fresh=False, brief=False):
    """
    Say how every site stands: who lags, who is silent, and which digest is where. Nothing is changed.

    Each site is asked once for the snapshot of its last run, which it reads from a file. Of silent ones the
    last word is taken from the mine. The page and the figures for Prometheus are written where the
    configuration names them.

    Args:
        target: which minions, a compound match; without it those of ``registry_fleet:target``.
        fresh: have each site run ``check`` first.
        brief: answer in one line, as a plugin of Nagios would: 0 ``OK``, all are current; 1 ``WARNING``, some
            lag; 2 ``CRITICAL``, one failed, is silent or unknown; 3 ``UNKNOWN``, a mistake in the
            configuration, or no minion is a site.

    Returns:
        A report. Every key is always there.

        ``sites``
            id → ``status``: ``current``, ``behind``, ``failed``, ``unreachable`` (its minion is silent) or
            ``unknown`` (nothing has run yet, or too long ago, or its formula is an old one); ``at``, when its
            last run ended (seconds since 1970), and ``age`` in seconds; ``parent``, the site that it mirrors
            from, and ``tier``, how many are above it; ``wave``; ``counts``, ``behind``, ``tags``, ``url`` and
            ``version`` as ``registry_sync.last`` has them; ``cause`` and ``error``; ``last_known``, whether
            all that is the last word of a silent one.
        ``images``
            ``repository:tag`` → ``statuses``, how many sites have it in which; ``digests``, the first 12
            digits of each → sites; ``drift``, whether these are several.
        ``waves``
            how the last rollout went, or goes.
        ``left_out``
            sites in no wave.
        ``summary``
            how many sites have each status; ``sites``, ``images``, ``drift`` and ``seconds``.

        The return code, which is that of ``salt-run``: 0 all are current, 2 some are known to lag, 1 one
        failed, is silent or unknown. After a mistake in the configuration only ``error`` and ``retcode``.

    CLI Example:

    .. code-block:: bash

        salt-run registry_fleet.matrix
        salt-run registry_fleet.matrix target='edge-*' fresh=True
        salt-run registry_fleet.matrix --out=json
        salt-run registry_fleet.matrix brief=True
    """
    try:
        fleet = _fleet()
        with _master(fleet) as master:
            report = fleets.matrix(master, fleet, target=str(target), fresh=fresh)
    except _MISTAKES as mistake:
        return _line(reports.UNKNOWN, f"UNKNOWN - {mistake}") if brief else _refused(mistake)
    if not target:
        fleets.keep(fleet, report, _page_maker())
    return _line(*reports.brief(report)) if brief else _coded(report)


def plan(wave=""):
    """
    Say what a rollout would move, wave by wave and site by site (``registry_sync.plan``); nothing is changed.

    What a site would get that mirrors from another is told by what that other holds now.

    Args:
        wave: name of the only one; without it all.

    Returns:
        As ``rollout`` with ``test=True``.

    CLI Example:

    .. code-block:: bash

        salt-run registry_fleet.plan
        salt-run registry_fleet.plan wave=edge
    """
    return rollout(wave=wave, test=True)


def rollout(wave="", test=False, apply=False, force=False):
    """
    Bring the sites up to date, wave after wave; a wave that fails leaves the later ones untouched.

    A site is published to once the one that it mirrors from is current. A wave is done when all its sites are
    current, but for as many as ``allow_fail`` and ``allow_unreachable`` let be, and still are after ``soak``,
    and ``pull`` works there. Silent sites are asked again at the end of their wave.

    A rollout that is killed leaves minions that finish by themselves; the next one moves nothing there. The
    event bus gets ``salt/registry_fleet/JID/wave``, ``…/site`` and ``…/done``.

    Args:
        wave: name of the only one; without it all in their order.
        test: publish ``registry_sync.plan`` in place of what changes something.
        apply: run ``state.apply docker_registry``, which also sets sites up, in place of
            ``registry_sync.sync``.
        force: do not wait for the sites that others mirror from.

    Returns:
        A report as that of ``matrix``, read after the last wave. ``waves``: name → ``status`` (``done``,
        ``stopped``, ``not started``), ``sites``, ``failed`` and ``unreachable`` (how many), ``copied``
        (tags), ``bytes``, ``seconds`` and ``error``, what has ended the rollout. ``moves``: site → ``tags``
        and ``bytes`` that it has moved, or would. ``jid``: in the tags of the events.

        The return code: 0 all waves are done, 2 so they are, but for sites that the configuration lets be, 1
        the rollout has ended early. With ``test``: 0 nothing would be moved, 2 something would, 1 more sites
        fail or are silent than may.

    CLI Example:

    .. code-block:: bash

        salt-run registry_fleet.rollout
        salt-run registry_fleet.rollout wave=canary
        salt-run registry_fleet.rollout test=True
        salt-run registry_fleet.rollout apply=True
        salt-run state.event 'salt/registry_fleet/*' pretty=True
    """
    try:
        fleet = _fleet()
        chosen = fleet.only(str(wave))
        order = _order(fleet, test, apply, force)
        with _master(fleet) as master, _alone(master, test):
            report = fleets.rollout(master, fleet, chosen, order, set_up=apply)
    except _MISTAKES as mistake:
        return _refused(mistake)
    if not test:
        fleets.keep(fleet, report, _page_maker())
    return _coded(report)


def stop(kill=False):
    """
    End the rollout that runs: nothing more is published, and what has been goes on to its end.

    Args:
        kill: also end what was published last (``saltutil.term_job``); a sync ends within two seconds and
            leaves whole images. It also works where the rollout itself was killed.

    Returns:
        ``jid`` of the rollout that was asked to end, empty where none runs; ``job``, the jid of what was
        published last; ``running``, the sites where that still goes on.

    CLI Example:

    .. code-block:: bash

        salt-run registry_fleet.stop
        salt-run registry_fleet.stop kill=True
    """
    try:
        with _master(_fleet()) as master:
            return fleets.stop(master, kill=kill)
    except _MISTAKES as mistake:
        return _refused(mistake)


def page(path=""):
    """
    Write what ``matrix`` says as one file of HTML.

    Args:
        path: the file; without it ``registry_fleet:page``.

    Returns:
        ``path`` and ``bytes``; the return code is 0 where it is written, however the sites stand.

    CLI Example:

    .. code-block:: bash

        salt-run registry_fleet.page path=/srv/www/registry-fleet.html
    """
    try:
        fleet = _fleet()
        file = str(path) or fleet.page
        if not file.startswith("/"):
            raise config.FleetError(f"{config.ROOT}:page: {file!r} is no absolute path; give path=/…")
        with _master(fleet) as master:
            report = fleets.matrix(master, fleet)
        return {"path": file, "bytes": fleets.write_page(file, report, fleet.max_age, _page_maker())}
    except _MISTAKES as mistake:
        return _refused(mistake)


class _Master:
    """What the library needs of Salt."""

    def __init__(self, client, events, timeout):
        self.directory = str(Path(__opts__["cachedir"]) / "registry_fleet")
        self.owner = __opts__["user"]
        self.jid = str(globals().get("__jid__") or salt.utils.jid.gen_jid(__opts__))
        self._client, self._events, self._timeout = client, events, timeout

    def match(self, target):
        # As the master itself finds whom it publishes to.
        found = salt.utils.minions.CkMinions(__opts__).check_minions(target, "compound")
        return sorted(found["minions"])

    def ask(self, function, sites, arguments=None, *, began=None, heard=None):
        hooks = {name: hook for name, hook in (("began", began), ("heard", heard)) if hook}
        for _ in range(_TRIES):
            try:
                return publishing.publish(
                    self._client,
                    function,
                    sites,
                    arguments or {},
                    timeout=self._timeout,
                    failures=_BUSY_MASTER,
                    **hooks,
                )
            except _BUSY_MASTER as failure:
                log.warning("registry_fleet: %s was not published: %s", function, failure)
                why = failure
        raise config.FleetError(f"the master takes no jobs: {why}")

    def last_words(self, sites):
        mine = __salt__["cache.mine"](list(sites), tgt_type="list")
        return {
            site: snapshots.from_mine(kept[returns.LAST])
            for site, kept in mine.items()
            if isinstance(kept, dict) and returns.LAST in kept
        }

    def tell(self, what, data):
        self._events.fire_event(data, f"salt/registry_fleet/{self.jid}/{what}")

    def say(self, line):
        log.info("registry_fleet: %s", line)
        if sys.stderr.isatty():
            print(line, file=sys.stderr)


@contextlib.contextmanager
def _master(fleet):
    # What is left to the garbage collector keeps its sockets.
    # https://github.com/saltstack/salt/issues/69857
    with (
        salt.client.get_local_client(__opts__["conf_file"]) as client,
        salt.utils.event.get_event(
            "master", sock_dir=__opts__["sock_dir"], opts=__opts__, listen=False
        ) as events,
    ):
        yield _Master(client, events, fleet.timeout)


def _alone(master, test):
    return contextlib.nullcontext() if test else files.only_one(master.directory, master.jid, master.owner)


def _fleet():
    tree = __opts__.get(config.ROOT)
    if tree is None:
        tree = (__opts__.get("pillar") or {}).get(config.ROOT)
    return config.read_fleet(tree)


def _order(fleet, test, apply, force):
    if test:
        return courses.Order(returns.PLAN, retries=0, dry=True)
    options = {"retries": fleet.retries, "force": force}
    if apply:
        return courses.Order(returns.APPLY, {"mods": "docker_registry"}, **options)
    return courses.Order(returns.SYNC, **options)


def _page_maker():
    """Who makes the page of a report; None where the formula's page is not on this master."""
    try:
        return importlib.import_module("_registry_show_fleet_page").fleet_page
    except ImportError:
        return None


def _refused(mistake):
    return _coded({"error": str(mistake), "retcode": 1, "outputter": reports.OUTPUTTER})


def _line(code, line):
    return _coded({"line": line, "retcode": code, "outputter": reports.OUTPUTTER})


def _coded(answer):
    # salt-run goes by the answer, an orchestration by the context.
    __context__["retcode"] = answer["retcode"]
    return answer
