"""IMOD's fiducial alignment: seeds, tracks and the solution, and what beadtrack is given."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from cryoloom.model import Exclusion, Sourced
from cryoloom.programs.imod.imod_align_by_beads import ImodAlignByBeadsParams, imod_align_by_beads
from makers import imod_stand_ins
from makers.made_series import make_series


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=7, shape_yx=(64, 48), rng=rng, pixel_size_angstrom=5.0)
    excluded = next(tilt.acquisition_index for tilt in made.tilts if tilt.section == 2)
    made = made.with_tilts({excluded: {"exclusion": Exclusion.by_user("ice")}})
    return replace(made, tilt_axis_deg=Sourced.from_told(84.0, "mdoc"))


def test_beads_are_tracked_in_binned_pixels(series, context, stand_in):
    for name in ("tiltxcorr", "xftoxg", "newstack", "autofidseed", "beadtrack", "tiltalign", "xfproduct"):
        stand_in(name, getattr(imod_stand_ins, name.upper()))
    params = ImodAlignByBeadsParams(binning=2, bead_diameter_angstrom=150.0, n_beads=12, two_surfaces=True)
    found = imod_align_by_beads(series, params, context)
    assert [tilt.section for tilt in found.tilts if tilt.pose is None] == [2]
    given = ast.literal_eval((context.scratch() / "track.txt.read").read_text())
    given = {name: value.strip() for name, value in given.items()}
    assert given["BeadDiameter"] == "15.000"
    assert given["PixelSize"] == "1.00000"  # nanometre
    assert given["RotationAngle"] == "84"
    assert given["DeletionCriterionMinAndSD"] == "0.04,2"
    assert (context.scratch() / "stack.seed").read_text() == "IMODV1.2 12"
    assert context.figures["residual_mean_angstrom"] == pytest.approx(0.512 * 2 * 5.0)
