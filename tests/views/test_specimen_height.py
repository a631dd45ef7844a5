"""The height of the specimen comes from what was measured, and the rays of gold beads do not move it."""

import numpy as np
import pytest

from cryoloom.model import Microscope, Pose, Slab, Sourced, Tilt, TiltSeries, Tomogram
from cryoloom.views.images import central_slices
from cryoloom.views.specimen_height import height_from_profile, measured_height, track_positions

TILTS = np.arange(-60.0, 61.0, 6.0)


def make_tomogram(slab=None):
    poses = [Pose(85.0, float(t), 0.5, (8.0 * i, -3.0), 1.002) for i, t in enumerate(TILTS)]
    tilts = tuple(Tilt(i, pose.tilt_deg, 0.0, 3.0, pose=pose) for i, pose in enumerate(poses))
    series = TiltSeries("TS_01", Microscope(), 2.7, tilts, slab=slab)
    return Tomogram(series, np.zeros((40, 8, 8), np.float32), 20.0)


def tracks_of(points, poses, rng, kind):
    """Record of an alignment that followed points ``(n, 3)``, to 2 angstrom a coordinate."""
    rows = [(k, i) for k in range(len(points)) for i in poses]
    seen = np.array(
        [
            np.array(poses[i].shift_xy_angstrom) + poses[i].magnification * (poses[i].matrix @ points[k])[:2]
            for k, i in rows
        ]
    ) + rng.normal(0, 2.0, (len(rows), 2))
    return {
        "kind": kind,
        "track": [k for k, _ in rows],
        "acquisition_index": [i for _, i in rows],
        "x_angstrom": seen[:, 0].tolist(),
        "y_angstrom": seen[:, 1].tolist(),
        "counts": [True] * len(rows),
    }


def points_at(heights, rng):
    plan = rng.uniform(-2000, 2000, (len(heights), 2))
    return np.column_stack([plan, heights])


def test_positions_of_tracks_are_found_in_the_frame_of_the_poses(rng):
    tomogram = make_tomogram()
    poses = {t.acquisition_index: t.pose for t in tomogram.series.tilts}
    points = points_at(rng.uniform(-700, 300, 12), rng)
    numbers, positions = track_positions(tracks_of(points, poses, rng, "beads"), poses)
    assert numbers.tolist() == list(range(12))
    np.testing.assert_allclose(positions, points, atol=5.0)  # 2 A in 21 images


@pytest.mark.parametrize(
    ("kind", "heights", "expected"),
    [
        ("features", np.linspace(-500, 300, 30), -100.0),
        ("beads", np.r_[np.full(10, -620.0), np.full(10, 400.0)], -110.0),  # both surfaces
        ("beads", np.r_[np.full(4, -620.0), np.full(20, 400.0)], -110.0),
        ("beads", np.full(20, 700.0), None),  # one surface: the middle lies below, how far is not known
        ("features", [10.0, 20.0], None),  # too few
    ],
)
def test_the_middle_by_tracks(kind, heights, expected, rng):
    tomogram = make_tomogram()
    poses = {t.acquisition_index: t.pose for t in tomogram.series.tilts}
    found = measured_height(tomogram, tracks_of(points_at(np.asarray(heights), rng), poses, rng, kind))
    if expected is None:
        assert found is None
    else:
        assert found.middle_angstrom == pytest.approx(expected, abs=40.0)


@pytest.mark.parametrize(
    ("moved", "turned", "middle"),
    [(None, None, 320.0), (320.0, None, 0.0), (320.0, 3.0, 0.0), (200.0, None, 120.0)],
)
def test_a_measured_slab_counts_first_in_the_frame_of_the_poses_as_they_are_now(moved, turned, middle):
    slab = Slab(
        Sourced(measured=1500.0),
        Sourced(measured=320.0, applied=moved),
        tilt_y_deg=Sourced(measured=3.0, applied=turned),
    )
    found = measured_height(make_tomogram(slab))
    assert (found.middle_angstrom, found.thickness_angstrom) == (middle, 1500.0)


def specimen_with_beads(rng, middle, n_z=80, rays=True):
    """Bodies of 100 angstrom in a slab of 400 angstrom, one heavy bead above it, and its rays."""
    volume = rng.normal(0, 1.0, (n_z, 64, 64)).astype(np.float32)
    z = slice(middle - 10, middle + 10)
    volume[z] += 1.5 * np.kron(rng.normal(size=(4, 13, 13)), np.ones((5, 5, 5)))[:, :64, :64]
    if rays:
        bead_z, bead_x = middle + 9, 30
        for layer in range(n_z):
            for slope in np.tan(np.deg2rad(np.arange(-60, 61, 12))):
                x = round(bead_x + slope * (layer - bead_z))
                if 0 <= x < 62:
                    volume[layer, 20:40, x : x + 2] -= 12.0
    return volume


@pytest.mark.parametrize("middle", [28, 40, 52])
@pytest.mark.parametrize("rays", [False, True])
def test_the_voxels_tell_the_middle_roughly_in_spite_of_rays(middle, rays, rng):
    slices = central_slices(specimen_with_beads(rng, middle, rays=rays), 20.0, 60.0)
    assert slices.height_angstrom == pytest.approx((middle - 40) * 20.0, abs=200.0)  # inside the slab


def test_nothing_but_noise_is_cut_in_the_middle(rng):
    assert height_from_profile(np.full(60, 3.0), 10.0) is None
    slices = central_slices(np.full((30, 16, 16), 2.0, np.float32), 10.0, 30.0)
    assert slices.height_angstrom == 0.0


def test_layers_cover_the_whole_volume(rng):
    volume = np.repeat(np.arange(50, dtype=np.float32), 16).reshape(50, 4, 4)
    slices = central_slices(volume, 10.0, 50.0)
    assert len(slices.layers) == 10
    assert [float(layer.mean()) for layer in slices.layers] == [2.0 + 5 * k for k in range(10)]
    assert slices.layer_heights_angstrom == tuple(10.0 * (2 + 5 * k - 25) for k in range(10))
