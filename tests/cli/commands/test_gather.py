"""A gathering step is asked to begin."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from makers.graphs import run as run_steps


def test_a_gathering_step_is_asked_for_by_name(cryoloom, brighter):
    with pytest.raises(UserInputError, match="no gathering step 'draw'"):
        cryoloom("gather", "draw")
    run_steps(brighter, {"step": "find_series"}, {"step": "draw"}, {"step": "average_all"})
    assert "requested; average_all starts with the items it has" in cryoloom("gather", "average_all")
    assert (brighter.folder / "requests" / "gather_average_all").exists()
