"""
Tell the master when a mirror falls behind, fails, and is current again.

It reads what the last ``check`` or ``sync`` has left (``registry_sync.last``) and asks no registry, since a
beacon keeps its minion from other work for as long as it takes. Something has to check or sync, then: the
pillar's ``docker_registry:schedule``, for one.

An event is fired once for each change, with the tag ``salt/beacon/ID/registry_sync/STATUS``:

``failed``
    the last run failed, or could not read all tags;
``behind``
    a tag has been missing or stale for longer than ``max_age``;
``current``
    all tags are as upstream has them again.

Its data: ``status``; ``was``, the status before; ``at``, when the last run ended; ``behind``, how many tags
are; ``since``, since when the first of them is, 0 = none; ``cause`` and ``error``. A tag that lags for less
than ``max_age`` changes nothing.

.. code-block:: yaml

    beacons:
      registry_sync:
        - max_age: 26h
        - interval: 60
        - disable_during_state_run: true
"""

# Imports nothing of the formula: a beacon's loader does not know where its files are.
import logging
import re
import time
from pathlib import Path

log = logging.getLogger(__name__)

__virtualname__ = "registry_sync"

_USUAL_MAX_AGE = "26h"
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
# Salt's own, for any beacon.
_OF_SALT = {"interval", "disable_during_state_run", "enabled", "beacon_module", "run_once"}
# What was told last; it stands in a file, too, since each refresh of the beacons forgets this.
_last: dict[str, str] = {}


def __virtual__():  # noqa: N807 - Salt's own name
    """Wherever there are minions."""
    return __virtualname__


def validate(config):
    """
    Whether a configuration is one.

    Args:
        config: a list of mappings, as in the pillar.

    Returns:
        True or False, and a sentence.
    """
    if not isinstance(config, list) or not all(isinstance(item, dict) for item in config):
        return False, "Configuration for the beacon registry_sync must be a list of mappings."
    options = _options(config)
    unknown = [name for name in options if name not in (*_OF_SALT, "max_age") and not name.startswith("_")]
    if unknown:
        return False, f"Configuration for the beacon registry_sync has an unknown key: {unknown[0]}"
    if _max_age(options) is None:
        return False, "max_age of the beacon registry_sync is no time; give seconds, or e.g. 90m, 26h, 2d"
    return True, "Valid beacon configuration"


def beacon(config):
    """
    The event of a change, or none.

    Args:
        config: as ``validate`` takes it.

    Returns:
        A list with one event's data, or an empty one.
    """
    # A minion that was given the beacon before the modules.
    if "registry_sync.last" not in __salt__:
        return []
    snapshot = __salt__["registry_sync.last"]()
    status = _status(snapshot, time.time() - _max_age(_options(config)))
    was = _told()
    if status in ("", was):
        return []
    _tell(status)
    return [
        {
            "tag": status,
            "status": status,
            "was": was,
            "at": snapshot["at"],
            "behind": len(snapshot["behind"]),
            "since": min((entry["since"] for entry in snapshot["behind"].values()), default=0),
            "cause": snapshot["cause"],
            "error": snapshot["error"],
        }
    ]


def _status(snapshot, oldest):
    """Empty where it is not known, or where a lag is too young to be told."""
    if not snapshot["function"]:
        return ""
    if snapshot["code"] == 1:
        return "failed"
    if any(entry["since"] < oldest for entry in snapshot["behind"].values()):
        return "behind"
    return "" if snapshot["behind"] else "current"


def _options(config):
    return {name: value for item in config for name, value in item.items()}


def _max_age(options):
    """In seconds; None where it is no time."""
    given = options.get("max_age", _USUAL_MAX_AGE)
    match = re.fullmatch(r"(\d+)([smhd]?)", str(given))
    return int(match[1]) * _SECONDS[match[2]] if match else None


def _told():
    """The status that was told last; it outlives the minion."""
    if not _last:
        try:
            _last["status"] = _file().read_text("utf-8")
        except (OSError, ValueError):
            _last["status"] = ""
    return _last["status"] or "current"


def _tell(status):
    _last["status"] = status
    try:
        _file().write_text(status, "utf-8")
    except OSError as failure:
        log.warning("what the beacon registry_sync has told was not written: %s", failure)


def _file():
    return Path(__opts__["cachedir"]) / "registry_sync" / "beacon"
