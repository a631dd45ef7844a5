"""IMOD itself, where it is installed: signs, centres and orders of its files, on beads at known places."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.geometry.projection import project, projection_matrices
from cryoloom.model import Ctf, Exclusion, Pose, Sourced, Stack, Tomogram
from cryoloom.procedures import foreign_poses
from cryoloom.programs.imod.imod_align_by_beads import ImodAlignByBeadsParams, imod_align_by_beads
from cryoloom.programs.imod.imod_align_series import ImodAlignSeriesParams, imod_align_series
from cryoloom.programs.imod.imod_apply_alignment import ImodApplyAlignmentParams, imod_apply_alignment
from cryoloom.programs.imod.imod_bin_series import ImodBinSeriesParams, imod_bin_series
from cryoloom.programs.imod.imod_correct_ctf import ImodCorrectCtfParams, imod_correct_ctf
from cryoloom.programs.imod.imod_erase_xrays import ImodEraseXraysParams, imod_erase_xrays
from cryoloom.programs.imod.imod_reconstruct import ImodReconstructParams, imod_reconstruct
from cryoloom.programs.imod.imod_trim_tomogram import ImodTrimTomogramParams, imod_trim_tomogram
from cryoloom.simulate.assess import alignment_error_angstrom
from cryoloom.steps.apply_alignment import ApplyAlignmentParams, apply_alignment
from cryoloom.steps.correct_ctf import CorrectCtfParams, correct_ctf
from cryoloom.steps.trim_tomogram import TrimTomogramParams, trim_tomogram
from makers.context import MemoryContext
from makers.made_series import make_series

pytestmark = pytest.mark.skipif(
    "IMOD_DIR" not in os.environ or shutil.which("tiltalign") is None, reason="IMOD is not installed"
)

PIXEL, SHAPE_YX, AXIS = 10.0, (160, 192), 4.0
RADIUS_PX = 4.0


class _Known:
    """What `alignment_error_angstrom` asks of a truth."""

    def __init__(self, series):
        self._tilts = {tilt.acquisition_index: tilt for tilt in series.tilts}

    def tilt(self, index):
        return self._tilts[index]


@pytest.fixture
def beads(rng):
    """``(n, 3)`` xyz in angstrom, far enough apart to be distinguished."""
    found = [rng.uniform((-500, -600, -200), (500, 600, 200))]
    while len(found) < 18:
        one = rng.uniform((-500, -600, -200), (500, 600, 200))
        if min(np.linalg.norm((one - other)[:2]) for other in found) > 130:
            found.append(one)
    return np.array(found)


@pytest.fixture
def series(beads, rng):
    """Dark beads in noise, shifted, at an axis of 4 degrees; one tilt is left out."""
    made = make_series(n_tilts=21, shape_yx=SHAPE_YX, pixel_size_angstrom=PIXEL, step_deg=6.0)
    changes = {
        t.acquisition_index: {
            "pose": Pose(AXIS, t.nominal_tilt_deg, shift_xy_angstrom=tuple(rng.uniform(-60, 60, 2)))
        }
        for t in made.tilts
    }
    excluded = next(t.acquisition_index for t in made.tilts if t.section == 6)
    changes[excluded] |= {"exclusion": Exclusion.by_user("ice")}
    made = made.with_tilts(changes)
    tilts = sorted(made.tilts, key=lambda tilt: tilt.section)
    seen = project(
        beads,
        projection_matrices(AXIS, [t.pose.tilt_deg for t in tilts]),
        np.array([t.pose.shift_xy_angstrom for t in tilts]),
    )
    n_y, n_x = SHAPE_YX
    y, x = np.indices(SHAPE_YX)
    images = np.empty((len(tilts), n_y, n_x), np.float32)
    for section, places in enumerate(seen / PIXEL + (n_x // 2, n_y // 2)):
        image = 100 + rng.normal(0, 6, SHAPE_YX)
        for px, py in places:
            image -= 60 / (1 + np.exp(np.clip((np.hypot(x - px, y - py) - RADIUS_PX) / 0.4, -50, 50)))
        images[section] = image
    return replace(made, stack=Stack(images, PIXEL), tilt_axis_deg=Sourced.from_told(AXIS, "test"))


@pytest.fixture(autouse=True)
def no_search(monkeypatch):
    """The specimen is beads; there is nothing to search for."""
    monkeypatch.setattr(foreign_poses, "load_tilt_images", lambda *given, **how: None)
    monkeypatch.setattr(foreign_poses, "place_specimen", lambda aligned, *given, **how: aligned)


def test_tilt_puts_beads_where_they_are(series, beads, context):
    params = ImodReconstructParams(
        binning=2, thickness_angstrom=800.0, falloff_is_sigma=False, multiscale=False, halves=False
    )
    made = imod_reconstruct(series, params, context)
    volume, voxel = np.asarray(made.volume), made.voxel_size_angstrom
    # The volume's own origin is given by the poses that it carries.
    tilt = made.series.included[0]
    before = next(t for t in series.tilts if t.acquisition_index == tilt.acquisition_index)
    matrix = projection_matrices(AXIS, before.pose.tilt_deg)
    moved = np.subtract(tilt.pose.shift_xy_angstrom, before.pose.shift_xy_angstrom)
    offset = np.linalg.lstsq(
        np.concatenate([projection_matrices(AXIS, t.pose.tilt_deg)[:2] for t in made.series.included]),
        np.concatenate([
            np.subtract(t.pose.shift_xy_angstrom, b.pose.shift_xy_angstrom)
            for t, b in zip(made.series.included, series.included, strict=True)
        ]),
        rcond=None,
    )[0]  # fmt: skip
    assert_allclose(matrix[:2] @ offset, moved, atol=1e-6)
    errors = []
    for bead in beads - offset:
        centre = bead[::-1] / voxel + np.array(volume.shape) // 2
        low = np.round(centre).astype(int) - 4
        if (low < 0).any() or (low + 9 > volume.shape).any():
            continue
        box = volume[tuple(slice(n, n + 9) for n in low)]
        weight = np.clip(np.median(volume) - box, 0, None) ** 2
        at = [(np.indices(box.shape)[axis] * weight).sum() / weight.sum() for axis in range(3)]
        errors.append(low + at - centre)
    assert len(errors) > 10
    # The mean is a shift of the whole volume: half a voxel would be 0.5. z is blurred by the missing wedge.
    assert_allclose(np.mean(errors, axis=0), 0.0, atol=0.15)
    assert np.sqrt(np.mean(np.square(errors))) < 0.6


@pytest.mark.parametrize("method", ["patches", "beads"])
def test_alignments_find_the_geometry(series, context, method):
    bare = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    if method == "patches":
        params = ImodAlignSeriesParams(binning=1, patch_angstrom=500.0, patch_overlap=(0.5, 0.5))
        found = imod_align_series(bare, params, context)
    else:
        # These three are younger than the public sources of 2014.
        params = ImodAlignByBeadsParams(
            binning=1, bead_diameter_angstrom=2 * RADIUS_PX * PIXEL, n_beads=14,
            sobel_sigma=None, lowpass_per_nm=None, scaled_from_px=None, local_areas=False,
        )  # fmt: skip
        found = imod_align_by_beads(bare, params, context)
    points = np.random.default_rng(1).uniform((-500, -600, -200), (500, 600, 200), (60, 3))
    error = alignment_error_angstrom(_Known(series), found, points)
    assert error.rms_angstrom < (2.0 if method == "patches" else 0.4) * PIXEL
    assert found.tilt_axis_deg.applied == pytest.approx(AXIS, abs=1.0 if method == "patches" else 0.3)
    assert [tilt.section for tilt in found.tilts if tilt.pose is None] == [6]


def test_ccderaser_takes_a_hot_pixel_out(series, context):
    images = np.array(series.stack.images)
    images[3, 80, 100] = 3000.0
    hot = replace(series, stack=Stack(images, PIXEL))
    found = imod_erase_xrays(hot, ImodEraseXraysParams(), context)
    assert found.stack.images[3, 80, 100] < 140
    # Of another section nothing changes but a bead with a steep edge.
    assert np.mean(np.abs(found.stack.images[5] - images[5]) > 1e-3) < 0.01


def _bead_errors(found, beads):
    """Where beads are less where the poses say, in pixels, ``(n, 2)`` xy, of the less tilted images."""
    pixel = found.stack.pixel_size_angstrom
    n_y, n_x = found.stack.shape_yx
    errors = []
    for tilt in found.tilts:
        if tilt.pose is None or abs(tilt.pose.tilt_deg) > 25:
            continue
        seen = project(beads, tilt.pose.matrix[None], np.array([tilt.pose.shift_xy_angstrom]))[0]
        image = np.asarray(found.stack.images[tilt.section])
        for x, y in seen / pixel + (n_x // 2, n_y // 2):
            low_x, low_y = round(x) - 4, round(y) - 4
            if min(low_x, low_y) < 0 or low_x + 9 > n_x or low_y + 9 > n_y:
                continue
            box = image[low_y : low_y + 9, low_x : low_x + 9]
            weight = np.clip(85 - box, 0, None)
            rows, columns = np.indices(box.shape)
            at = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
            errors.append(at + np.array([low_x - x, low_y - y]))
    return errors


@pytest.mark.parametrize("binning", [2, 3])
def test_newstack_bins_beads_to_where_the_poses_say(series, beads, context, binning):
    found = imod_bin_series(series, ImodBinSeriesParams(binning=binning), context)
    errors = _bead_errors(found, beads)
    assert len(errors) > 40
    # Half a pixel of the images before would be 0.25 or 0.17 here.
    assert_allclose(np.median(errors, axis=0), 0.0, atol=0.06)


@pytest.mark.parametrize("binning", [1, 2])
def test_newstack_aligns_beads_to_where_the_poses_say(series, beads, context, binning):
    found = imod_apply_alignment(series, ImodApplyAlignmentParams(binning=binning), context)
    errors = _bead_errors(found, beads)
    assert len(errors) > 40
    assert_allclose(np.median(errors, axis=0), 0.0, atol=0.08)
    native = apply_alignment(series, ApplyAlignmentParams(binning=binning), MemoryContext())
    middle = next(t.section for t in series.tilts if t.nominal_tilt_deg == 0)
    assert native.stack.images.shape == found.stack.images.shape
    one, other = (np.asarray(s.stack.images[middle])[10:-10, 10:-10] for s in (native, found))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9


def test_trimvol_keeps_what_the_native_step_keeps(series, rng, context):
    volume = rng.normal(size=(20, 30, 25)).astype(np.float32)
    tomogram = Tomogram(series, volume, 10.0, volume + 1, volume - 1)
    region = {
        "thickness_angstrom": 120.0,
        "length_angstrom": 160.0,
        "middle_xyz_angstrom": (0.0, -30.0, 20.0),
    }
    found = imod_trim_tomogram(tomogram, ImodTrimTomogramParams(**region), context)
    native = trim_tomogram(tomogram, TrimTomogramParams(**region), MemoryContext())
    assert_allclose(found.volume, native.volume)
    assert_allclose(found.even, native.even)


def _defocus_of_2014(path, series):
    """The file's second version, which IMOD of the public sources reads: no astigmatism, no flags."""
    angle_of = dict(zip((t.acquisition_index for t in series.tilts), series.tilt_deg, strict=True))
    rows = []
    for tilt in sorted(series.tilts, key=lambda tilt: tilt.section):
        view, angle = tilt.section + 1, angle_of[tilt.acquisition_index]
        rows.append(f"{view} {view} {angle:.2f} {angle:.2f} {tilt.ctf.defocus_angstrom / 10:.1f}")
    path.write_text("\n".join([f"{rows[0]} 2", *rows[1:]]) + "\n")


@pytest.mark.parametrize("by", ["imod_correct_ctf", "imod_reconstruct"])
@pytest.mark.parametrize("hand", [1.0, -1.0])
def test_ctfphaseflip_knows_our_handedness(rng, hand, by, monkeypatch):
    """Strips of a tilted image are flipped as the native step does for this hand, not for the other."""
    made = make_series(n_tilts=3, shape_yx=(255, 511), pixel_size_angstrom=4.0, step_deg=55.0)
    changes = {
        t.acquisition_index: {
            "pose": Pose(0.0, t.nominal_tilt_deg),
            "ctf": Ctf(30000.0, 30000.0, 0.0, refers_to="origin"),
        }
        for t in made.tilts
    }
    images = rng.normal(0, 1, (3, 255, 511)).astype(np.float32)
    series = replace(
        made.with_tilts(changes),
        stack=Stack(images, 4.0),
        tilt_axis_deg=Sourced.from_told(0.0, "test"),
        handedness=Sourced.from_told(hand, "test"),
    )
    monkeypatch.setattr("cryoloom.formats.imod.export.write_imod_defocus", _defocus_of_2014)
    context = MemoryContext()
    if by == "imod_correct_ctf":
        params = ImodCorrectCtfParams(defocus_tolerance_angstrom=500.0)
        by_imod = np.asarray(imod_correct_ctf(series, params, context).corrected.images)
    else:
        params = ImodReconstructParams(
            binning=1, thickness_angstrom=40.0, falloff_is_sigma=False, multiscale=False, halves=False,
            ctf_correction=True, defocus_tolerance_angstrom=500.0,
        )  # fmt: skip
        imod_reconstruct(series, params, context)
        by_imod = np.asarray(MrcPixels(context.scratch() / "images_flipped.mrc")[:])
    likeness = {}
    for assumed in (1.0, -1.0):
        known = replace(series, handedness=Sourced.from_told(assumed, "test"))
        native = correct_ctf(known, CorrectCtfParams(method="phase_flip"), MemoryContext()).corrected.images
        # Away from the axis, where the defocus differs by side; two of three tilts are steep.
        sides = [(t.section, part) for t in series.tilts if abs(t.nominal_tilt_deg) > 1
                 for part in (slice(60, 180), slice(330, 450))]  # fmt: skip
        # Odd sides have one centre in both worlds; ctfphaseflip of 2014 moves odd heights by a row.
        likeness[assumed] = np.mean(
            [np.corrcoef(by_imod[i][1:, x].ravel(), native[i][:-1, x].ravel())[0, 1] for i, x in sides]
        )
    assert likeness[hand] > 0.85
    assert likeness[hand] > likeness[-hand] + 0.2
