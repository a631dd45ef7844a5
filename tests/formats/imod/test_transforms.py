"""Transforms and poses: round trips, and tiltalign's own fiducials as oracle."""

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.fiducials import read_resid, read_xyz
from cryoloom.formats.imod.transforms import (
    poses_from_xf,
    read_angles,
    read_xf,
    write_angles,
    write_xf,
    xf_from_poses,
)
from cryoloom.geometry.projection import projection_matrices
from cryoloom.model import Pose

POSES = [
    Pose(85.3, -57.0, 1.5, (34.8, 108.5), 1.01),
    Pose(-12.0, 0.0, 0.0, (0.0, -7.0)),
    Pose(-170.0, 60.0, 0.0, (3.0, 2.0)),
]


def pixel_position_after_imod(transform, position_px, shape_yx):
    """What newstack does with a point: pixel centres lie at index + 0.5, the middle at n / 2."""
    middle = np.array(shape_yx[::-1]) / 2
    return transform[:, :2] @ (position_px + 0.5 - middle) + transform[:, 2] + middle - 0.5


@pytest.mark.parametrize("shape_yx", [(64, 96), (63, 97), (64, 97)])
def test_a_point_lands_where_imods_tilt_expects_it(shape_yx):
    point = np.array([100.0, -50.0, 80.0])
    pixel_size = 2.5
    for pose, transform in zip(POSES, xf_from_poses(POSES, pixel_size, shape_yx), strict=True):
        image = np.array(pose.shift_xy_angstrom) + pose.magnification * (pose.matrix @ point)[:2]
        raw_px = image / pixel_size + np.array(shape_yx[::-1]) // 2
        aligned_px = pixel_position_after_imod(transform, raw_px, shape_yx)
        tilted = np.array(Pose(0.0, pose.tilt_deg, pose.x_tilt_deg).matrix @ point)[:2] / pixel_size
        # tilt turns about the middle, which is index (n - 1) / 2
        np.testing.assert_allclose(aligned_px, tilted + (np.array(shape_yx[::-1]) - 1) / 2, atol=1e-9)


@pytest.mark.parametrize("shape_yx", [(64, 96), (63, 97)])
def test_poses_survive_the_round_trip(shape_yx, tmp_path):
    write_xf(tmp_path / "a.xf", xf_from_poses(POSES, 2.5, shape_yx))
    write_angles(tmp_path / "a.tlt", [pose.tilt_deg for pose in POSES])
    write_angles(tmp_path / "a.xtilt", [pose.x_tilt_deg for pose in POSES])
    found = poses_from_xf(
        read_xf(tmp_path / "a.xf"),
        read_angles(tmp_path / "a.tlt"),
        2.5,
        shape_yx,
        read_angles(tmp_path / "a.xtilt"),
    )
    for pose, again in zip(POSES, found, strict=True):
        assert again.axis_deg == pytest.approx(pose.axis_deg, abs=1e-4)
        assert again.magnification == pytest.approx(pose.magnification, abs=1e-6)
        assert again.tilt_deg == pose.tilt_deg
        assert again.x_tilt_deg == pose.x_tilt_deg
        # shifts are written to 0.001 px
        np.testing.assert_allclose(again.shift_xy_angstrom, pose.shift_xy_angstrom, atol=2.5e-3)


def test_tiltaligns_fiducials_land_where_the_module_says(data):
    """IMOD's own images, transforms and 3D positions obey the middle and the signs used above."""
    folder = data / "imod" / "BB"
    tracked, solved = read_resid(folder / "BBa.resid"), read_xyz(folder / "BBafid.xyz")
    # Tracks were followed in prealigned images, whose transforms are the .tltxf.
    transforms = read_xf(folder / "BBa.tltxf")[tracked.view]
    tilt = read_angles(folder / "BBa.tlt")[tracked.view]
    middle = np.array([solved.shape_yx[1] / 2, solved.shape_yx[0] / 2])
    aligned = (
        np.einsum("nij,nj->ni", transforms[:, :, :2], tracked.position_xy_px - middle) + transforms[:, :, 2]
    )
    point = (solved.xyz_px - [*middle, 0.0])[tracked.track]
    expected = np.einsum("nij,nj->ni", projection_matrices(0.0, tilt), point)[:, :2]
    error = aligned - expected
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=0.01)
    assert np.hypot(error[:, 0], error[:, 1]).mean() < 0.34  # tiltalign tells 0.313


def test_poses_explain_tiltaligns_tracks(data):
    """With rotation, shift and magnification alone (tiltalign solved no skew here), one 3D point a track."""
    folder = data / "imod" / "BB"
    tracked, solved = read_resid(folder / "BBa_simple-align.resid"), read_xyz(folder / "BBafid.xyz")
    poses = poses_from_xf(
        read_xf(folder / "BBa_simple-align.tltxf"),
        read_angles(folder / "BBa_simple-align.tlt"),
        solved.pixel_size_angstrom,
        solved.shape_yx,
    )
    matrix = np.array([p.magnification * p.matrix[:2] for p in poses])
    shift_px = np.array([p.shift_xy_angstrom for p in poses]) / solved.pixel_size_angstrom
    # Index of our centre is n // 2; a position from the corner is index + 0.5.
    image = tracked.position_xy_px - 0.5 - np.array(solved.shape_yx[::-1]) // 2 - shift_px[tracked.view]
    length = []
    for track in range(len(solved.xyz_px)):
        mine = tracked.track == track
        rows, wanted = matrix[tracked.view[mine]].reshape(-1, 3), image[mine].ravel()
        point = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        length.append(np.linalg.norm((rows @ point - wanted).reshape(-1, 2), axis=1))
    assert np.concatenate(length).mean() < 0.36


def test_reads_aretomos_transforms(data):
    folder = data / "aretomo"
    transforms = read_xf(folder / "global_no_local.xf")
    angles = read_angles(folder / "global_no_local.tlt")
    poses = poses_from_xf(transforms, angles, 1.0, (4096, 4096))
    assert len(poses) == len(transforms) == len(angles)
    # AreTomo's shift TX, TY of the first section (global_no_local.aln) is ours, but for the half pixel.
    np.testing.assert_allclose(np.array(poses[0].shift_xy_angstrom) + 0.5, (9.220, 103.933), atol=2e-3)
    np.testing.assert_allclose([abs(pose.axis_deg) for pose in poses], 95.404, atol=1e-3)


@pytest.mark.parametrize("text", ["", "1 2 3\n", "a b c d e f\n"])
def test_refuses_what_is_not_a_transform(text, tmp_path):
    (tmp_path / "bad.xf").write_text(text)
    with pytest.raises(DataUnfitError, match=r"bad\.xf"):
        read_xf(tmp_path / "bad.xf")


@pytest.mark.parametrize(
    ("matrix", "says"),
    [([[0.0, 0.0], [0.0, 0.0]], "is not an image's"), ([[1.0, 0.0], [0.0, -1.0]], "mirrors")],
)
def test_a_transform_of_no_image_is_refused_by_its_line(matrix, says):
    transforms = np.zeros((2, 2, 3))
    transforms[0, :, :2], transforms[1, :, :2] = np.eye(2), matrix
    with pytest.raises(DataUnfitError, match=f"the transform of line 2 {says}"):
        poses_from_xf(transforms, [0.0, 3.0], 2.7, (64, 64))
