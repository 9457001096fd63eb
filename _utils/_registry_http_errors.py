"""What a registry means by an answer that is no success."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from _registry_http_endpoint import Endpoint
from _registry_http_limits import retry_after
from _registry_http_transport import ANSWER_LIMIT, Stream
from _registry_oci_errors import (
    BlobUnknown,
    DigestMismatch,
    NoSpace,
    NotFound,
    RateLimited,
    RegistryError,
    ServerFailed,
    Unauthorized,
    Unreachable,
    Unsupported,
)
from _registry_oci_names import is_digest

# ENOSPC and EDQUOT, as docker-distribution 2 passes on a driver's failure, and in the words of later ones.
FULL_DISK_NUMBERS = (28, 122)
# Of many errors, so many are told.
NAMED = 10
FULL_DISK_WORDS = ("no space left on device", "disk quota exceeded")


def refusal(
    stream: Stream, endpoint: Endpoint, method: str, what: str, *, shown: str, by_name: bool
) -> RegistryError:
    """The error that an answer means; its body is read, and its connection given back.

    Args:
        stream: the answer.
        endpoint: the registry that answered.
        method: of the request.
        what: was asked for.
        shown: who we said we are.
        by_name: whether something was asked for that may also not exist.

    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
    """
    failure = _meaning(stream, str(endpoint), method, what, shown=shown, by_name=by_name)
    failure.side = endpoint.side
    return failure


def _meaning(
    stream: Stream, registry: str, method: str, what: str, *, shown: str, by_name: bool
) -> RegistryError:
    errors = _errors_of(stream)
    status, wait, said = stream.status, retry_after(stream.headers), _said(errors)
    codes = {str(error.get("code", "")) for error in errors}
    if status in (401, 403):
        # Some hide behind that answer what does not exist.
        asked = f" for {what}{said}; it may also not exist" if by_name else said
        return Unauthorized(f"{registry} refused {shown}{asked}")
    if status == 429:
        return RateLimited(f"{registry} asks for a slower pace", wait)
    if codes & {"BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"} or (status == 416 and method != "GET"):
        return Unreachable(f"{registry} lost the upload of {what}")
    if codes & {"MANIFEST_BLOB_UNKNOWN"} or (method == "PUT" and "BLOB_UNKNOWN" in codes):
        return BlobUnknown(f"{registry} lacks blob {_digests(errors)} that {what} names{said}")
    if status == 404:
        return NotFound(f"{registry} has no {what}")
    if status == 507 or any(_is_full_disk(error) for error in errors):
        return NoSpace(f"{registry} has no space left")
    if (status >= 500 and status != 501) or status == 408:
        kind = ServerFailed if status == 500 else Unreachable
        return kind(f"{registry} answered {status} for {what}{said}", wait)
    if "DIGEST_INVALID" in codes or "SIZE_INVALID" in codes:
        return DigestMismatch(f"digest mismatch: {registry} computed another digest for {what}")
    if status == 416:
        return DigestMismatch(f"{registry}: {what} is shorter than the manifest says")
    meaning = ", so it is read-only from here" if status == 405 and method not in ("GET", "HEAD") else ""
    return Unsupported(f"{registry} answered {status} to {method} of {what}{meaning}{said}")


def _errors_of(stream: Stream) -> list[Mapping[str, Any]]:
    """The errors a registry gives as JSON; none where its answer is something else."""
    try:
        errors = json.loads(stream.whole(ANSWER_LIMIT).body).get("errors")
    except (ValueError, AttributeError, RecursionError, Unreachable, Unsupported):
        return []
    finally:
        stream.close()
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _said(errors: list[Mapping[str, Any]]) -> str:
    """The registry's own words, short and printable."""
    words = "; ".join(str(error.get("message") or error.get("code") or "") for error in errors[:NAMED])
    plain = "".join(character for character in words[:1000] if character.isprintable())
    return f" ({plain[:200]})" if plain.strip("; ") else ""


def _digests(errors: list[Mapping[str, Any]]) -> str:
    """What the errors are about, as far as they say it by digest."""
    details = [error.get("detail") for error in errors[:NAMED]]
    digests = [detail.get("digest") if isinstance(detail, dict) else detail for detail in details]
    return ", ".join(digest for digest in digests if isinstance(digest, str) and is_digest(digest))


def _is_full_disk(error: Mapping[str, Any]) -> bool:
    """Whether a storage driver had no room: ``detail.Enclosed.Err`` is its number, or its words say so."""
    detail = error.get("detail")
    enclosed = detail.get("Enclosed") if isinstance(detail, dict) else None
    if isinstance(enclosed, dict) and enclosed.get("Err") in FULL_DISK_NUMBERS:
        return True
    words = f"{error.get('message', '')} {detail}"[:10_000].lower()
    return any(sign in words for sign in FULL_DISK_WORDS)
