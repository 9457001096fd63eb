"""The file of another program that mirrors images, as a pillar of ours; no I/O.

Files of ``skopeo sync``, regsync and oc-mirror are read. Every value is taken as the text that it is in the
file: a tag ``3.10`` is no number. A pillar that comes from here passes our own check and has no secret in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from _registry_config_convert_found import Found, pillar_of
from _registry_config_convert_ocmirror import is_oc_mirror, read_oc_mirror
from _registry_config_convert_regsync import is_regsync, read_regsync
from _registry_config_convert_skopeo import is_skopeo, read_skopeo
from _registry_config_read import read_settings
from _registry_config_schema import ROOT
from _registry_config_text import commented, pillar_text
from _registry_config_validators import SettingsError
from _registry_http_environment import Environment

Reader = Callable[[Mapping[str, Any]], Found]
_FORMATS: tuple[tuple[str, Callable[[Any], bool], Reader], ...] = (
    ("an ImageSetConfiguration of oc-mirror", is_oc_mirror, read_oc_mirror),
    ("a file of regsync", is_regsync, read_regsync),
    ("a file of skopeo sync", is_skopeo, read_skopeo),
)
_IMAGE_KEY = re.compile(rf"{ROOT}:images:(\d+)")


class ConvertError(ValueError):
    """A file that nothing comes of; the text is one sentence, without what is in the file."""


class _Texts(yaml.SafeLoader):
    """Makes mappings and lists, and texts of all else; ``<<`` merges, and what is empty is nothing."""


_KEPT = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:null")
_Texts.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_TEXTS = ("binary", "bool", "float", "int", "timestamp")
_Texts.yaml_constructors = {
    **yaml.SafeLoader.yaml_constructors,
    **{f"tag:yaml.org,2002:{kind}": yaml.SafeLoader.construct_yaml_str for kind in _TEXTS},
}


def convert(text: str) -> str:
    """The pillar that says what a file of another program says.

    Args:
        text: of the file.

    Returns:
        YAML, with a comment for each thing that is not carried.

    Raises:
        ConvertError: it is no such file, or has no image that can be carried.
    """
    what, found = _read(text)
    pillar = _checked(pillar_of(found), found)
    if not pillar.get("images"):
        reasons = "; ".join([note for note in found.notes if "not carried" in note][:5])
        raise ConvertError(f"has no image that can be carried{': ' if reasons else ''}{reasons}")
    head = [f"From {what}." + (" What differs, or could not be carried over:" if found.notes else "")]
    return commented(head) + commented(f"- {note}" for note in found.notes) + pillar_text(pillar)


def _read(text: str) -> tuple[str, Found]:
    try:
        tree = yaml.load(text, Loader=_Texts)
    except (yaml.YAMLError, RecursionError):
        raise ConvertError("is no YAML") from None
    for what, is_it, read in _FORMATS:
        if is_it(tree):
            return what, read(tree)
    raise ConvertError(f"is none of {', '.join(what for what, _, _ in _FORMATS)} that lists images")


def _checked(pillar: dict[str, Any], found: Found) -> dict[str, Any]:
    """The pillar without the images that our own check refuses."""
    while pillar.get("images"):
        try:
            read_settings(pillar, host="localhost", environment=Environment())
        except SettingsError as mistake:
            refused = _IMAGE_KEY.match(str(mistake))
            if refused is None:
                raise ConvertError(f"cannot be carried: {mistake}") from None
            gone = pillar["images"].pop(int(refused[1]))
            found.note(gone["name"], f"not carried; {str(mistake).partition(': ')[2]}")
        else:
            return pillar
    return {}
