"""The search over rotations: the sums it stands for, rotations found, nuisances without effect."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.decoys import decoys_of
from cryoloom.algorithms.picking.pose_search import cut_windows, plan_pose_search, spline_coefficients
from cryoloom.algorithms.picking.template_energy import RotationSet
from cryoloom.algorithms.picking.templates import density_of_points, template_of_density
from cryoloom.geometry.orientation_grid import rotation_grid, rotations_between, rotations_near

VOXEL = 10.0
STEP_DEG = 20.0


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(5)
    points = rng.normal(0, 25, (12, 3))
    density = density_of_points(points, rng.uniform(1, 2, 12), 3.0)
    template = template_of_density(density, 3.0, voxel_size_angstrom=VOXEL, radius_angstrom=70.0)
    radial, reference, decoys = decoys_of(template, 1, rng)
    return radial, reference, decoys[0]


@pytest.fixture(scope="module")
def spread(reference):
    """A point spread with a missing wedge: information at frequencies up to 60 degrees from the xy plane."""
    k = reference[0].box
    axis = np.fft.fftfreq(2 * k)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    seen = (np.abs(z) <= 1.75 * np.abs(x) + 1e-9) & (radius < 0.45)
    spread = np.fft.fftshift(np.fft.ifftn(seen * (0.3 + radius)).real)
    density = reference[1].rotated(np.eye(3)[None])[0].numpy()
    shown = seen_volume(density, spread)[24 - k // 2 : 25 + k // 2, 24 - k // 2 : 25 + k // 2][
        ..., 24 - k // 2 : 25 + k // 2
    ]
    # As sharp as a good particle: E of 1000.
    return 1000.0 / float((shown.numpy() * density).sum()) * spread


def seen_volume(density, spread, n=48):
    """What a matched-filter tomogram shows of a density at its centre: W times it."""
    k = density.shape[0]
    padded = np.zeros((2 * k,) * 3)
    padded[:k, :k, :k] = density
    shown = np.fft.ifftn(np.fft.fftn(padded) * np.fft.fftn(np.fft.ifftshift(spread))).real
    shown = np.roll(shown, (k - k // 2,) * 3, axis=(0, 1, 2))
    volume = np.zeros((n, n, n))
    low = n // 2 - k
    volume[low : low + 2 * k, low : low + 2 * k, low : low + 2 * k] = shown
    return torch.from_numpy(volume.astype(np.float32))


def windows_of(volume, search, place=(24.0, 24.0, 24.0)):
    return cut_windows(np.array([place]), np.ones((1, 1)), search, spline_coefficients(volume))


def test_the_rotation_of_a_particle_is_found_and_decoys_lose(reference, spread):
    radial, template, decoy = reference
    search = plan_pose_search(radial, spread[None])
    true = rotation_grid(45.0)[11]
    density = 0.8 * template.rotated(true[None])[0].numpy()
    windows = windows_of(seen_volume(density, spread), search)
    rotations = rotation_grid(STEP_DEG)
    every = RotationSet.of(rotations)
    result = search.search(windows, template, every)
    assert rotations_between(rotations[result.rotation[0]], true) < STEP_DEG
    assert_allclose(windows.amplitude[0], 0.8, rtol=0.1)
    finer = rotations_near(4.0, 16.0)[None] @ rotations[result.rotation][:, None]
    refined, shift, significance = search.refine(windows, template, finer)
    assert rotations_between(refined[0], true) < 5.0
    assert_allclose(shift, 0.0, atol=0.51)
    assert significance[0] >= result.significance[0]
    assert result.evidence[0] > search.search(windows, decoy, every).evidence[0] + 10


def test_the_score_of_the_template_itself_is_its_energy(reference, spread):
    radial, template, _ = reference
    search = plan_pose_search(radial, spread[None])
    turn = rotation_grid(60.0)[7:8]
    k = radial.box
    rest = (template.rotated(turn)[0] - radial.rotated(np.eye(3)[None])[0]).numpy().astype(np.float64)
    # By hand, in double precision: S of the directional part, and E less what the nuisances explain.
    spread_fft = np.fft.fftn(np.fft.ifftshift(spread))
    shown = np.fft.ifftn(np.fft.fftn(np.pad(rest, (0, k))) * spread_fft).real[:k, :k, :k]
    shared = search.nuisances.double().numpy() @ shown[search.inside.numpy()]
    explained = shared @ np.linalg.inv(search.gram[0].numpy()) @ shared
    energy = (rest * shown).sum() - explained
    windows = windows_of(seen_volume(rest + radial.rotated(np.eye(3)[None])[0].numpy(), spread), search)
    result = search.search(windows, template, RotationSet.of(turn))
    assert_allclose(windows.amplitude[0], 1.0, rtol=0.1)
    assert_allclose(result.significance[0], np.sqrt(energy), rtol=0.05)
    # L = a S - a^2 E / 2 with a near 1, one rotation, and shifts of which few fit.
    assert 0.35 * energy < result.evidence[0] < 0.65 * energy


def test_another_radial_profile_or_centre_changes_nothing(reference, spread):
    radial, template, _ = reference
    search = plan_pose_search(radial, spread[None])
    true = rotation_grid(45.0)[20]
    density = template.rotated(true[None])[0].numpy().astype(np.float64)
    k = density.shape[0]
    at = np.arange(k) - k // 2
    distance = np.sqrt(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
    shell = np.interp(distance, [0, 3, 5, 7], [0.0, 0.3, -0.4, 0.0]) * density.max()
    rotations = rotation_grid(STEP_DEG)
    every = RotationSet.of(rotations)
    plain = search.search(windows_of(seen_volume(density, spread), search), template, every)
    changed = windows_of(seen_volume(density + shell, spread), search)
    other = search.search(changed, template, every)
    assert other.rotation[0] == plain.rotation[0]
    # Linear bumps describe the added shell to a few hundredths.
    assert_allclose(other.significance, plain.significance, rtol=0.1)


def test_windows_between_voxels_are_the_splines(rng):
    volume = rng.standard_normal((40, 40, 40)).astype(np.float32)
    density = density_of_points(np.array([[0.0, 0, 10], [0, 0, -10]]), np.ones(2), 3.0)
    template = template_of_density(density, 3.0, voxel_size_angstrom=VOXEL, radius_angstrom=40.0)
    spread = np.zeros((2 * template.box,) * 3)
    spread[(template.box,) * 3] = 1.0
    search = plan_pose_search(template, spread[None])
    place = np.array([19.3, 20.8, 18.5])
    windows = windows_of(torch.from_numpy(volume), search, tuple(place))
    from scipy.ndimage import map_coordinates

    points = place + windows.shifts_zyx_voxels[4] + search.offsets()
    expected = map_coordinates(volume.astype(np.float64), points.T, order=3)
    assert_allclose(windows.values[0, 4].numpy(), expected, atol=1e-4)


def test_a_window_may_end_at_the_faces(reference, spread):
    radial, template, _ = reference
    search = plan_pose_search(radial, spread[None])
    volume = seen_volume(template.rotated(np.eye(3)[None])[0].numpy(), spread)
    low = 24 - radial.box // 2
    place = np.array([24.3, 23.8, 24.0])
    whole = windows_of(volume, search, place)
    # Up to half a voxel's shift beyond, where a template is 0.
    cut = windows_of(volume[low:, : 25 + radial.box // 2, low:].contiguous(), search, place - [low, 0, low])
    weight = search.radial[search.inside].abs()
    apart = ((cut.values - whole.values).square() * weight).sum() / (whole.values.square() * weight).sum()
    assert float(apart) < 1e-3
    assert_allclose(cut.amplitude, whole.amplitude, rtol=0.01)


def test_a_ball_seen_by_half_of_the_tilts_has_no_direction(reference, spread):
    radial, template, _ = reference
    k = radial.box
    # Frequencies of two groups of tilts: about y, and about x.
    axis = np.fft.fftfreq(2 * k)
    y, x = axis[:, None], axis
    whole = np.fft.fftn(np.fft.ifftshift(spread))
    halves = np.stack(
        [np.fft.fftshift(np.fft.ifftn(whole * part).real) for part in (abs(y) > abs(x), abs(y) <= abs(x))]
    )
    search = plan_pose_search(radial, halves)
    # Of a particle that is nearly round: its radial part has hundreds of times the power of the rest.
    ball = 20 * radial.rotated(np.eye(3)[None])[0].numpy()
    coefficients = spline_coefficients(seen_volume(ball, halves[1]))
    rotations = RotationSet.of(rotation_grid(STEP_DEG))
    significance = []
    for shown in ([0.0, 1.0], [0.5, 0.5]):
        windows = cut_windows(np.full((1, 3), 24.0), np.array([shown]), search, coefficients)
        significance.append(float(search.search(windows, template, rotations).significance[0]))
    # Under the point spread of all tilts it would be taken for a direction.
    assert significance[0] < 2.5 < 4.0 < significance[1]
