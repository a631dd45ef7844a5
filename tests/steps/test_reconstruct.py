"""The step: from a series with poses to tomograms, sizes, memory bands and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.frames import index_from_position
from cryoloom.geometry.projection import project
from cryoloom.geometry.rotations import rotation_y
from cryoloom.model import Ctf, Exclusion, ImageWarp, Microscope, Pose, Slab, Sourced, Stack, Tilt, TiltSeries
from cryoloom.steps.reconstruct import ReconstructParams, bytes_needed, reconstruct
from cryoloom.steps.weight_dose import WeightDoseParams, weight_dose

PIXEL = 4.0
BEADS = np.array([[200.0, 90, 60], [-180, 150, -70], [-210, -170, 40], [60, -190, -50]])
SIGMA = 14.0


@pytest.fixture
def series(rng) -> TiltSeries:
    """21 images of four dark beads at an axis of 85 degrees, with shifts; halves with noise of their own."""
    shape, tilts, sections = (150, 160), [], []
    y, x = np.mgrid[: shape[0], : shape[1]]
    for section, angle in enumerate(np.arange(-60, 61, 6.0)):
        pose = Pose(85.0, float(angle), shift_xy_angstrom=tuple(15 * rng.standard_normal(2)))
        seen = project(BEADS, pose.matrix[None], np.array([pose.shift_xy_angstrom]))[0] / PIXEL
        bumps = [
            np.exp(-((x - 80 - px) ** 2 + (y - 75 - py) ** 2) * PIXEL**2 / (2 * SIGMA**2)) for px, py in seen
        ]
        sections.append(1 - 0.3 * np.sum(bumps, axis=0))
        tilts.append(Tilt(section, float(angle), 0, 3, section=section, pose=pose))
    clean = np.array(sections)
    even, odd = ((50 * clean * (1 + 0.01 * rng.standard_normal(clean.shape))).astype("f4") for _ in range(2))
    stack = Stack(even + odd, PIXEL, even, odd)
    return TiltSeries("TS_01", Microscope(), PIXEL, tuple(tilts), stack=stack)


PARAMS = ReconstructParams(binning=2, thickness_angstrom=300)


def bead_centres(volume, voxel):
    """Centre of mass of the darkness near each bead, xyz in angstrom."""
    z, y, x = np.mgrid[: volume.shape[0], : volume.shape[1], : volume.shape[2]]
    grid = (np.stack([x, y, z], axis=-1) - np.array(volume.shape)[::-1] // 2) * voxel
    centres = []
    for bead in BEADS:
        near = np.linalg.norm(grid - bead, axis=-1) < 2 * SIGMA
        weight = np.clip(-volume[near], 0, None)
        centres.append((grid[near] * weight[:, None]).sum(axis=0) / weight.sum())
    return np.array(centres)


def test_beads_are_where_they_are_and_dark(series, context):
    tomogram = reconstruct(series, PARAMS, context)
    volume = context.pixels["tomogram"]
    assert tomogram.volume is volume
    assert tomogram.voxel_size_angstrom == 8
    # The axis lies across the camera: the camera's 160 columns are the tomogram's y.
    assert volume.shape == (38, 80, 76)
    assert np.isfinite(volume).all()
    # A tenth of a voxel, two along z.
    error = bead_centres(volume, 8.0) - BEADS
    assert np.abs(error[:, :2]).max() < 0.8
    assert np.abs(error[:, 2]).max() < 1.6
    at = np.round(index_from_position(BEADS, volume.shape, 8.0)).astype(int)
    assert (volume[tuple(at.T)] < volume.mean() - 8 * volume.std()).all()
    assert context.last_progress is not None
    assert context.last_progress[0] == context.last_progress[1]


def test_the_specimen_can_be_laid_flat(series, context):
    slab = Slab(z_offset_angstrom=Sourced(measured=40.0), tilt_y_deg=Sourced(measured=8.0))
    params = PARAMS.model_copy(update={"position": "slab", "halves": False})
    tomogram = reconstruct(replace(series, slab=slab), params, context)
    expected = (BEADS - [0, 0, 40.0]) @ slab.rotation  # of the slab lying flat
    z, y, x = np.mgrid[tuple(slice(0, n) for n in tomogram.volume.shape)]
    grid = (np.stack([x, y, z], axis=-1) - np.array(tomogram.volume.shape)[::-1] // 2) * 8.0
    for bead in expected:
        near = np.linalg.norm(grid - bead, axis=-1) < 2 * SIGMA
        weight = np.clip(-tomogram.volume[near], 0, None)
        np.testing.assert_allclose((grid[near] * weight[:, None]).sum(axis=0) / weight.sum(), bead, atol=4)
    assert tomogram.series.slab.is_applied


def test_the_measured_slab_sets_the_thickness(series, context):
    slab = Slab(
        thickness_angstrom=Sourced(measured=400.0),
        z_offset_angstrom=Sourced(measured=-50.0),
        tilt_x_deg=Sourced(measured=0.0),
        tilt_y_deg=Sourced(measured=8.0),
        middle_error_angstrom=30.0,
    )
    params = PARAMS.model_copy(update={"thickness_angstrom": None, "halves": False})
    known = reconstruct(replace(series, slab=slab), params, context)
    # The camera's 150 rows of 4 A are the tomogram's x; half a voxel for the rounding.
    held = 2 * (50 + 300 * np.tan(np.deg2rad(8)) + 200 / np.cos(np.deg2rad(8)))
    assert known.volume.shape[0] * 8 == pytest.approx(held + 2 * (200 + 2 * 30), abs=16)
    assert context.figures["tomogram_thickness_angstrom"] == known.volume.shape[0] * 8
    assert context.warnings == []
    given = reconstruct(
        replace(series, slab=slab), params.model_copy(update={"thickness_angstrom": 300}), context
    )
    assert given.volume.shape[0] == 38
    for guess in (
        None,
        replace(slab, middle_error_angstrom=400.0),
        replace(slab, middle_error_angstrom=None),
        replace(slab, thickness_error_angstrom=150.0),
    ):
        context.warnings.clear()
        safe = reconstruct(replace(series, slab=guess), params, context)
        assert safe.volume.shape[0] * 8 == 4000
        assert "4000 A; set thickness_angstrom" in context.warnings[0]


@pytest.mark.parametrize("shift", [{"z_shift_angstrom": 24.0}, {"z_shift_px": 6.0}])
def test_the_tomogram_can_be_shifted_and_turned(shift, series, context):
    params = PARAMS.model_copy(update={"halves": False, "tilt_offset_deg": 5.0} | shift)
    tomogram = reconstruct(series, params, context)
    expected = (BEADS + np.array([0, 0, 24.0])) @ rotation_y(5.0)
    z, y, x = np.mgrid[tuple(slice(0, n) for n in tomogram.volume.shape)]
    grid = (np.stack([x, y, z], axis=-1) - np.array(tomogram.volume.shape)[::-1] // 2) * 8.0
    for bead in expected:
        near = np.linalg.norm(grid - bead, axis=-1) < 2 * SIGMA
        weight = np.clip(-tomogram.volume[near], 0, None)
        np.testing.assert_allclose((grid[near] * weight[:, None]).sum(axis=0) / weight.sum(), bead, atol=4)
    with pytest.raises(ValidationError, match="not both"):
        ReconstructParams(z_shift_angstrom=3, z_shift_px=2)


def test_halves_are_compared(series, context):
    tomogram = reconstruct(series, PARAMS.model_copy(update={"halves": True}), context)
    assert tomogram.even is context.pixels["tomogram_even"]
    assert tomogram.odd is context.pixels["tomogram_odd"]
    assert 0 < context.figures["half_correlation"] < 1
    assert len(context.records["half_correlation"]["correlation"]) == 40
    whole = dict(context.figures)
    without = reconstruct(series, PARAMS, context)
    assert (without.even, without.odd) == (None, None)
    assert context.figures["half_correlation"] == pytest.approx(whole["half_correlation"], abs=0.01)


def test_the_middle_of_halves_is_enough_for_their_correlation(series, context, monkeypatch):
    """A box of a third of the field, from as much of the images as it takes."""
    monkeypatch.setattr("cryoloom.procedures.half_tomograms.COMPARED_VOXELS", 26)
    monkeypatch.setattr("cryoloom.steps.reconstruct._EDGE_VOXELS", 4)
    with_doses = series.with_tilts({i: {"dose_end_per_angstrom2": 3.0 * i} for i in range(21)})
    weighted = weight_dose(with_doses, WeightDoseParams(), context)
    reconstruct(weighted, PARAMS.model_copy(update={"halves": True}), context)
    whole = dict(context.figures)
    reconstruct(weighted, PARAMS, context)
    # Of a box of 26 voxels; the edges of the smaller images differ.
    assert context.figures["half_correlation"] == pytest.approx(whole["half_correlation"], abs=0.05)


def test_voxels_too_small_for_16_bits_are_stored_as_32(series, context):
    """A step of contrast of 1e-5 over 38 voxels; the counts have a large offset."""
    faint = replace(series, stack=Stack(30000 + 1e-3 * series.stack.images, PIXEL))
    reconstruct(faint, PARAMS, context)
    assert context.dtypes["tomogram"] == "float32"
    reconstruct(series, PARAMS, context)
    assert context.dtypes["tomogram"] == "float16"


def test_a_tilt_of_one_frame_is_in_no_half(series, context):
    """Both halves would hold the same noise: it is named, and its image counts in the tomogram only."""
    single = series.with_tilts({0: {"frame_shifts_yx_angstrom": ((0.0, 0.0),)}})
    with_halves = PARAMS.model_copy(update={"halves": True})
    tomogram = reconstruct(single, with_halves, context)
    assert tomogram.even is not None
    left_out = context.warnings[-1]
    assert f"lack the tilts at {single.tilts[0].nominal_tilt_deg:.1f} deg" in left_out
    whole, even = np.array(tomogram.volume), np.array(tomogram.even)
    reconstruct(series, with_halves, context)
    np.testing.assert_array_equal(whole, context.pixels["tomogram"])
    assert not np.allclose(even, context.pixels["tomogram_even"])


@pytest.mark.parametrize("method", ["wbp", "sirt"])
def test_halves_by_tilts_need_no_frames(method, series, context):
    single = replace(series, stack=replace(series.stack, even=None, odd=None))
    params = PARAMS.model_copy(
        update={"halves": True, "halves_by": "tilts", "method": method, "iterations": 4}
    )
    tomogram = reconstruct(single, params, context)
    # Each is the tomogram of every second tilt.
    others = {
        t.acquisition_index: {"exclusion": Exclusion.by_step("other half", "test")}
        for t in series.tilts[1::2]
    }
    even = np.array(tomogram.even)
    alone = params.model_copy(update={"halves": False, "stop_change": 0.0})
    expected = reconstruct(single.with_tilts(others), alone, context).volume
    np.testing.assert_allclose(even, expected, atol=1e-5 * np.abs(expected).max())
    assert not np.allclose(even, tomogram.odd)
    few = replace(single, tilts=single.tilts[:3])
    with pytest.raises(DataUnfitError, match="at least 4 different tilts, got 3"):
        reconstruct(few, params, context)


def test_little_memory_gives_the_same_in_bands(series, context):
    whole = reconstruct(series, PARAMS, context).volume
    whole = np.array(whole)
    context.memory_bytes = 1
    banded = reconstruct(series, PARAMS, context).volume
    np.testing.assert_array_equal(whole, banded)


def test_the_other_orientation_is_imods(series, context):
    reconstruct(series, PARAMS.model_copy(update={"orientation": "xzy", "halves": False}), context)
    volume, turned = context.pixels["tomogram"], context.pixels["tomogram_xzy"]
    # tilt's sections are xz planes, and its z runs the other way.
    np.testing.assert_array_equal(turned, volume[::-1].transpose(1, 0, 2))
    assert set(context.kinds.values()) == {"volume"}


def test_excluded_tilts_do_not_count(series, context):
    with_rubbish = np.array(series.stack.images)
    with_rubbish[3] = 1e6
    bad = series.with_tilts({3: {"exclusion": Exclusion.by_step("dark", "test"), "pose": None}})
    bad = replace(bad, stack=Stack(with_rubbish, PIXEL))
    reconstruct(bad, PARAMS, context)
    assert context.figures["n_tilts"] == 20
    assert np.abs(bead_centres(context.pixels["tomogram"], 8.0) - BEADS)[:, :2].max() < 0.8


def test_sizes_follow_the_parameters(series, context):
    params = ReconstructParams(
        voxel_size_angstrom=10,
        thickness_angstrom=200,
        width_angstrom=400,
        length_angstrom=300,
        dtype="float16",
    )
    reconstruct(series, params, context)
    assert context.pixels["tomogram"].shape == (20, 30, 40)
    assert context.dtypes["tomogram"] == "float16"
    assert bytes_needed(series, params) > 20 * 30 * 40


def with_ctfs(series):
    """Defocus so small and voxels so large that nothing happens but what must not: the sign stays."""
    ctf = Ctf(3000.0, 2900.0, 10.0)
    changes = {tilt.acquisition_index: {"ctf": ctf} for tilt in series.tilts}
    return replace(series.with_tilts(changes), handedness=Sourced.from_told(1, "test"))


@pytest.mark.parametrize("method", ["phase_flip", "multiply", "wiener"])
def test_three_dimensional_correction_keeps_places_and_contrast(method, series, context):
    params = PARAMS.model_copy(update={"ctf_correction": method, "halves": False, "ctf_step_angstrom": 40.0})
    tomogram = reconstruct(with_ctfs(series), params, context)
    assert tomogram.method == f"weighted back-projection, 3D-CTF by {method}"
    volume = context.pixels["tomogram"]
    at = np.round(index_from_position(BEADS, volume.shape, 8.0)).astype(int)
    assert (volume[tuple(at.T)] < volume.mean() - 5 * volume.std()).all()
    assert np.abs(bead_centres(volume, 8.0) - BEADS)[:, :2].max() < 1.5
    assert context.figures["ctf_step_angstrom"] == 40
    assert context.figures["ctf_corrections_per_tilt"] >= 1
    plain = reconstruct(series, PARAMS.model_copy(update={"halves": False}), context).volume
    if method == "phase_flip":
        # Up to the first zero, beyond 20 A here, a phase flip leaves everything as it is.
        np.testing.assert_allclose(volume, plain, atol=0.02 * np.abs(plain).max())


def test_without_handedness_every_image_is_corrected_at_its_own_defocus(series, context):
    params = PARAMS.model_copy(update={"ctf_correction": "phase_flip", "halves": False})
    tomogram = reconstruct(replace(with_ctfs(series), handedness=Sourced()), params, context)
    assert "one defocus for all depths" in context.warnings[0]
    assert tomogram.method.endswith("CTF by phase_flip at one defocus an image")
    assert context.figures["ctf_corrections_per_tilt"] == 1
    assert np.abs(bead_centres(context.pixels["tomogram"], 8.0) - BEADS)[:, :2].max() < 1.5


def test_little_memory_gives_the_same_correction(series, context):
    params = PARAMS.model_copy(update={"ctf_correction": "multiply", "halves": False})
    whole = np.array(reconstruct(with_ctfs(series), params, context).volume)
    context.memory_bytes = 1
    banded = reconstruct(with_ctfs(series), params, context).volume
    # Bands see another periodic continuation beyond their halo.
    np.testing.assert_allclose(banded, whole, atol=0.01 * np.abs(whole).max())


@pytest.mark.parametrize("method", ["sirt", "sart"])
def test_iterations_find_the_beads(method, series, context):
    params = PARAMS.model_copy(update={"method": method, "iterations": 12, "subsets": 5, "halves": True})
    tomogram = reconstruct(series, params, context)
    assert method.upper() in tomogram.method
    volume = context.pixels["tomogram"]
    assert np.isfinite(volume).all()
    assert np.abs(bead_centres(volume, 8.0) - BEADS)[:, :2].max() < 1.5
    course = context.records["residual_course"]["curves"]["residual"]
    assert context.figures["iterations"] == len(course) <= 12
    assert course[-1] < 0.6 * course[0]
    if method == "sirt":
        assert (np.diff(course) < 0).all()
    assert tomogram.even is not None


def test_iterations_honour_an_x_tilt(series, context):
    leaning = {t.acquisition_index: {"pose": replace(t.pose, x_tilt_deg=4.0)} for t in series.tilts}
    leaning = series.with_tilts(leaning)
    params = PARAMS.model_copy(update={"halves": False})
    wbp = np.array(reconstruct(leaning, params, context).volume)
    sirt = reconstruct(leaning, params.model_copy(update={"method": "sirt"}), context).volume
    # Both find the same beads in the turned specimen.
    assert np.corrcoef(wbp.ravel(), sirt.ravel())[0, 1] > 0.6
    found = np.unravel_index(int(sirt.argmin()), sirt.shape)
    assert np.abs(np.subtract(found, np.unravel_index(int(wbp.argmin()), wbp.shape))).max() <= 1


def test_refuses_to_correct_twice_or_in_the_dark(series, context):
    params = PARAMS.model_copy(update={"ctf_correction": "multiply"})
    with pytest.raises(DataUnfitError, match="21 of 21 tilts have no CTF; run estimate_ctf"):
        reconstruct(replace(series, handedness=Sourced.from_told(1, "test")), params, context)
    known = with_ctfs(series)
    done = replace(known, corrected=replace(known.stack, ctf_correction="phase_flip"))
    with pytest.raises(DataUnfitError, match="corrected already, by phase_flip; leave out correct_ctf"):
        reconstruct(done, params, context)
    too_fine = params.model_copy(update={"ctf_resolution_angstrom": 0.01})
    with pytest.raises(DataUnfitError, match=r"hold nothing finer than .* ctf_resolution_angstrom is 0\.01"):
        reconstruct(known, too_fine, context)
    assert reconstruct(done, PARAMS, context).method == "weighted back-projection"


def test_refuses_with_a_sentence(series, context):
    no_pose = series.with_tilts({2: {"pose": None}})
    with pytest.raises(DataUnfitError, match="1 of 21 tilts have no pose; run align_series"):
        reconstruct(no_pose, PARAMS, context)
    single = replace(series, tilts=series.tilts[:1])
    with pytest.raises(DataUnfitError, match="at least 2 different tilts"):
        reconstruct(single, PARAMS, context)
    with pytest.raises(UserInputError, match="finer than the images"):
        reconstruct(series, ReconstructParams(voxel_size_angstrom=1.0), context)
    images = np.array(series.stack.images)
    images[5, 3, 3] = np.nan
    with pytest.raises(DataUnfitError, match="NaN or infinite"):
        reconstruct(replace(series, stack=Stack(images, PIXEL)), PARAMS, context)
    with pytest.raises(DataUnfitError, match="no images yet"):
        reconstruct(replace(series, stack=None), PARAMS, context)


def test_a_local_alignment_sharpens_the_tomogram(series, rng, context):
    """Beads displaced differently in every image are where they are, and as dark as without displacement."""
    shape = (150, 160)
    y, x = np.mgrid[: shape[0], : shape[1]]
    images, warped = [], {}
    for tilt in series.tilts:
        warp = ImageWarp.of_controls(rng.normal(0, 25, (3, 3, 2)), (160 * PIXEL, 150 * PIXEL))
        warped[tilt.acquisition_index] = {"pose": replace(tilt.pose, warp=warp)}
        seen = project(BEADS, tilt.pose.matrix[None], np.array([tilt.pose.shift_xy_angstrom]))[0]
        seen = (seen + warp.displacement(seen)) / PIXEL
        bumps = [
            np.exp(-((x - 80 - px) ** 2 + (y - 75 - py) ** 2) * PIXEL**2 / (2 * SIGMA**2)) for px, py in seen
        ]
        images.append(100 * (1 - 0.3 * np.sum(bumps, axis=0)))
    displaced = replace(series, stack=Stack(np.array(images, np.float32), PIXEL))
    params = PARAMS.model_copy(update={"halves": False})
    depth = {}
    for name, each in (("rigid", displaced), ("local", displaced.with_tilts(warped)), ("none", series)):
        volume = np.array(reconstruct(each, params, context).volume)
        at = np.round(index_from_position(BEADS, volume.shape, 8.0)).astype(int)
        depth[name] = -volume[tuple(at.T)].mean()
        if name == "local":
            assert np.abs(bead_centres(volume, 8.0) - BEADS)[:, :2].max() < 2.0
    assert depth["rigid"] < 0.7 * depth["none"]
    assert depth["local"] == pytest.approx(depth["none"], rel=0.08)
    assert bytes_needed(displaced.with_tilts(warped), params) >= bytes_needed(displaced, params)
