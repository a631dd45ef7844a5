"""Poses that are in doubt do not decide where the specimen lies."""

import numpy as np
import torch

from cryoloom.algorithms.series.tilt_images import TiltImages
from cryoloom.model import Microscope, Pose, Slab, Sourced, Tilt, TiltSeries
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES, place_specimen

N = 7


def test_doubted_poses_tell_no_thickness_and_no_middle(rng, context):
    tilts = tuple(
        Tilt(i, 10.0 * i - 30.0, 3.0 * i, 3.0 * i + 3.0, section=i, pose=Pose(85.0, 10.0 * i - 30.0))
        for i in range(N)
    )
    series = TiltSeries(
        "TS_01", Microscope(), 5.0, tilts, slab=Slab(thickness_angstrom=Sourced(measured=277.0))
    )
    images = TiltImages(torch.from_numpy(rng.normal(size=(N, 64, 64))).float(), 15.0, np.ones(N), np.ones(N))
    placed = place_specimen(
        series, images, list(range(N)), context, by="a test", centre=True, doubt="the poses are in parts"
    )
    assert placed.slab is None
    assert [tilt.pose for tilt in placed.tilts] == [tilt.pose for tilt in tilts]
    names = {figure.name for figure in SPECIMEN_FIGURES}
    assert all(np.isnan(context.figures[name]) for name in names & set(context.figures))
    assert dict.fromkeys(names, "the poses are in parts").items() <= context.reasons_not_measurable.items()
    assert "was not found: the poses are in parts" in context.warnings[0]
