"""Stretch, skew and local alignments of IMOD as displacements: its own formulas and its own files."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.tracks import Tracks, residuals, triangulate
from cryoloom.algorithms.series.series_geometry import geometry_of_poses
from cryoloom.formats.imod.fiducials import read_resid
from cryoloom.formats.imod.image_warp import warps_of_imod
from cryoloom.formats.imod.local_alignment import LocalAlignment, read_local_xf
from cryoloom.formats.imod.transforms import half_pixel_xy, poses_from_xf, read_angles, read_xf

SHAPE, PIXEL = (400, 500), 5.0
ANGLES = np.array([-50.0, 0.0, 40.0])


def stretched_transforms(rng):
    turn = np.array([[0.1, -1.0], [1.0, 0.1]]) / np.hypot(0.1, 1.0)
    matrix = turn @ (np.eye(2) + rng.normal(0, 0.01, (3, 2, 2)))
    return np.concatenate([matrix, rng.normal(0, 20, (3, 2, 1))], axis=2)


def raw_angstrom(transform, aligned_px):
    matrix, displacement = transform[:, :2], transform[:, 2]
    raw = np.linalg.solve(matrix, (aligned_px - displacement).T).T
    return (raw - half_pixel_xy(SHAPE)) * PIXEL


def test_stretch_and_skew_are_kept_whole(rng):
    """With its displacement a pose sees every point, at any height, where the transform does."""
    transforms = stretched_transforms(rng)
    poses = poses_from_xf(transforms, ANGLES, PIXEL, SHAPE)
    found = warps_of_imod(transforms, None, poses, PIXEL, SHAPE, height_angstrom=400.0)
    assert found.largest_px > 1.0
    assert found.misfit_at_height_px < 0.01
    points = rng.uniform(-1, 1, (50, 3)) * [500, 500, 400]
    for transform, pose, warp in zip(transforms, poses, found.warps, strict=True):
        rigid = pose.magnification * (points @ pose.matrix[:2].T) + pose.shift_xy_angstrom
        wanted = raw_angstrom(transform, points @ type(pose)(0.0, pose.tilt_deg).matrix[:2].T / PIXEL)
        np.testing.assert_allclose(rigid + warp.displacement(rigid), wanted, atol=0.05)


def test_plain_transforms_need_no_displacement(data):
    folder = data / "imod" / "BB"
    transforms = read_xf(folder / "BBa_simple-align.xf")
    poses = poses_from_xf(transforms, read_angles(folder / "BBa_simple-align.tlt"), 20.2, (512, 512))
    assert set(warps_of_imod(transforms, None, poses, 20.2, (512, 512)).warps) == {None}


def test_between_areas_tilts_own_formula_holds(rng):
    """tilt.f90, localProjFactors: four areas mixed at a point of the plane, with tilt and x-tilt changed."""
    local = LocalAlignment(
        (2, 2), (150, 120), (200, 160), PIXEL,
        rng.normal(0, 0.3, (4, 3)), rng.normal(0, 0.3, (4, 3)), None,
        np.eye(2, 3) + rng.normal(0, 1, (4, 3, 2, 3)) * [0.002, 0.002, 2.0],
    )  # fmt: skip
    transforms = stretched_transforms(rng)
    poses = poses_from_xf(transforms, ANGLES, PIXEL, SHAPE, 1.5)
    found = warps_of_imod(transforms, local, poses, PIXEL, SHAPE)
    assert found.misfit_px < 0.2
    place = np.array([[230.0, 190.0]])  # from the corner: 0.4 between areas in x, 0.4375 in y
    x, y = ((place - np.array(SHAPE[::-1]) / 2) * PIXEL)[0]
    for view, (pose, warp) in enumerate(zip(poses, found.warps, strict=True)):
        aligned = np.zeros(2)
        for area, part in enumerate((0.6 * 0.5625, 0.4 * 0.5625, 0.6 * 0.4375, 0.4 * 0.4375)):
            beta = np.deg2rad(pose.tilt_deg + local.tilt_change_deg[area, view])
            alpha = np.deg2rad(pose.x_tilt_deg + local.x_tilt_change_deg[area, view])
            xp = x * np.cos(beta) + y * -np.sin(alpha) * -np.sin(beta)
            yp = y * np.cos(alpha)
            transform = local.transforms[area, view]
            aligned += part * (transform[:, :2] @ [xp / PIXEL, yp / PIXEL] + transform[:, 2])
        rigid = pose.magnification * (pose.matrix @ [x, y, 0.0])[:2] + pose.shift_xy_angstrom
        seen = rigid + warp.displacement(rigid[None])[0]
        np.testing.assert_allclose(seen, raw_angstrom(transforms[view], aligned[None])[0], atol=0.5 * PIXEL)


@pytest.mark.parametrize(
    # Mean residual in pixels with the poses alone, with stretch and skew, with the local file too.
    ("name", "rigid", "stretched", "locally"),
    [("", 0.355, 0.323, 0.3125), ("_patch-tracking", 0.147, 0.147, 0.096)],
)
def test_imods_local_files_explain_its_tracks_better(data, name, rigid, stretched, locally):
    folder, shape, pixel = data / "imod" / "BB", (512, 512), 20.2
    tracked = read_resid(folder / f"BBa{name}.resid")
    whole, fine = (read_xf(folder / f"BBa{name}.{suffix}") for suffix in ("xf", "tltxf"))
    poses = poses_from_xf(whole, read_angles(folder / f"BBa{name}.tlt"), pixel, shape)
    of_view = fine[tracked.view]
    aligned = np.einsum("nij,nj->ni", of_view[:, :, :2], tracked.position_xy_px - 256.0) + of_view[:, :, 2]
    moved = (aligned - whole[tracked.view, :, 2])[..., None]
    raw = np.linalg.solve(whole[tracked.view, :, :2], moved)[..., 0]
    seen = (raw - half_pixel_xy(shape)) * pixel

    def mean_residual_px(warps):
        straight = seen.copy()
        for view, warp in enumerate(warps):
            mine = tracked.view == view
            straight[mine] = seen[mine] if warp is None else warp.undisplaced(seen[mine])
        tracks = Tracks(
            tracked.view, tracked.track, straight, np.ones(len(seen)), 61, tracked.track.max() + 1
        )
        geometry = geometry_of_poses(poses)
        left = residuals(tracks, geometry, triangulate(tracks, geometry, tracks.weight))
        return np.hypot(left[:, 0], left[:, 1]).mean() / pixel

    local = read_local_xf(folder / f"BBalocal{name}.xf", 61)
    assert mean_residual_px([None] * 61) == pytest.approx(rigid, abs=0.002)
    without, with_areas = (warps_of_imod(whole, each, poses, pixel, shape).warps for each in (None, local))
    assert mean_residual_px(without) == pytest.approx(stretched, abs=0.002)
    assert mean_residual_px(with_areas) == pytest.approx(locally, abs=0.003)
