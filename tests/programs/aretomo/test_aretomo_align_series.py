"""AreTomo's alignment reaches the right tilts, whatever it or somebody else left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Exclusion, Sourced
from cryoloom.programs.aretomo.aretomo_align_series import AretomoAlignSeriesParams, aretomo_align_series
from makers.made_series import make_series

# Options and files of AreTomo2 1.1.3 (CInput.cpp, CSaveAlnFile.cpp, CSaveCtfResults.cpp). The shift it finds
# tells the order of acquisition; an image that is all zero is dark.
ARETOMO = """
given = options({
    "-InMrc": 1, "-OutMrc": 1, "-AngFile": 1, "-VolZ": 1, "-OutBin": 1, "-PixSize": 1, "-Kv": 1,
    "-Gpu": (1, 8), "-AlignZ": 1, "-TiltAxis": (1, 2), "-TiltCor": (1, 2), "-Patch": 2, "-Bft": (1, 2),
    "-DarkTol": 1, "-AmpContrast": 1, "-Cs": 1, "-ExtPhase": (1, 2),
})
(n, n_y, n_x), body = read_mrc(given["-InMrc"][0])
rows = [line.split() for line in open(given["-AngFile"][0])]
if len(rows) != n:
    fail(f"{len(rows)} angles for {n} images")
if given["-VolZ"] != ["0"]:
    fail("no volume was wanted")
size = 4 * n_x * n_y
dark = [i for i in range(n) if not any(body[i * size:(i + 1) * size])]
in_order = sorted(range(n), key=lambda i: float(rows[i][0]))
axis, refine = float(given["-TiltAxis"][0]), given["-TiltAxis"][1]
offset = 1.5 if given["-TiltCor"][0] == "1" else 0.0
out = given["-OutMrc"][0].rsplit("/", 1)[0] + "/"
with open(out + "stack.aln", "w") as aln:
    aln.write("# AreTomo Alignment / Priims bprmMn \\n")
    aln.write(f"# RawSize = {n_x} {n_y} {n}\\n# NumPatches = 0\\n")
    for place, i in enumerate(in_order):
        if i in dark:
            aln.write(f"# DarkFrame =  {place:4d} {i + 1:4d} {float(rows[i][0]):8.2f}\\n")
    aln.write("# SEC     ROT         GMAG       TX          TY      SMEAN   SFIT  SCALE  BASE  TILT\\n")
    for i in in_order:
        if i not in dark:
            order, tilt = int(rows[i][1]), float(rows[i][0]) + offset
            turn = axis + (1.0 if refine == "1" else 0.0)
            row = f"{i + 1:5d}  {turn:9.4f}  1.00000  {order:9.3f}  {-2 * order:9.3f}"
            aln.write(row + f"  1 1 1 0 {tilt:8.2f}\\n")
if "-Cs" in given:
    with open(out + "stack_ctf.txt", "w") as table:
        table.write("# Columns: #1 micrograph number\\n")
        for rank, i in enumerate(j for j in in_order if j not in dark):
            defocus = 20000 + 10 * int(rows[i][1])
            table.write(f"{rank + 1:4d} {defocus + 5:8.2f} {defocus:8.2f} 30.0 0.0 0.3 10.0\\n")
"""


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=11, shape_yx=(64, 48), rng=rng, pixel_size_angstrom=10.0)
    images = made.stack.images
    images[7] = 0.0
    excluded = {tilt.acquisition_index: tilt for tilt in made.tilts if tilt.section == 3}
    changes = {index: {"exclusion": Exclusion.by_user("ice")} for index in excluded}
    return replace(made.with_tilts(changes), tilt_axis_deg=Sourced.from_told(-95.0, "mdoc"))


@pytest.fixture
def on_gpu(context):
    context.device = "cuda:0"
    return context


@pytest.fixture(autouse=True)
def images_on_the_processor(monkeypatch):
    """The stand-in needs no GPU, and neither does the search for the specimen behind it."""
    from cryoloom.procedures import foreign_poses

    load = foreign_poses.load_tilt_images
    monkeypatch.setattr(foreign_poses, "load_tilt_images", lambda *given, device: load(*given, device="cpu"))


def test_poses_and_ctfs_go_by_acquisition_index(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO, version="1.1.3")
    found = aretomo_align_series(series, AretomoAlignSeriesParams(estimate_ctf=True), on_gpu)
    posed = [tilt for tilt in found.tilts if tilt.pose is not None]
    assert [tilt.section for tilt in found.tilts if tilt.pose is None] == [3, 7]
    for tilt in posed:
        order = tilt.acquisition_index + 1
        assert tilt.pose.axis_deg == -94.0
        assert tilt.pose.tilt_deg == tilt.nominal_tilt_deg
        # AreTomo centres at n / 2 - 1 / 2, we at n // 2: half a pixel of 10 A.
        assert_allclose(tilt.pose.shift_xy_angstrom, (10 * order + 5, -20 * order + 5), atol=10.01)
        steps = np.array(tilt.pose.shift_xy_angstrom) - np.array(posed[0].pose.shift_xy_angstrom)
        apart = order - (posed[0].acquisition_index + 1)
        assert_allclose(steps, (10 * apart, -20 * apart), atol=1e-6)
        assert tilt.ctf.defocus_v_angstrom == 20000 + 10 * order
    dark, ice = (next(t for t in found.tilts if t.section == section) for section in (7, 3))
    assert "stack.aln" in dark.exclusion.reason
    assert ice.exclusion.reason == "ice"
    assert found.stack is series.stack
    assert on_gpu.figures["n_imported"] == 9


def test_the_axis_is_held_and_the_offset_of_the_tilts_kept(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO, version="1.1.3")
    params = AretomoAlignSeriesParams(axis_deg=-96.0, refine_axis=False, tilt_offset=(1, 0.0))
    found = aretomo_align_series(series, params, on_gpu)
    assert found.tilt_axis_deg.applied == -96.0
    assert found.tilt_offset_deg.applied == pytest.approx(1.5)


def test_without_an_axis_there_is_nothing_to_hold(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO)
    unknown = replace(series, tilt_axis_deg=Sourced())
    with pytest.raises(DataUnfitError, match="the tilt axis of TS_01 is unknown"):
        aretomo_align_series(unknown, AretomoAlignSeriesParams(refine_axis=False), on_gpu)


def test_without_a_gpu(series, context, stand_in):
    stand_in("AreTomo2", ARETOMO)
    with pytest.raises(UserInputError, match="AreTomo2 needs a GPU"):
        aretomo_align_series(series, AretomoAlignSeriesParams(), context)
