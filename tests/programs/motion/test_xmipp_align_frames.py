"""FlexAlign: its command, its table of shifts, and sums of the frames it aligned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.model import Movie
from cryoloom.programs.motion.xmipp_align_frames import XmippAlignFramesParams, xmipp_align_frames
from makers.drifting_movies import drifting_series

# Options of Xmipp 3.25 (movie_alignment_correlation_base.cpp and _gpu.cpp); its table as Xmipp writes tables.
FLEXALIGN = """
given = options(dict.fromkeys(["-i", "-o", "--oavg", "--oaligned", "--bin", "--maxShift", "--sampling",
    "--maxResForCorrelation", "--gain", "--minLocalRes", "--device", "--patchesAvg"], 1)
    | {"--frameRange": 2, "--frameRangeSum": 2, "--patches": 2, "--controlPoints": 3},
    flags=("--skipLocalAlignment",))
(n, n_y, n_x), body = read_mrc(given["-i"][0])
bin = round(float(given["--bin"][0]))
x, y = n_x // bin, n_y // bin
with open(given["-o"][0], "w") as table:
    table.write("# XMIPP_STAR_1 * \\n# \\ndata_referenceFrame\\n _ref    1\\ndata_frameShifts\\nloop_\\n")
    table.write(" _enabled\\n _image\\n _shiftX\\n _shiftY\\n _weight\\n")
    for i in range(n):
        row = f"         1 {i + 1:06d}@{given['-i'][0]} {1.5 * i:12.6f} {-0.5 * i:12.6f} 1.0 "
        table.write(row + "\\n")
frames = [float(i + 1) for i in range(n) for _ in range(x * y)]
mean = sum(i + 1 for i in range(n)) / n
noise = lambda k: 0.001 * (k % 7)
write_mrc(given["--oavg"][0], (1, y, x), struct.pack(f"<{x * y}f", *(mean + noise(k) for k in range(x * y))))
if "--oaligned" in given:
    values = [value + noise(k) for k, value in enumerate(frames)]
    write_mrc(given["--oaligned"][0], (n, y, x), struct.pack(f"<{len(values)}f", *values))
pathlib.Path("words.txt").write_text(" ".join(ARGUMENTS))
"""


@pytest.fixture
def series(rng, tmp_path):
    made, _ = drifting_series(tmp_path, rng, n_frames=4, shape_yx=(16, 24), suffix=".mrc")
    return made


@pytest.fixture
def on_gpu(context, stand_in):
    stand_in("xmipp_cuda_movie_alignment_correlation", FLEXALIGN)
    context.device = "cuda:0"
    return context


def test_sums_and_positions(series, on_gpu):
    found = xmipp_align_frames(series, XmippAlignFramesParams(binning=2.0), on_gpu)
    assert found.stack.images.shape == (3, 8, 12)
    assert found.stack.pixel_size_angstrom == 2 * series.pixel_size_angstrom
    assert_allclose(found.stack.even[1], 1 + 3, atol=0.02)
    assert_allclose(found.stack.images[1], 1 + 2 + 3 + 4, atol=0.03)
    shifts = np.array(found.tilts[0].frame_shifts_yx_angstrom)
    # The specimen is where the frame is moved from; a binned pixel is two of the movie.
    expected = -np.arange(4)[:, None] * (-0.5, 1.5) * 2 * series.pixel_size_angstrom
    assert_allclose(shifts, expected - expected.mean(axis=0))
    assert "--skipLocalAlignment" in (on_gpu.scratch() / "words.txt").read_text()


def test_without_halves_the_mean_becomes_a_sum(series, on_gpu):
    params = XmippAlignFramesParams(halves=False, local_motion=True, patches_xy=(3, 2))
    found = xmipp_align_frames(series, params, on_gpu)
    assert found.stack.even is None
    assert_allclose(found.stack.images[2], 10.0, atol=0.03)
    words = (on_gpu.scratch() / "words.txt").read_text()
    assert "--patches 3 2 --controlPoints 6 6 5" in words
    assert "--oaligned" not in words


def test_eer_is_refused(series, on_gpu):
    eer = series.with_tilts({0: {"movie": Movie(Path("/data/a.eer"), 300, (16, 24))}})
    with pytest.raises(DataUnfitError, match=r"FlexAlign is not given EER movies \(a\.eer\)"):
        xmipp_align_frames(eer, XmippAlignFramesParams(), on_gpu)


def test_shifts_that_are_missing(series, on_gpu, stand_in):
    stand_in("xmipp_cuda_movie_alignment_correlation", FLEXALIGN.replace("data_frameShifts", "data_other"))
    with pytest.raises(DataUnfitError, match="holds no shifts in its block frameShifts"):
        xmipp_align_frames(replace(series, gain=None), XmippAlignFramesParams(), on_gpu)
