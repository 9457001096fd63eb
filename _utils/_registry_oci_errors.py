"""What can go wrong with a store of images, as exceptions that carry the ``cause`` of the returns.

::

    RegistryError            internal
    ├── Unauthorized         auth         401 or 403
    ├── NotFound             absent       404
    │   └── BlobUnknown      absent       content that a manifest names
    ├── Retryable                         what another try may mend
    │   ├── RateLimited      rate         429, when waiting did not help
    │   └── Unreachable      network      no connection, a cut line, 5xx, a deadline
    ├── Untrusted            network      does not prove who it is, or leads astray; never retried
    ├── NoSpace              space        507, or a full disk
    ├── DigestMismatch       digest       bytes that are not what their digest says
    ├── Unsupported          unsupported  what this store cannot hold or say
    ├── NotSigned            signature    nobody has signed it of those who should have
    └── Stopped              internal     the run was asked to stop

The text of each is one sentence that names the side and the store; nothing is recognised by it.
"""

from __future__ import annotations

UPSTREAM = "upstream"
LOCAL = "local"


class RegistryError(Exception):
    """Any failure with a store.

    Args:
        message: one sentence.
        side: which store failed, ``upstream`` or ``local``; empty = neither alone.

    ``cause`` is one of the words that returns use.
    """

    cause = "internal"

    def __init__(self, message: str = "", *, side: str = "") -> None:
        super().__init__(message)
        self.side = side


class Unauthorized(RegistryError):
    """The registry wants other credentials, or hides what does not exist behind that answer."""

    cause = "auth"


class NotFound(RegistryError):
    """The repository, tag, manifest or blob is not there."""

    cause = "absent"


class BlobUnknown(NotFound):
    """The registry lacks content that a manifest names; a collection may have taken it meanwhile."""


class Retryable(RegistryError):
    """What another try may mend.

    Args:
        message: one sentence.
        retry_after: seconds that the registry asks to be left alone for; 0 = it does not say.
        side: as of every failure.
    """

    def __init__(self, message: str = "", retry_after: float = 0.0, *, side: str = "") -> None:
        super().__init__(message, side=side)
        self.retry_after = retry_after


class RateLimited(Retryable):
    """The registry asks for a slower pace."""

    cause = "rate"


class Unreachable(Retryable):
    """The line or the registry failed in a way that may pass."""

    cause = "network"


class ServerFailed(Unreachable):
    """The registry answered 500: busy, or what it has of this is broken."""


class Untrusted(RegistryError):
    """The registry's certificate is not one to trust, or it sends us where credentials must not go."""

    cause = "network"


class NoSpace(RegistryError):
    """The store cannot hold more."""

    cause = "space"


class DigestMismatch(RegistryError):
    """Content does not have the digest or size that names it."""

    cause = "digest"


class Unsupported(RegistryError):
    """The registry, or this program, knows no such thing."""

    cause = "unsupported"


class NotSigned(RegistryError):
    """None of the keys that the image list wants has signed the image."""

    cause = "signature"


class Stopped(RegistryError):
    """The run was asked to stop before this was done."""
