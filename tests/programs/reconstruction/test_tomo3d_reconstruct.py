"""tomo3d: its options, the order of axes, and images centred as it turns them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Pose, Stack
from cryoloom.programs.reconstruction.tomo3d_reconstruct import Tomo3dReconstructParams, tomo3d_reconstruct
from makers.made_series import aligned, make_series

TOMO3D = """
given = options({"-i": 1, "-a": 1, "-o": 1, "-t": 1, "-z": 1, "-l": 1}, flags=("-S",))
(n, n_y, n_x), body = read_mrc(given["-i"][0])
if len(open(given["-a"][0]).read().split()) != n:
    fail("an angle for each image")
z = int(given["-z"][0])
values = [10000 * k + 100 * j + i for j in range(n_y) for k in range(z) for i in range(n_x)]
write_mrc(given["-o"][0], (n_y, z, n_x), struct.pack(f"<{len(values)}f", *values))
pathlib.Path("words.txt").write_text(" ".join(ARGUMENTS))
"""


@pytest.fixture
def series(rng):
    made = aligned(
        make_series(n_tilts=7, shape_yx=(12, 16), rng=rng, pixel_size_angstrom=10.0), leave_out=(4,)
    )
    upright = {
        t.acquisition_index: {"pose": Pose(0.0, t.nominal_tilt_deg)} for t in made.tilts if t.pose is not None
    }
    images = made.stack.images
    return replace(made.with_tilts(upright), stack=Stack(images, 10.0, images + 1, images + 2))


def test_axes_and_options(series, context, stand_in):
    stand_in("tomo3d", TOMO3D)
    found = tomo3d_reconstruct(series, Tomo3dReconstructParams(thickness_angstrom=80.0), context)
    assert found.volume.shape == (8, 12, 16)
    assert found.volume[7, 5, 3] == 503
    assert np.asarray(found.odd).shape == (8, 12, 16)
    assert "-z 8 -S -l 30" in (context.scratch() / "words.txt").read_text()
    assert found.series.included[0].pose.shift_xy_angstrom[1] == pytest.approx(5.0)


def test_images_that_are_not_aligned(series, context, stand_in):
    stand_in("tomo3d", TOMO3D)
    with pytest.raises(DataUnfitError, match="tomo3d takes aligned images"):
        tomo3d_reconstruct(aligned(series), Tomo3dReconstructParams(), context)
