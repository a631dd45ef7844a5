"""Runs that others need are kept."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError


def test_a_needed_run_is_kept_until_the_user_insists(cryoloom, brighter):
    with pytest.raises(UserInputError, match="is needed by 3"):
        cryoloom("delete", "2")
    assert "deleted run 2 (draw)" in cryoloom("delete", "2", "--with-dependents")
    assert [each.id for each in brighter.database.runs()] == [1, 4]
