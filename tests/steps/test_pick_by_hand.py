"""Points picked by hand, given directly or in a file, in angstrom from the tomogram's centre."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.orientation_grid import even_directions
from cryoloom.model import Tomogram
from cryoloom.steps.pick_by_hand import HandModel, PickByHandParams, pick_by_hand
from makers.context import MemoryContext
from makers.made_series import aligned, make_series


@pytest.fixture
def tomogram():
    series = aligned(make_series(n_tilts=5, shape_yx=(128, 128), pixel_size_angstrom=10.0))
    return Tomogram(series, np.zeros((100, 128, 120), np.float32), 10.0)


def hand_points(tmp_path, tomogram, text, **more):
    (tmp_path / f"{tomogram.name}.csv").write_text(text)
    params = PickByHandParams(file=tmp_path / "{tomogram}.csv", **more)
    return pick_by_hand(tomogram, params, MemoryContext())


def test_pixels_become_angstrom_from_the_centre(tmp_path, tomogram):
    points = hand_points(tmp_path, tomogram, "x y z\n60 64 50\n70 60 45\n").rows()
    assert_allclose(points.positions_xyz_angstrom, [[0, 0, 0], [100, -40, -50]])
    binned = hand_points(tmp_path, tomogram, "x y z\n35 30 22\n", picked_pixel_angstrom=20.0).rows()
    assert_allclose(binned.positions_xyz_angstrom, [[100, -40, -60]])
    flipped = hand_points(tmp_path, tomogram, "x y z\n70 60 45\n", flip_z=True).rows()
    assert_allclose(flipped.positions_xyz_angstrom, [[100, -40, 50]])
    with pytest.raises(DataUnfitError, match="picked at another binning"):
        hand_points(tmp_path, tomogram, "x y z\n300 60 45\n")


def test_points_of_the_browser_and_of_a_file_are_the_same(tmp_path, tomogram):
    places = (400.0 * even_directions(8)).round(3)
    context = MemoryContext()
    model = HandModel(
        tomogram="TS_01", model=4, shape="ellipsoid", points_xyz_angstrom=tuple(map(tuple, places.tolist()))
    )
    other = HandModel(tomogram="TS_02", points_xyz_angstrom=((0.0, 0.0, 0.0),))
    browser = pick_by_hand(tomogram, PickByHandParams(models=(model, other)), context).rows()
    header = "x_angstrom,y_angstrom,z_angstrom,model,shape"
    lines = [",".join(f"{v:.3f}" for v in place) + ",4,ellipsoid" for place in places]
    from_file = hand_points(tmp_path, tomogram, "\n".join([header, *lines])).rows()
    assert_allclose(browser.positions_xyz_angstrom, from_file.positions_xyz_angstrom)
    assert browser.surface.tolist() == from_file.surface.tolist() == [4] * 8
    assert browser.others["shape"].tolist() == from_file.others["shape"].tolist()
    assert context.figures == {"n_points": 8, "n_models": 1}
