"""Which sites belong to which wave, and which of a wave come next. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from _registry_fleet_config import ROOT, FleetError, Wave


def sites_of(
    waves: Sequence[Wave], named: Mapping[str, Iterable[str]], fleet: Iterable[str]
) -> dict[str, list[str]]:
    """Give each site to the first wave that names it.

    Args:
        waves: in their order.
        named: wave → minions that its target means.
        fleet: ids of all sites.

    Returns:
        Wave → ids in their order.

    Raises:
        FleetError: a wave that is not optional is of nobody.
    """
    left = set(fleet)
    found = {}
    for wave in waves:
        matched = set(named[wave.name])
        found[wave.name] = sorted(matched & left)
        if not found[wave.name] and not wave.optional:
            raise FleetError(_nobody(wave, len(matched)))
        left -= matched
    return found


def _nobody(wave: Wave, matched: int) -> str:
    why = (
        f"the {matched} minions it names are no sites, or in earlier waves"
        if matched
        else "no minion matches"
    )
    return (
        f"{ROOT}:waves: {wave.name} ({wave.target}) is of nobody: {why}; say optional: true where that may be"
    )


def without_descendants(sites: Sequence[str], parents: Mapping[str, str]) -> list[str]:
    """Leave out whoever mirrors from another of the same sites: it comes after that one."""
    there = set(sites)
    return [site for site in sites if not _ancestors(site, parents) & there]


def _ancestors(site: str, parents: Mapping[str, str]) -> set[str]:
    above: set[str] = set()
    while site in parents:
        site = parents[site]
        above.add(site)
    return above


def capped(sites: Iterable[str], size: int, per_parent: int, upstream: Callable[[str], str]) -> list[str]:
    """The first sites that may go together.

    Args:
        sites: in their order.
        size: how many at most.
        per_parent: how many at most pull from one registry; 0 = as many as there are.
        upstream: what a site pulls from; empty = that is not known.
    """
    batch: list[str] = []
    pulling: Counter[str] = Counter()
    for site in sites:
        source = upstream(site)
        if per_parent and source and pulling[source] >= per_parent:
            continue
        pulling[source] += 1
        batch.append(site)
        if len(batch) == size:
            break
    return batch
