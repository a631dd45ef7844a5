"""The matched-filter tomogram: scores in standard deviations of noise, energies that agree, amplitudes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.transfer import ctf_2d
from cryoloom.algorithms.picking.candidates import correlate_volume, radial_power
from cryoloom.algorithms.picking.matched_filter import (
    clear_part,
    filter_image,
    make_matched_filter,
    plan_tilt_filter,
)
from cryoloom.algorithms.picking.matched_series import Gold, matched_filter_of
from cryoloom.algorithms.picking.templates import ball_density, template_of_density
from cryoloom.algorithms.reconstruction.tomogram_grid import aligned_rows, tomogram_grid
from cryoloom.algorithms.series.dose import mean_dose_weights
from cryoloom.geometry.projection import beam_coordinate, project
from cryoloom.model import Ctf, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries, Tomogram

VOXEL = 10.0
SIDE = 96
HAND = 1.0


@pytest.fixture(scope="module")
def template():
    return template_of_density(ball_density(90.0, 3.0), 3.0, voxel_size_angstrom=VOXEL, radius_angstrom=60.0)


def series_of(rng, *, amplitude=0.0, position=(0.0, 0.0, 0.0), template=None):
    """21 images of white noise of 5 %, and a ball's contrast at a place, at its own defocus."""
    tilts, images = [], []
    microscope = Microscope()
    for k, angle in enumerate(np.arange(-60.0, 61.0, 6.0)):
        pose = Pose(30.0, float(angle), shift_xy_angstrom=(14.0, -8.0))
        ctf = Ctf(25000.0 + 10 * k, 25000.0 + 10 * k, 0.0)
        contrast = 0.05 * rng.standard_normal((SIDE, SIDE))
        if template is not None:
            contrast -= amplitude * projected(template, pose, ctf, microscope, position, k)
        images.append((100 * (1 + contrast)).astype(np.float32))
        tilts.append(Tilt(k, float(angle), 3.0 * k, 3.0 * k + 3.0, section=k, pose=pose, ctf=ctf))
    return TiltSeries(
        "TS_01",
        microscope,
        VOXEL,
        tuple(tilts),
        stack=Stack(np.array(images), VOXEL),
        handedness=Sourced(applied=HAND),
    )


def projected(template, pose, ctf, microscope, position, k):
    """What an image shows of a round template: its projection where the pose puts it, by Fourier shift."""
    volume = template.rotated(np.eye(3)[None])[0].numpy().astype(np.float64)
    flat = np.zeros((SIDE, SIDE))
    box = volume.shape[0]
    low = SIDE // 2 - box // 2
    flat[low : low + box, low : low + box] = volume.sum(axis=0)
    place = project(np.array([position]), pose.matrix[None], np.array([pose.shift_xy_angstrom]))[0, 0]
    depth = beam_coordinate(np.array([position]), pose.matrix[None])[0, 0]
    ky, kx = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)
    transfer = ctf_2d((SIDE, SIDE), VOXEL, ctf, microscope, height_angstrom=HAND * depth).numpy()
    dose = mean_dose_weights(np.hypot(ky, kx) / VOXEL, 3.0 * k, 3.0 * k + 3.0, 300.0)
    move = np.exp(-2j * np.pi * (kx * place[0] + ky * place[1]) / VOXEL)
    return np.fft.irfft2(np.fft.rfft2(flat) * move * transfer * dose, s=(SIDE, SIDE))


def grid_of(series):
    return tomogram_grid(
        series,
        series.stack,
        binning=None,
        voxel_size_angstrom=VOXEL,
        thickness_angstrom=400.0,
        length_angstrom=None,
        width_angstrom=None,
    )


def matched_of(series):
    grid = grid_of(series)
    images = [aligned_rows(series.stack.images, grid, t, 0, grid.volume_shape[1], "cpu") for t in grid.tilts]
    filters = [
        plan_tilt_filter(image, tilt, VOXEL, 200.0, 300.0)
        for image, tilt in zip(images, grid.tilts, strict=True)
    ]
    filtered = torch.stack([filter_image(*pair) for pair in zip(images, filters, strict=True)])
    return make_matched_filter(filtered, grid, [t.ctf for t in grid.tilts], filters, series.microscope, HAND)


def scores(matched, template):
    profile = template.rotated(np.eye(3)[None])[0]
    energy = matched.energy(radial_power(profile, matched.filters[0].frequency_per_voxel))
    correlation = correlate_volume(matched.volume, profile).numpy()
    return correlation, energy


def test_scores_of_noise_have_a_deviation_of_one(rng, template):
    correlation, energy = scores(matched_of(series_of(rng)), template)
    middle = (slice(5, -5), slice(20, -20), slice(20, -20))
    height = correlation[middle] / np.sqrt(energy[middle])
    # About 300 independent places: 4 %, and a whitening filter measured on single images.
    assert_allclose(height.std(), 1.0, atol=0.12)
    assert abs(height.mean()) < 0.2


def test_a_particle_has_its_amplitude_and_stands_at_its_place(rng, template):
    position = (120.0, -90.0, 70.0)
    matched = matched_of(series_of(rng, amplitude=0.02, position=position, template=template))
    correlation, energy = scores(matched, template)
    height = correlation / np.sqrt(np.maximum(energy, 0.2 * np.median(energy)))
    at = np.array(np.unravel_index(np.argmax(height), height.shape))
    found = (at - np.array(height.shape) // 2)[::-1] * VOXEL
    assert_allclose(found, position, atol=VOXEL)
    assert height.max() > 8
    # The images hold the particle's power as well, which lowers the weights a little.
    assert_allclose(correlation[tuple(at)] / energy[tuple(at)], 0.02, rtol=0.2)


def test_the_energy_is_that_of_the_point_spread(rng, template):
    matched = matched_of(series_of(rng))
    profile = template.rotated(np.eye(3)[None])[0].numpy().astype(np.float64)
    box = template.box
    spread = np.fft.fftn(np.fft.ifftshift(matched.point_spread(box))).real
    exact = (np.abs(np.fft.fftn(np.pad(profile, (0, box)))) ** 2 * spread).sum() / (2 * box) ** 3
    energy = scores(matched, template)[1]
    # Rings of the transfer function by the mean power on them, and interpolation in the point spread.
    assert_allclose(energy[tuple(n // 2 for n in energy.shape)], exact, rtol=0.1)


def test_a_particle_beside_gold_keeps_its_amplitude(rng, template):
    position = np.array([40.0, -30.0, 20.0])
    series = series_of(rng, amplitude=0.02, position=position, template=template)
    poses = [tilt.pose for tilt in series.tilts]
    matrices, shifts = np.array([p.matrix for p in poses]), np.array([p.shift_xy_angstrom for p in poses])
    bead = position + np.array([0.0, 30.0, 130.0])
    gold = Gold(100.0, bead[None], project(bead[None], matrices, shifts))
    tomogram = Tomogram(series, np.zeros((40, SIDE, SIDE), np.float32), VOXEL)
    profile = template.rotated(np.eye(3)[None])[0]
    amplitudes, seen = [], []
    for some in (None, gold):
        matched = matched_filter_of(tomogram, grid_of(series), 100.0, some, rng)
        correlation = correlate_volume(matched.volume, profile).numpy()
        power = radial_power(profile, matched.filters[0].frequency_per_voxel)
        at = tuple((position[::-1] / VOXEL).astype(int) + np.array(correlation.shape) // 2)
        # The ball is 90 A wide; a disc with as wide a rim is a tenth smaller.
        seen.append(float(matched.tilt_energies(position[None], power, 40.0).sum()))
        amplitudes.append(correlation[at] / seen[-1])
    assert seen[1] < 0.5 * seen[0]
    assert_allclose(amplitudes[1], amplitudes[0], rtol=0.15)


def test_the_clear_part_of_a_disc_is_its_area_outside_gold():
    at = np.mgrid[-150:151, -150:151].astype(float)
    own = np.hypot(*at) < 60
    for away, radius in ((0.0, 110.0), (80.0, 110.0), (100.0, 50.0), (30.0, 20.0), (170.0, 110.0)):
        covered = np.hypot(at[0], at[1] - away) < radius
        part = clear_part(np.zeros((1, 2)), 60.0, np.array([[away, 0.0]]), radius)[0]
        assert_allclose(part, 1 - (own & covered).sum() / own.sum(), atol=0.02)
    assert_allclose(clear_part(np.zeros((2, 2)), 60.0, np.zeros((0, 2)), 110.0), 1.0)
