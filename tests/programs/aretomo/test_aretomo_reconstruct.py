"""AreTomo's tomogram: its alignment file, the order of its axes and the place of its origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.formats.aretomo.aln import read_aln
from cryoloom.model import Stack
from cryoloom.programs.aretomo.aretomo_reconstruct import AretomoReconstructParams, aretomo_reconstruct
from makers.made_series import aligned, make_series

# A volume of sections along y with rows of z; a voxel tells its place.
ARETOMO = """
given = options({
    "-InMrc": 1, "-OutMrc": 1, "-AngFile": 1, "-AlnFile": 1, "-FlipVol": 1, "-PixSize": 1, "-Kv": 1,
    "-Gpu": 1, "-VolZ": 1, "-OutBin": 1, "-Wbp": 1, "-Sart": 2, "-ReconRange": 2,
    "-IntpCor": 1, "-FlipInt": 1,
})
(n, n_y, n_x), body = read_mrc(given["-InMrc"][0])
if len([1 for line in open(given["-AlnFile"][0]) if not line.startswith("#")]) != n:
    fail("the alignment is of other images")
if given["-FlipVol"] != ["0"]:
    fail("not flipped")
bin = float(given["-OutBin"][0])
x, y, z = int(n_x / bin), int(n_y / bin), int(float(given["-VolZ"][0]) / bin) // 2 * 2
half = {"images": 0, "even": 1, "odd": 2}[given["-InMrc"][0][:-4]]
values = [1000000 * half + 10000 * k + 100 * j + i for j in range(y) for k in range(z) for i in range(x)]
write_mrc(given["-OutMrc"][0], (y, z, x), struct.pack(f"<{len(values)}f", *values))
"""


@pytest.fixture
def series(rng):
    made = aligned(
        make_series(n_tilts=7, shape_yx=(24, 16), rng=rng, pixel_size_angstrom=5.0), leave_out=(4,)
    )
    images = made.stack.images
    return replace(made, stack=Stack(images, 5.0, images + 1, images + 2))


@pytest.fixture
def on_gpu(context):
    context.device = "cuda:0"
    return context


def test_axes_halves_and_origin(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO)
    params = AretomoReconstructParams(binning=2.0, thickness_angstrom=100.0)
    found = aretomo_reconstruct(series, params, on_gpu)
    assert found.volume.shape == (10, 12, 8)
    assert found.volume[7, 5, 3] == 70503
    assert found.even[7, 5, 3] == 1070503
    assert found.odd[7, 5, 3] == 2070503
    assert found.voxel_size_angstrom == 10.0
    assert len(read_aln(on_gpu.scratch() / "stack.aln").section) == 6
    # The origin of the alignment is at index (n - 1) / 2; index n // 2 is half a voxel further on all axes.
    for before, after in zip(series.included, found.series.included, strict=True):
        moved = np.array(after.pose.shift_xy_angstrom) - np.array(before.pose.shift_xy_angstrom)
        assert_allclose(moved, (before.pose.matrix @ np.full(3, 5.0))[:2], atol=1e-9)


def test_sart_without_halves(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO)
    params = AretomoReconstructParams(method="sart", halves=False, thickness_angstrom=100.0)
    found = aretomo_reconstruct(series, params, on_gpu)
    assert found.even is None
    assert found.method == "SART (AreTomo)"


def test_a_volume_of_another_thickness_is_refused(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO.replace("// 2 * 2\n", "// 2 * 2 + 2\n"))
    with pytest.raises(DataUnfitError, match="a volume of 8 planes, expected 6"):
        aretomo_reconstruct(series, AretomoReconstructParams(thickness_angstrom=130.0), on_gpu)


def test_a_series_that_is_not_aligned(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO)
    bare = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    with pytest.raises(DataUnfitError, match="have no pose; align the series first"):
        aretomo_reconstruct(bare, AretomoReconstructParams(), on_gpu)
