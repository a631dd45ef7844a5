"""Fiducial models as tracks: IMOD's own fiducials solved again, prealigned and binned, and refusals."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.tracks import Tracks, residuals, triangulate
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry, geometry_of_poses
from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.fiducials import read_resid, read_xyz
from cryoloom.formats.imod.model import ImodModel, ImodObject, write_model
from cryoloom.formats.imod.tracks import (
    ForeignTracks,
    find_fiducial_model,
    read_fiducial_model,
    write_fiducial_model,
)
from cryoloom.formats.imod.transforms import poses_from_xf, read_angles, read_xf, write_angles, write_xf

SHAPE, PIXEL = (90, 121), 2.7


def make_tracks(rng, n_tracks=5, n_views=7):
    view, track = np.tile(np.arange(n_views), n_tracks), np.repeat(np.arange(n_tracks), n_views)
    half = np.array(SHAPE[::-1]) * PIXEL / 2
    position = rng.uniform(-0.9, 0.9, (len(view), 2)) * half
    return ForeignTracks("a.fid", track, view, position, np.linspace(-60, 60, n_views))


def products(first, second):
    """Transforms ``(n, 2, 3)`` of first, then second."""
    matrix = second[:, :, :2] @ first[:, :, :2]
    moved = np.einsum("nij,nj->ni", second[:, :, :2], first[:, :, 2]) + second[:, :, 2]
    return np.concatenate([matrix, moved[..., None]], axis=2)


def test_imods_own_fiducials_are_solved_as_tiltalign_did(data, tmp_path):
    """BB's tracked points as a model on its prealigned stack; rotation, shift, magnification as its .xf."""
    folder = data / "imod" / "BB"
    tracked, solved = read_resid(folder / "BBa_simple-align.resid"), read_xyz(folder / "BBafid.xyz")
    whole, fine = (read_xf(folder / f"BBa_simple-align.{suffix}") for suffix in ("xf", "tltxf"))
    # whole = fine after prexg, so prexg = fine^-1 whole
    back = np.linalg.inv(fine[:, :, :2])
    inverse = np.concatenate([back, -back @ fine[:, :, 2:]], axis=2)
    write_xf(tmp_path / "BBa.prexg", products(whole, inverse))
    write_angles(tmp_path / "BBa.rawtlt", 65.0 - 2.0 * np.arange(61))
    points = np.column_stack([tracked.position_xy_px, tracked.view])
    contours = tuple(points[tracked.track == number] for number in range(23))
    model = ImodModel((61, *solved.shape_yx), (ImodObject("", contours),), solved.pixel_size_angstrom)
    write_model(tmp_path / "BBa.fid", model)
    pixel = solved.pixel_size_angstrom
    found = read_fiducial_model(tmp_path / "BBa.fid", solved.shape_yx, pixel)
    tracks = Tracks(found.view, found.track, found.position_xy_angstrom, np.ones(1403), 61, 23)
    tilts = read_angles(folder / "BBa_simple-align.tlt")
    free = DegreesOfFreedom("per_view", magnification="per_view")
    ours = adjust_bundle(tracks, SeriesGeometry.start(tilts, -11.0), free, robust=False)
    assert ours.residual_angstrom.mean() / pixel < 0.36  # 0.352 with IMOD's transforms
    imod = geometry_of_poses(poses_from_xf(whole, tilts, pixel, solved.shape_yx))
    # The raw frame's own proof: IMOD's whole transforms explain the positions taken back to it.
    left = residuals(tracks, imod, triangulate(tracks, imod, tracks.weight))
    assert np.hypot(left[:, 0], left[:, 1]).mean() / pixel < 0.36


def test_tracks_survive_the_round_trip(rng, tmp_path):
    tracks = make_tracks(rng)
    write_fiducial_model(tmp_path / "a.fid", tracks, SHAPE, PIXEL)
    write_angles(tmp_path / "a.rawtlt", tracks.nominal_tilt_deg)
    again = read_fiducial_model(tmp_path / "a.fid", SHAPE, PIXEL, prealigned=False)
    np.testing.assert_array_equal(again.track, tracks.track)
    np.testing.assert_array_equal(again.view, tracks.view)
    np.testing.assert_allclose(again.position_xy_angstrom, tracks.position_xy_angstrom, atol=1e-4)
    with pytest.raises(DataUnfitError, match=r"no a\.prexg"):
        read_fiducial_model(tmp_path / "a.fid", SHAPE, PIXEL)


@pytest.mark.parametrize("binning", [1, 2])
def test_prealigned_and_binned_positions_come_back(rng, tmp_path, binning):
    """Positions taken to the prealigned stack by newstack's rule come back to the raw images."""
    tracks = make_tracks(rng)
    angle = np.deg2rad(rng.normal(0, 3, 7))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    transforms = np.concatenate([turn, rng.normal(0, 9, (7, 2, 1))], axis=2)
    write_xf(tmp_path / "a.prexg", transforms)
    write_angles(tmp_path / "a.rawtlt", tracks.nominal_tilt_deg)
    (tmp_path / "prenewst.com").write_text(f"$newstack -StandardInput\nBinByFactor {binning}\n")
    # Our origin is index n // 2, whose distance from the corner is n // 2 + 0.5.
    raw = tracks.position_xy_angstrom / PIXEL + np.array(SHAPE[::-1]) // 2 + 0.5
    middle = np.array(SHAPE[::-1]) / 2
    binned = np.array([n // binning for n in SHAPE])
    of_view = transforms[tracks.view]
    moved = np.einsum("nij,nj->ni", of_view[:, :, :2], raw - middle) + of_view[:, :, 2]
    points = np.column_stack([moved / binning + binned[::-1] / 2, tracks.view])
    contours = tuple(points[tracks.track == number] for number in range(5))
    write_model(tmp_path / "a.fid", ImodModel((7, *map(int, binned)), (ImodObject("", contours),)))
    again = read_fiducial_model(tmp_path / "a.fid", SHAPE, PIXEL)
    np.testing.assert_allclose(again.position_xy_angstrom, tracks.position_xy_angstrom, atol=1e-3)


def test_wrong_counts_are_refused(rng, tmp_path):
    tracks = make_tracks(rng)
    fid = tmp_path / "a.fid"
    write_fiducial_model(fid, tracks, SHAPE, PIXEL)
    with pytest.raises(DataUnfitError, match="no tilt angles"):
        read_fiducial_model(fid, SHAPE, PIXEL, prealigned=False)
    write_angles(tmp_path / "a.rawtlt", tracks.nominal_tilt_deg[:-1])
    with pytest.raises(DataUnfitError, match="sections 0 to 6, but 6 angles"):
        read_fiducial_model(fid, SHAPE, PIXEL, prealigned=False)
    write_angles(tmp_path / "a.rawtlt", tracks.nominal_tilt_deg)
    write_xf(tmp_path / "a.prexg", np.tile(np.eye(2, 3), (8, 1, 1)))
    with pytest.raises(DataUnfitError, match="8 transforms"):
        read_fiducial_model(fid, SHAPE, PIXEL)
    with pytest.raises(DataUnfitError, match="neither the same nor a binning"):
        read_fiducial_model(fid, (90, 200), PIXEL, prealigned=False)
    with pytest.raises(DataUnfitError, match=r"one b\.fid"):
        find_fiducial_model(tmp_path, "b")
    assert find_fiducial_model(tmp_path, "a") == fid
    twice = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    write_model(fid, ImodModel((7, *SHAPE), (ImodObject("", (twice,)),)))
    with pytest.raises(DataUnfitError, match="two points of contour 1 in section 1"):
        read_fiducial_model(fid, SHAPE, PIXEL, prealigned=False)
    write_model(fid, ImodModel((7, *SHAPE), ()))
    with pytest.raises(DataUnfitError, match="no point"):
        read_fiducial_model(fid, SHAPE, PIXEL, prealigned=False)


def test_images_of_another_binning_need_the_command_file(rng, tmp_path):
    tracks = make_tracks(rng)
    write_fiducial_model(tmp_path / "a.fid", tracks, SHAPE, PIXEL)
    write_angles(tmp_path / "a.rawtlt", tracks.nominal_tilt_deg)
    write_xf(tmp_path / "a.prexg", np.tile(np.eye(2, 3), (7, 1, 1)))
    with pytest.raises(DataUnfitError, match=r"no prenewst\.com"):
        read_fiducial_model(tmp_path / "a.fid", (180, 242), PIXEL / 2)
    again = read_fiducial_model(tmp_path / "a.fid", (180, 242), PIXEL / 2, prealigned=False)
    np.testing.assert_allclose(again.position_xy_angstrom, tracks.position_xy_angstrom, atol=PIXEL / 2)
