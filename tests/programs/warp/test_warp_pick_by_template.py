"""WarpTools' picks in our frame: mirrored in z, the template shown as it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.geometry.rotations import matrix_from_euler_zyz_deg
from cryoloom.model import Tomogram
from cryoloom.programs.warp.warp_pick_by_template import (
    WarpPickByTemplateParams,
    parse,
    warp_pick_by_template,
)
from makers.context import MemoryContext
from makers.made_series import aligned, make_series
from makers.warp_stand_ins import WARPTOOLS


@pytest.fixture
def tomogram(rng, stand_in):
    stand_in("WarpTools", WARPTOOLS)
    series = aligned(make_series("TS 01", n_tilts=5, shape_yx=(48, 64), rng=rng, pixel_size_angstrom=5.0))
    return Tomogram(series, rng.normal(size=(20, 24, 32)).astype(np.float32), 10.0)


@pytest.fixture
def template(tmp_path, rng):
    path = tmp_path / "a ribosome.mrc"
    write_mrc(path, rng.normal(size=(16, 16, 16)).astype(np.float32), 10.0)
    return path


def test_picks_above_the_score_in_our_frame(tomogram, template):
    context = MemoryContext(device="cuda:0")
    found = warp_pick_by_template(tomogram, WarpPickByTemplateParams(template=template), context)
    rows = found.rows()
    # Parts of 320 x 240 x 200 A from the corner, z the other way.
    assert_allclose(rows.positions_xyz_angstrom, [[0, 0, 50], [80, 0, 0]], atol=1e-9)
    assert rows.score.tolist() == [8.5, 6.5]
    assert found.species == "a ribosome"
    assert found.template.map.shape == (16, 16, 16)
    assert found.common_reference == "the template"
    assert context.figures["n_particles"] == 2


def test_the_template_is_seen_where_warp_saw_its_mirror(tomogram, template):
    """A point of the template, flipped and turned as Warp says, is ours mirrored in z."""
    context = MemoryContext(device="cuda:0")
    rows = warp_pick_by_template(tomogram, WarpPickByTemplateParams(template=template), context).rows()
    point = np.array([10.0, 20.0, 30.0])
    by_warp = matrix_from_euler_zyz_deg(30.0, 50.0, 70.0) @ (point * (-1, 1, 1))
    assert_allclose(rows.rotations[0] @ point, by_warp * (1, 1, -1), atol=1e-9)
    assert_allclose(np.linalg.det(rows.rotations), 1.0)


def test_what_cannot_be_picked(tomogram, template, tmp_path):
    context = MemoryContext(device="cuda:0")
    with pytest.raises(UserInputError, match="the template None is not there"):
        warp_pick_by_template(tomogram, WarpPickByTemplateParams(), context)
    params = WarpPickByTemplateParams(template=template, least_score=9.0)
    assert warp_pick_by_template(tomogram, params, context).n_particles == 0
    assert "no particle of TS 01 reaches the score 9" in context.warnings[0]
    columns = ["CoordinateX", "CoordinateY", "CoordinateZ", "AngleRot", "AngleTilt", "AnglePsi"]
    head = "".join(f"_rln{name} #{i}\n" for i, name in enumerate([*columns, "AutopickFigureOfMerit"], 1))
    (tmp_path / "p.star").write_text(f"\ndata_\n\nloop_\n{head}120 40 30 0 0 0 7\n50 40 30 0 0 0 7\n")
    with pytest.raises(DataUnfitError, match="expected parts of the volume between 0 and 1"):
        parse(tmp_path / "p.star", tomogram)
