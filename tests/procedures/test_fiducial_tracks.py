"""Fiducials tracked elsewhere: their series is solved, and files of another series are refused."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.imod.tracks import ForeignTracks, write_fiducial_model
from cryoloom.formats.imod.transforms import write_angles
from cryoloom.model import Exclusion
from cryoloom.procedures.fiducial_tracks import read_tracks
from cryoloom.steps.align_series import AlignSeriesParams, align_series
from makers.blob_series import AXIS, PIXEL, SIDE, TILTS, make_series

EVERY = np.ones(len(TILTS), dtype=bool)


def write_fiducials(
    folder, truth, rng, *, noise_angstrom=3.0, n_beads=14, views=slice(None), stretch_angstrom=0.0
):
    """stretch_angstrom : by how much the ice grows at 1000 A from its middle, while it is irradiated."""
    beads = rng.uniform(-1, 1, (n_beads, 3)) * [800, 800, 400]
    exposure = np.argsort(np.argsort(np.abs(TILTS), kind="stable"))
    part = stretch_angstrom / 1000.0 * (1 - np.exp(-exposure / 6.0))
    grown = [truth.project(beads * [1 + p, 1 + p, 1.0])[view] for view, p in enumerate(part)]
    seen = np.array(grown)[views] + rng.normal(0, noise_angstrom, (len(TILTS[views]), n_beads, 2))
    view, track = np.mgrid[: len(seen), :n_beads]
    kept = rng.random(view.shape) < 0.8
    order = np.argsort(track[kept], kind="stable")
    tracks = ForeignTracks(folder, track[kept][order], view[kept][order], seen[kept][order], TILTS[views])
    write_fiducial_model(folder / "a.fid", tracks, (SIDE, SIDE), PIXEL)
    write_angles(folder / "a.rawtlt", TILTS[views])


def test_given_fiducials_align_the_series(rng, context, tmp_path):
    series, truth = make_series(rng, n_beads=0)
    write_fiducials(tmp_path, truth, rng)
    series = series.with_tilts({4: {"exclusion": Exclusion.by_user("dark")}})
    params = AlignSeriesParams(fiducials=tmp_path, fiducials_prealigned=False, local=True)
    aligned = align_series(series, params, context)
    # Nothing bends here, so a local alignment was tried and not used.
    assert all(tilt.pose.warp is None for tilt in aligned.tilts)
    assert context.records["local"]["used"] is False
    assert "local_displacement_angstrom" not in context.figures
    assert aligned.tilt_axis_deg.applied == pytest.approx(AXIS, abs=0.1)
    assert aligned.tilt_axis_deg.measured_by == "align_series by fiducials"
    assert context.figures["n_tracks"] == 14
    assert 2.0 < context.figures["residual_mean_angstrom"] < 5.0  # 3 A a coordinate
    assert context.figures["left_out_error_angstrom"] < 7.0
    for tilt, shift in zip(aligned.tilts, truth.shift_xy_angstrom, strict=True):
        assert tilt.pose.predicted == (tilt.acquisition_index == 4)
        if not tilt.pose.predicted:
            apart = np.array(tilt.pose.shift_xy_angstrom) - shift
            flat = np.linalg.norm(apart - _origin_seen(aligned, truth, tilt))
            assert flat < 6.0


def _origin_seen(aligned, truth, tilt):
    """What a common move of the origin makes of a shift, found by least squares over all tilts."""
    rows = truth.matrices[:, :2].reshape(-1, 3)
    used = np.repeat([not t.pose.predicted for t in aligned.tilts], 2)
    apart = np.array([t.pose.shift_xy_angstrom for t in aligned.tilts]) - truth.shift_xy_angstrom
    moved = np.linalg.lstsq(rows[used], apart.ravel()[used], rcond=None)[0]
    return truth.matrices[aligned.tilts.index(tilt), :2] @ moved


def test_tracks_do_not_depend_on_where_shifts_begin(rng, tmp_path):
    """A start off by half the field is forgotten: without doubt of any track, shifts are linear."""
    series, truth = make_series(rng, n_beads=0)
    write_fiducials(tmp_path, truth, rng, noise_angstrom=0.0)
    tracks = read_tracks(series, tmp_path, EVERY, prealigned=False)
    wrong = type(truth).start(TILTS, AXIS + 2, truth.shift_xy_angstrom + rng.normal(0, 600, (len(TILTS), 2)))
    solution = adjust_bundle(tracks, wrong, DegreesOfFreedom(), robust=False)
    assert solution.residual_angstrom.max() < 0.1
    assert solution.geometry.mean_axis_deg == pytest.approx(AXIS, abs=1e-3)


def test_files_of_another_series_are_refused(rng, context, tmp_path):
    series, truth = make_series(rng, n_beads=0)
    params = AlignSeriesParams(fiducials=tmp_path / "none")
    with pytest.raises(UserInputError, match="not a folder"):
        align_series(series, params, context)
    write_fiducials(tmp_path, truth, rng)
    write_angles(tmp_path / "a.rawtlt", np.roll(TILTS, 1))
    with pytest.raises(DataUnfitError, match="cannot be assigned to tilts"):
        read_tracks(series, tmp_path, EVERY, prealigned=False)
    # One view fewer: angles alone tell which is which.
    write_fiducials(tmp_path, truth, rng, noise_angstrom=0.0, views=slice(1, None))
    tracks = read_tracks(series, tmp_path, EVERY, prealigned=False)
    assert tracks.view.min() == 1
    write_fiducials(tmp_path, truth, rng, n_beads=3)
    params = AlignSeriesParams(fiducials=tmp_path, fiducials_prealigned=False)
    with pytest.raises(DataUnfitError, match="3 fiducials"):
        align_series(series, params, context)


def test_replaced_fiducials_are_noticed(rng, tmp_path):
    outside = align_series.declaration.outside
    assert not outside("a", AlignSeriesParams())
    params = AlignSeriesParams(fiducials=tmp_path)
    truth = make_series(rng, n_beads=0)[1]
    write_fiducials(tmp_path, truth, rng)
    before = outside("a", params)
    write_fiducials(tmp_path, truth, rng)
    assert outside("a", params) != before


@pytest.mark.slow
def test_bending_ice_gives_poses_a_displacement(rng, context, tmp_path):
    """The fast twin is tests/algorithms/test_local_alignment.py."""
    series, truth = make_series(rng, n_beads=0)
    write_fiducials(tmp_path, truth, rng, noise_angstrom=1.0, n_beads=25, stretch_angstrom=25.0)
    params = AlignSeriesParams(fiducials=tmp_path, fiducials_prealigned=False, local=True)
    aligned = align_series(series, params, context)
    assert all(tilt.pose.warp is not None for tilt in aligned.tilts)
    assert context.figures["left_out_error_angstrom"] < 0.8 * context.figures["left_out_error_rigid_angstrom"]
    assert 1.0 < context.figures["local_displacement_angstrom"] < 25.0
