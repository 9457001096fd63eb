"""A fleet of mirrors is brought up to date: a state for ``salt-run state.orchestrate``.

It runs on the master, through the runner ``registry_fleet``. Unlike ``salt.runner``, which does nothing in
test mode, it then tells what would be moved.
"""

from _registry_state_returns import ret as _ret


def rolled_out(name, wave="", apply=False, force=False):
    """Bring the sites of one wave, or of all in their order, up to date.

    In test mode nothing is changed, and no other rollout kept out.

    Args:
        name: free text.
        wave: name of the wave; without it all.
        apply: apply the state ``docker_registry`` there, which also sets sites up.
        force: do not wait for the sites that others mirror from.

    Returns:
        Changes are wave → site → the tags and bytes that it has moved, or would. Result False where a wave is
        not done or, in test mode, would not be.

    .. code-block:: yaml

        Canaries are current:
          registry_fleet.rolled_out:
            - wave: canary
        All sites are current:
          registry_fleet.rolled_out:
            - wave: sites
            - require:
              - registry_fleet: Canaries are current
    """
    test = bool(__opts__["test"])
    options = {"wave": wave, "test": test, "apply": apply, "force": force}
    report = __salt__["saltutil.runner"]("registry_fleet.rollout", kwarg=options)
    if not isinstance(report, dict) or "waves" not in report:
        return _ret(name, False, _mistake(report))
    result = False if report["retcode"] == 1 else None if test and report["moves"] else True
    return _ret(name, result, _comment(report, test), _changes(report))


def _mistake(report):
    """What the runner says in place of a report; without one the master has not got it."""
    if isinstance(report, dict) and "error" in report:
        return str(report["error"])
    words = str(report).strip().splitlines()
    return (
        f"{words[-1] if words else 'the runner says nothing'}; salt-run saltutil.sync_all brings the runner"
    )


def _changes(report):
    changes: dict[str, dict[str, object]] = {}
    for site, moved in report["moves"].items():
        changes.setdefault(report["sites"][site]["wave"], {})[site] = moved
    return changes


def _comment(report, test):
    tags = sum(moved["tags"] for moved in report["moves"].values())
    size = sum(moved["bytes"] for moved in report["moves"].values())
    verb = "Would bring" if test else "Brought"
    what = (
        f"{verb} {tags} tags ({size} bytes) to {len(report['moves'])} of {len(_sites(report))} sites"
        if report["moves"]
        else f"{len(_sites(report))} sites: nothing is to be moved"
    )
    return "; ".join([what, *_told(report["waves"])])


def _sites(report):
    return [site for site, entry in report["sites"].items() if entry["wave"] in report["waves"]]


def _told(waves):
    """What ended a wave, and which were not started for it."""
    ended = [f"{wave}: {entry['error']}" for wave, entry in waves.items() if entry["error"]]
    statuses = {wave: entry["status"] for wave, entry in waves.items()}
    waiting = [wave for wave, status in statuses.items() if status == "not started"]
    stopped = "stopped" in statuses.values()
    return [*ended, f"not started: {', '.join(waiting)}"] if stopped and waiting else ended
