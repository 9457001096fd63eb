"""Where an answer of a registry goes on: the links between pages of a list; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from _registry_http_transport import ANSWER_LIMIT


def next_link(headers: Mapping[str, Any]) -> str | None:
    """The target of ``<…>; rel="next"``, of possibly several links; None = this was the last page.

    https://www.rfc-editor.org/rfc/rfc8288#section-3
    """
    for target, parameters in _links(headers.get("Link", "")):
        if "next" in parameters:
            return target
    return None


def _links(header: str) -> Iterator[tuple[str, list[str]]]:
    for part in header[:ANSWER_LIMIT].split("<")[1:]:
        target, _, rest = part.partition(">")
        rel = next((word for word in rest.split(";") if word.strip().lower().startswith("rel=")), "")
        yield target.strip(), rel.rstrip(", ").partition("=")[2].strip().strip('"').lower().split()
