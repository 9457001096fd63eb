"""What a registry's headers say of its limits: how long to wait, and how many requests are left."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping

# Longer waits are told as this; how long we do wait is transfer:patience.
LONGEST_RETRY_AFTER = 30 * 86400
# No quota lasts for so many seconds; 2001-09-09 as a time.
IS_A_TIME = 1e9


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, given as seconds or as a date; 0 without one.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    text = headers.get("Retry-After", "").strip()
    try:
        if text.isdigit():
            return float(min(int(text), LONGEST_RETRY_AFTER))
        seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)


def allowance(headers: Mapping[str, str]) -> tuple[int, float] | None:
    """How many more requests a registry allows, and at what distance they are best made.

    Args:
        headers: of an answer.

    Returns:
        The number, and seconds from one request to the next so that it lasts: until the number is
        reset if that is told, else as the whole quota would have it. None = nothing is told.

    ``RateLimit-Remaining: 76;w=21600`` is how Docker Hub tells it:
    https://docs.docker.com/docker-hub/usage/pulls/#view-pull-rate-and-limit
    """
    remaining, window = _quota(headers.get("RateLimit-Remaining", ""))
    if remaining is None:
        return None
    reset, _ = _quota(headers.get("RateLimit-Reset", ""))
    if reset is not None:
        return remaining, _seconds_until(reset) / max(1, remaining)
    limit, own_window = _quota(headers.get("RateLimit-Limit", ""))
    return remaining, (window or own_window) / max(1, limit or remaining)


def _seconds_until(reset: float) -> float:
    """Seconds are the draft's way; GitLab and others tell the time, in seconds since 1970.

    https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
    """
    return max(0.0, reset - time.time()) if reset > IS_A_TIME else reset


def _quota(text: str) -> tuple[int | None, float]:
    """The number and the seconds of ``100;w=60``."""
    found = re.match(r"\s*(\d{1,10})(?:\s*;\s*w=(\d{1,9}))?", text)
    return (int(found[1]), float(found[2] or 0)) if found else (None, 0.0)
