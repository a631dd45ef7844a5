"""Chains name steps that exist, take what was made before, and give parameters to steps that have them."""

from __future__ import annotations

import pytest

from cryoloom.contract import all_steps
from cryoloom.workflows.averaging_chains import AVERAGING_CHAINS


@pytest.mark.parametrize("start", sorted(AVERAGING_CHAINS))
def test_every_link_can_run_on_what_was_made_before(start: str) -> None:
    made: list[str] = []
    for link in AVERAGING_CHAINS[start]:
        assert link.source.split(".")[0] in ["", *made]
        assert (not made) == (link.source == "")
        parameters = all_steps()[link.step].params.model_fields
        assert {"symmetry", "diameter_angstrom"} <= set(parameters) or not link.takes_symmetry
        made.append(link.step)
