"""Returns of states, and what is read out of those of others."""

from __future__ import annotations

import pytest

from _registry_state_returns import required_changes, ret

CHANGED = ret("/etc/x", True, "", {"diff": "New file"})
RAN = {
    "file_|-X is written_|-/etc/x_|-managed": {**CHANGED, "__id__": "X is written"},
    "file_|-Y is written_|-/etc/y_|-managed": {**ret("/etc/y", True, ""), "__id__": "Y is written"},
}


@pytest.mark.parametrize(
    ("required", "changed"),
    [
        ([{"file": "X is written"}], True),
        ([{"file": "Y is written"}, {"file": "X is written"}], True),
        ([{"file": "Y is written"}], False),
        ([{"pkg": "X is written"}], False),
        ([], False),
    ],
)
def test_what_a_state_requires_has_changed_something_or_not(required, changed):
    assert required_changes({"require": required}, RAN) is changed
    assert not required_changes({"require": required}, {})


def test_what_requires_nothing_sees_no_changes():
    assert not required_changes({"watch": [{"file": "X is written"}]}, RAN)
