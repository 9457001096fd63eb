"""A file of regclient's regsync, as our pillar; no I/O.

https://regclient.org/usage/regsync/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from _registry_config_convert_found import Found, Wanted
from _registry_config_convert_rules import CannotSay, TagSet, set_of_expressions
from _registry_oci_names import is_platform
from _registry_oci_reference import (
    Reference,
    ReferenceMistake,
    host_and_port,
    read_reference,
)

_CREDS = ("registry", "user", "pass", "tls", "hostname", "repoAuth", "scheme")
_DEFAULTS = ("interval", "schedule", "backup", "referrers", "digestTags", "fastCopy", "forceRecursive")
_SYNC = (*_DEFAULTS, "source", "target", "type", "tags", "tagSets", "platform")
_CAN_GO = ("cacheCount", "cacheTime", "userAgent", "mediaTypes")
_MEANINGS = {
    "parallel": "not carried; it counts images, and transfer:parallel blobs, of which 16 is the default",
    "ratelimit": "not carried; what the registry says of its limit is heeded anyway",
    "credHelper": "not carried; give auth_file, a docker config.json that names the helper",
    "regcert": "not carried; put the CA into a file of the minion and give its path as verify",
    "clientCert": "not carried; put it into a file of the minion and give its path as cert",
    "clientKey": "not carried; put it into a file of the minion and give its path as key",
    "pathPrefix": "not carried; write it before the names of images",
    "skipDockerConfig": "not carried; the logins of docker and podman are found where they keep them",
    "referrerFilters": "not carried; attachments:exclude says what stays behind",
    "platforms": "not carried; give platforms of the image",
}
_SOURCE = re.compile(r"\{\{\s*\.Sync\.Source\s*\}\}")
_TAG = re.compile(r"\{\{\s*\.Ref\.Tag\s*\}\}")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def is_regsync(tree: Any) -> bool:
    """Whether a file lists what is to be synchronised."""
    return isinstance(tree, Mapping) and isinstance(tree.get("sync"), list)


def read_regsync(tree: Mapping[str, Any]) -> Found:
    """What such a file says.

    Args:
        tree: of strings: no value was made a number or a date.
    """
    found = Found()
    steps = [(f"sync:{at}", step) for at, step in enumerate(tree["sync"]) if isinstance(step, Mapping)]
    defaults = tree.get("defaults") if isinstance(tree.get("defaults"), Mapping) else {}
    assert isinstance(defaults, Mapping)
    targets: Counter[str] = Counter()
    for where, step in steps:
        _read_step(found, where, step, targets)
    _local(found, targets)
    for at, creds in enumerate(tree.get("creds") or []):
        if isinstance(creds, Mapping):
            _read_creds(found, f"creds:{at}", creds, targets)
    _backup(found, [("defaults", defaults), *steps])
    _schedule(found, defaults, steps)
    _attachments(found, defaults, [step for _, step in steps])
    _note_rest(found, "defaults", defaults, _DEFAULTS)
    found.note_unknown("", tree, ("version", "creds", "defaults", "sync"))
    return found


def _note_rest(found: Found, where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in given:
        if name in _MEANINGS and name not in known:
            found.note(f"{where}:{name}", _MEANINGS[name])
    found.note_unknown(where, given, (*known, *_MEANINGS, *_CAN_GO))


def _read_step(found: Found, where: str, step: Mapping[str, Any], targets: Counter[str]) -> None:
    try:
        source, target = _sides(step)
        if step.get("type") not in ("image", "repository"):
            raise CannotSay("mirrors a whole registry; name its repositories")
        platforms = (str(step["platform"]),) if step.get("platform") else ()
        if not all(map(is_platform, platforms)):
            raise CannotSay("has a platform that is none")
        sets = _tag_sets(step, source, target)
    except (CannotSay, ReferenceMistake) as lack:
        found.note(where, f"not carried; it {lack}")
        return
    for tags in sets:
        found.want(Wanted(where, source.registry, source.repository, tags, target.repository, platforms))
    targets[target.registry] += 1
    _note_rest(found, where, step, _SYNC)


def _sides(step: Mapping[str, Any]) -> tuple[Reference, Reference]:
    source = str(step.get("source", ""))
    target = _SOURCE.sub(lambda _: source, str(step.get("target", "")))
    if "{{" in source + target:
        raise CannotSay("has a template; give the name that it stands for")
    if source.startswith("ocidir://") or target.startswith("ocidir://"):
        raise CannotSay("is about a directory; registry_sync.export and import do that")
    return read_reference(source), read_reference(target)


def _tag_sets(step: Mapping[str, Any], source: Reference, target: Reference) -> list[TagSet]:
    if step.get("targetTag"):
        raise CannotSay("changes tags")
    if step["type"] == "image":
        # What is not said is latest, also where a digest is.
        tags = [side.tag or ("" if side.digest else "latest") for side in (source, target)]
        if tags[0] and tags[1] and tags[0] != tags[1]:
            raise CannotSay("keeps a tag under another one")
        return [TagSet((source.entry or tags[0],))]
    given = step.get("tagSets") or [step.get("tags") or {}]
    return [_tag_set(rules) for rules in given if isinstance(rules, Mapping)]


def _tag_set(rules: Mapping[str, Any]) -> TagSet:
    allow, deny, ranges = (_strings(rules.get(name)) for name in ("allow", "deny", "semverRange"))
    if len(ranges) > 1:
        raise CannotSay("has alternatives of versions")
    return set_of_expressions(allow, deny, "".join(ranges), anchored=True)


def _strings(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _local(found: Found, targets: Counter[str]) -> None:
    if not targets:
        return
    registry = targets.most_common(1)[0][0]
    host, port = host_and_port(registry)
    found.rest["local"] = {"host": host, "port": port or 443, "tls": True}
    found.note(
        "sync:target",
        f"local is {registry}, the target; where that is no registry of this host and of this formula, give "
        "registry: {install: none}",
    )
    for other in targets:
        if other != registry:
            found.note("sync:target", f"what goes to {other} is kept at {registry}, too: there is one local")


def _read_creds(found: Found, where: str, creds: Mapping[str, Any], targets: Counter[str]) -> None:
    registry = str(creds.get("registry", ""))
    try:
        registry = read_reference(f"{registry}/a/b").registry if "{{" not in registry else ""
        host_and_port(registry)
        host_and_port(str(creds.get("hostname") or registry))
    except ReferenceMistake:
        found.note(where, "not carried; it is about no registry that is named here")
        return
    is_local = bool(targets) and registry == targets.most_common(1)[0][0]
    own = found.rest["local"] if is_local else found.registries.setdefault(registry, {})
    tls = str(creds.get("tls", "enabled"))
    if tls == "disabled" or creds.get("scheme") == "http":
        own["tls"] = False
        if is_local and not host_and_port(registry)[1]:
            own["port"] = 80
    elif tls == "insecure":
        own["verify"] = False
    if creds.get("hostname"):
        host, port = host_and_port(str(creds["hostname"]))
        own.update({"host": host, **({"port": port} if port else {})})
    if creds.get("user") or creds.get("pass"):
        found.with_login(registry, where)
        if is_local:
            own.update(found.registries.pop(registry))
    _note_rest(found, where, creds, _CREDS)


def _backup(found: Found, places: list[tuple[str, Mapping[str, Any]]]) -> None:
    for where, given in places:
        backup = str(given.get("backup") or "")
        template = _TAG.sub("{tag}", backup)
        if not backup or "backup" in found.rest:
            continue
        found.rest["backup"] = {"keep": 1}
        if "{tag}" in template and re.fullmatch(r"[\w.{}-]+", template) and "{{" not in template:
            found.rest["backup"]["tags"] = f"{template}-{{n}}"
            found.note(f"{where}:backup", "holds for all images; of the template {n} numbers the digests")
        else:
            found.note(
                f"{where}:backup", "of all images one earlier digest is kept, without a tag of its own"
            )


def _schedule(found: Found, defaults: Mapping[str, Any], steps: list[tuple[str, Mapping[str, Any]]]) -> None:
    times = Counter(
        (str(merged.get("schedule") or ""), str(merged.get("interval") or ""))
        for merged in ({**defaults, **step} for _, step in steps)
    )
    times.pop(("", ""), None)
    if not times:
        return
    (cron, interval), _ = times.most_common(1)[0]
    when = {"cron": cron} if len(cron.split()) == 5 else _interval(interval) if not cron else {}
    if not when:
        found.note("defaults:schedule", "not carried; schedule takes minutes, hours, days, cron or when")
        return
    found.rest["schedule"] = {"function": "sync", **when}
    if len(times) > 1:
        found.note("sync", "has several intervals; the most frequent one holds for the whole list")
    if cron:
        found.note("schedule:cron", "Salt's scheduler needs the Python package croniter for it")


def _interval(text: str) -> dict[str, int]:
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return {}
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 60 + minutes + (1 if seconds else 0)
    if total and total % 60 == 0:
        return {"hours": total // 60}
    return {"minutes": total} if total else {}


def _attachments(found: Found, defaults: Mapping[str, Any], steps: list[Mapping[str, Any]]) -> None:
    asked = [
        str({**defaults, **step}.get(name, "")).lower() == "true"
        for step in steps
        for name in ("referrers", "digestTags")
    ]
    if not any(asked):
        found.note("referrers", "signatures and SBOMs come along here; attachments: false leaves them")
