"""MotionCor: its command line, and its images and shifts on their tilts."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from cryoloom.model import Movie
from cryoloom.programs.motion.motioncor_align_frames import (
    MotioncorAlignFramesParams,
    motioncor_align_frames,
    read_full_log,
)
from makers.drifting_movies import drifting_series

# Options and files of MotionCor3 1.2 (CInput.cpp, CFullAlign.cpp, CAlignMain.cpp).
MOTIONCOR = """
given = options({
    "-InMrc": 1, "-InTiff": 1, "-InEer": 1, "-OutMrc": 1, "-LogDir": 1, "-PixSize": 1, "-kV": 1, "-Cs": 1,
    "-Gpu": (1, 8), "-FtBin": 1, "-Patch": (2, 3), "-Iter": 1, "-Tol": 1, "-Bft": (1, 2), "-PhaseOnly": 1,
    "-Throw": 1, "-Trunc": 1, "-Group": (1, 2), "-FmRef": 1, "-InFmMotion": 1, "-Mag": 3, "-SplitSum": 1,
    "-FmDose": 1, "-InitDose": 1, "-FmIntFile": 1, "-EerSampling": 1, "-Gain": 1, "-GpuMemUsage": 1,
})
movie = next(given[name][0] for name in ("-InMrc", "-InTiff", "-InEer") if name in given)
if not os.path.exists(movie):
    fail("cannot open " + movie)
if given["-LogDir"][0][-1] != "/" or not os.path.isdir(given["-LogDir"][0]):
    fail("no log folder")
index = int(movie[7:11])
if "-Gain" in given:
    read_mrc(given["-Gain"][0])
shape = (1, int(256 / float(given["-FtBin"][0])), int(320 / float(given["-FtBin"][0])))
out = given["-OutMrc"][0]
def image(value):
    n = shape[1] * shape[2]
    return struct.pack(f"<{n}f", *((value + i % 7) for i in range(n)))
write_mrc(out, shape, image(10 * index))
if given["-SplitSum"] == ["1"]:
    write_mrc(out[:-4] + "_ODD.mrc", shape, image(100 + index))
    write_mrc(out[:-4] + "_EVN.mrc", shape, image(200 + index))
if "-FmDose" in given:
    write_mrc(out[:-4] + "_DW.mrc", shape, image(300 + index))
with open(given["-LogDir"][0] + movie[7:11] + "-Full.log", "w") as log:
    log.write("# full frame alignment\\n")
    for i in range(4):
        log.write(f"{i + 1:4d}  {-1.0 * i:8.2f}  {2.0 * i:8.2f}\\n")
pathlib.Path("words.txt").write_text("\\n".join(ARGUMENTS))
"""


@pytest.fixture
def series(rng, tmp_path):
    return drifting_series(tmp_path / "raw data", rng, n_frames=4)[0]


@pytest.fixture
def on_gpu(context):
    context.device = "cuda:2"
    return context


def test_images_halves_and_shifts_reach_their_tilts(series, on_gpu, stand_in):
    stand_in("MotionCor3", MOTIONCOR)
    params = MotioncorAlignFramesParams(binning=2.0, dose_weight_frames=True)
    found = motioncor_align_frames(series, params, on_gpu)
    for tilt in found.tilts:
        index = tilt.acquisition_index
        assert found.stack.images[tilt.section][0, 0] == 10 * index
        assert found.stack.even[tilt.section][0, 0] == 100 + index
        assert found.stack.odd[tilt.section][0, 0] == 200 + index
        assert found.weighted.images[tilt.section][0, 0] == 300 + index
        # Frames are moved by (-1, 2) px of 4 A a frame in x and y, so the specimen went the other way.
        steps = np.diff(tilt.frame_shifts_yx_angstrom, axis=0)
        np.testing.assert_allclose(steps, [[-8.0, 4.0]] * 3)
    assert found.stack.pixel_size_angstrom == 8.0
    words = (on_gpu.scratch() / "words.txt").read_text().split("\n")
    assert words[words.index("-Gpu") + 1] == "2"
    assert words[words.index("-InitDose") + 1] == "3"  # of the last tilt in order, exposed second
    assert words[words.index("-FmDose") + 1] == "0.75"


def test_an_eer_movie_is_grouped_by_its_own_dose(series, on_gpu, stand_in, tmp_path):
    stand_in("MotionCor2", MOTIONCOR.replace('pathlib.Path("words.txt")', "pathlib.Path(f'{index}.txt')"))
    changes = {}
    for index, n_frames in ((0, 308), (1, 350), (2, 308)):
        (tmp_path / f"{index}.eer").touch()
        changes[index] = {"movie": Movie(tmp_path / f"{index}.eer", n_frames, (256, 320), 1)}
    params = MotioncorAlignFramesParams(eer_dose_per_fraction=0.5, use_gain=False)
    motioncor_align_frames(series.with_tilts(changes), params, on_gpu)
    scratch = on_gpu.scratch()
    assert (scratch / "fractions_0000.txt").read_text() == "308 51 0.00974026\n"
    assert (scratch / "fractions_0001.txt").read_text() == "350 58 0.00857143\n"
    assert "-Gain" not in (scratch / "1.txt").read_text()


def test_without_a_gpu_it_is_not_begun(series, context, stand_in):
    stand_in("MotionCor3", MOTIONCOR)
    with pytest.raises(UserInputError, match="MotionCor needs a GPU"):
        motioncor_align_frames(series, MotioncorAlignFramesParams(), context)


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        ("print('Error: GPU 0 is out of memory'); sys.exit(0)", TransientError, "GPU's memory is full"),
        ("sys.exit(0)", DataUnfitError, "without writing out/0002.mrc, out/0002_ODD.mrc"),
        (MOTIONCOR.replace("value + i % 7", "float('nan')"), DataUnfitError, "NaN|finite"),
    ],
)
def test_a_failed_run_gives_nothing(series, on_gpu, stand_in, body, kind, sentence):
    from cryoloom.engine.worker.gates import GatedSink
    from cryoloom.formats.pixels.mrc import MrcSink

    def gated(role, shape, pixel_size_angstrom, **more):
        path = on_gpu.scratch() / f"kept_{role}.mrc"
        return GatedSink(role, MrcSink(path, shape, pixel_size_angstrom), path, pixel_size_angstrom)

    on_gpu.new_pixels = gated
    stand_in("MotionCor3", body)
    with pytest.raises(kind, match=sentence):
        motioncor_align_frames(series, MotioncorAlignFramesParams(), on_gpu)


def test_a_log_that_is_no_log(tmp_path):
    with pytest.raises(DataUnfitError, match="no log of whole frames"):
        read_full_log(tmp_path)
    (tmp_path / "a-Full.log").write_text("# full frame alignment\n1 nan 0\n")
    with pytest.raises(DataUnfitError, match="not finite"):
        read_full_log(tmp_path)
