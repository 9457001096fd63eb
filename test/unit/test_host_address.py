"""Whether a name stands for this host, where the resolver does not even take the name."""

from __future__ import annotations

import pytest

from _registry_host_address import is_here, unresolved


@pytest.mark.parametrize("name", ["mirror..example.com", f"{'x' * 64}.example.com"])
def test_what_no_resolver_takes_is_nobodys_name(name: str) -> None:
    assert is_here(name, {}) is False
    assert unresolved(name) == "no host has such a name"
