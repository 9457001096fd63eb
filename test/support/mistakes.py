"""What the check of a pillar says of a mistake in it."""

from __future__ import annotations

from typing import Any

import pytest

from _registry_config_read import SettingsError, read_settings


def mistake_in(pillar: Any) -> str:
    """Return the sentence about a pillar, which is one line."""
    with pytest.raises(SettingsError) as caught:
        read_settings(pillar, host="mirror.example.com")
    assert str(caught.value).isprintable()
    return str(caught.value)
