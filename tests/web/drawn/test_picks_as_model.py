"""Picks as an IMOD model: read back they are at the positions they were picked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoloom.formats.exchange.marked_points import read_marked_points
from cryoloom.formats.imod.model import write_model
from cryoloom.geometry.frames import position_from_index
from cryoloom.web.drawn.picks_as_model import picks_as_model


@pytest.mark.parametrize("shape", [(20, 31, 40), (21, 30, 41)])
def test_read_back_they_are_where_they_were_picked(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    picks = {"ribosome": [["1", 80.0, -40.0, 16.0, "anna"], ["2", -8.0, 24.0, -32.0, "you"]]}
    places = {"ribosome/a": [[0.0, 0.0, 8.0]]}
    write_model(tmp_path / "picks.mod", picks_as_model(picks, places, shape, 8.0))
    first, second = read_marked_points(tmp_path / "picks.mod")
    found = [position_from_index(one.points[:, ::-1], shape, 8.0) for one in (first, second)]
    np.testing.assert_allclose(found[0], [[80.0, -40.0, 16.0], [-8.0, 24.0, -32.0]], atol=1e-3)
    np.testing.assert_allclose(found[1], [[0.0, 0.0, 8.0]], atol=1e-3)


def test_a_set_without_picks_is_an_object_without_points() -> None:
    model = picks_as_model({"empty": []}, {}, (4, 5, 6), 2.0)
    assert model.objects[0].contours[0].shape == (0, 3)
