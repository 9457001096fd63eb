"""What a registry means by an answer that is no success."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from _registry_http_transport import ANSWER_LIMIT, Stream, retry_after
from _registry_oci_errors import (
    DigestMismatch,
    NoSpace,
    NotFound,
    RateLimited,
    RegistryError,
    Unauthorized,
    Unreachable,
    Unsupported,
)

ENOSPC = 28


def refusal(
    stream: Stream, registry: str, method: str, what: str, *, shown: str, by_name: bool
) -> RegistryError:
    """The error that an answer means; its body is read, and its connection given back.

    Args:
        stream: the answer.
        registry: which side answered, as messages name it.
        method: of the request.
        what: was asked for.
        shown: who we said we are.
        by_name: whether something was asked for that may also not exist.
    """
    errors = _errors_of(stream)
    status, wait, said = stream.status, retry_after(stream.headers), _said(errors)
    codes = {str(error.get("code", "")) for error in errors}
    if status in (401, 403):
        # Some hide behind that answer what does not exist.
        asked = f" for {what}{said}; it may also not exist" if by_name else said
        return Unauthorized(f"{registry} refused {shown}{asked}")
    if codes & {"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"}:
        return Unreachable(f"{registry} lost the upload of {what}")
    if status == 404:
        return NotFound(f"{registry} has no {what}")
    if status == 429:
        return RateLimited(f"{registry} asks for a slower pace", wait)
    if status == 507 or any(_is_full_disk(error) for error in errors):
        return NoSpace(f"{registry} has no space left")
    if status >= 500 or status == 408:
        return Unreachable(f"{registry} answered {status} for {what}{said}", wait)
    if "DIGEST_INVALID" in codes or "SIZE_INVALID" in codes:
        return DigestMismatch(f"{registry} found another digest in {what}")
    return Unsupported(f"{registry} answered {status} to {method} of {what}{said}")


def _errors_of(stream: Stream) -> list[Mapping[str, Any]]:
    """The errors a registry gives as JSON; none where its answer is something else.

    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
    """
    try:
        errors = json.loads(stream.whole(ANSWER_LIMIT).body).get("errors")
    except (ValueError, AttributeError, RecursionError, Unreachable, Unsupported):
        return []
    finally:
        stream.close()
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _said(errors: list[Mapping[str, Any]]) -> str:
    """The registry's own words, short and printable."""
    words = "; ".join(str(error.get("message") or error.get("code") or "") for error in errors)
    plain = "".join(character for character in words if character.isprintable())
    return f" ({plain[:200]})" if plain.strip("; ") else ""


def _is_full_disk(error: Mapping[str, Any]) -> bool:
    """Whether docker-distribution's storage driver reports ENOSPC: ``detail.Enclosed.Err`` is 28."""
    detail = error.get("detail")
    enclosed = detail.get("Enclosed") if isinstance(detail, dict) else None
    return isinstance(enclosed, dict) and enclosed.get("Err") == ENOSPC
