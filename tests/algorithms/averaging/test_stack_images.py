"""Stacks that another program cut out: centres, angles and hand against the truth and against WarpTools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from cryoloom.algorithms.averaging.reconstruction import Insertion, insert_particles
from cryoloom.algorithms.averaging.shell_correlation import shell_correlation, soft_sphere
from cryoloom.algorithms.averaging.stack_images import images_of_stacks
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.formats.relion.tomograms4 import read_relion4_tomograms
from cryoloom.geometry.projection import project
from makers.particle_scene import make_scene, true_map
from makers.small_particles import PIXEL_ANGSTROM, TILTS_DEG, lumpy_particle

STEM = "warptools_test_4-tomos_10-ptcls_box-32_angpix-12"
BOX_PX = 48


@pytest.fixture(scope="module")
def cut():
    """A scene, and stacks cut about each particle's whole pixel; positions are moved there."""
    rng = np.random.default_rng(8)
    model = lumpy_particle(rng)
    scene = make_scene(
        model, 12, rng, shape_yx=(240, 240), pixel=PIXEL_ANGSTROM, tilts_deg=TILTS_DEG, dose=6.0,
        thickness=200.0, box_px=BOX_PX, noise=0.5, positions=on_whole_pixels(rng),
    )  # fmt: skip
    tilts = scene.series.tilts
    seen = project(
        scene.positions_xyz_angstrom,
        np.array([tilt.pose.matrix for tilt in tilts]),
        [tilt.pose.shift_xy_angstrom for tilt in tilts],
    )
    stacks = np.zeros((len(scene.positions_xyz_angstrom), len(tilts), BOX_PX, BOX_PX), np.float32)
    for t, tilt in enumerate(tilts):
        image = scene.series.stack.images[tilt.section]
        spectrum = np.fft.fft2(image / image.mean() - 1.0)
        ky, kx = (np.fft.fftfreq(n) for n in image.shape)
        for i, (x, y) in enumerate(seen[t] / PIXEL_ANGSTROM):
            ramp = np.exp(2j * np.pi * (ky[:, None] * y + kx[None] * x))
            centred = np.fft.ifft2(spectrum * ramp).real
            low = image.shape[0] // 2 - BOX_PX // 2
            stacks[i, tilt.section] = centred[low : low + BOX_PX, low : low + BOX_PX]
    return model, scene, stacks


def on_whole_pixels(rng):
    """Twelve places a particle's width apart."""
    grid = np.stack(np.meshgrid(np.arange(-1, 3), np.arange(-1, 2)), axis=-1).reshape(-1, 2)
    return np.column_stack([(grid - 0.3) * 240.0, rng.uniform(-40, 40, len(grid))])


def reconstructed(images, rotations):
    into = Insertion(images.plane.box_px, float(images.plane.radius[-1]))
    insert_particles(images, into, np.arange(images.n), rotations, np.zeros((images.n, 3)))
    return into.sums().map()


def test_a_map_from_cut_stacks_is_the_truth(cut):
    model, scene, stacks = cut
    images = images_of_stacks(
        scene.series, stacks, scene.positions_xyz_angstrom, PIXEL_ANGSTROM, premultiplied=False, bright=False
    )
    mask = soft_sphere(BOX_PX, 16, 4)
    truth = torch.tensor(true_map(model, BOX_PX, PIXEL_ANGSTROM)) * mask
    right = shell_correlation(reconstructed(images, scene.rotations) * mask, truth)
    # 48 x 5 A: shell 8 is 30 A.
    assert right[1:9].min() > 0.93
    mirrored = torch.roll(torch.flip(truth, (0,)), 1, 0)
    assert shell_correlation(reconstructed(images, scene.rotations) * mask, mirrored)[5:9].max() < 0.8


def test_premultiplied_stacks_make_the_same_map(cut):
    _, scene, stacks = cut
    place = scene.positions_xyz_angstrom
    plain = images_of_stacks(scene.series, stacks, place, PIXEL_ANGSTROM, premultiplied=False, bright=False)
    # D is what premultiplication makes, up to its factor and the samples that are not kept.
    full = np.zeros((*stacks.shape[:3], BOX_PX // 2 + 1), complex)
    kx, ky = plain.plane.kxy.T
    full[:, :, ky % BOX_PX, kx] = plain.data * BOX_PX**2 / -2.0
    on_axis = kx == 0
    full[:, :, -ky[on_axis] % BOX_PX, 0] = full[:, :, ky[on_axis] % BOX_PX, 0].conj()
    made = np.fft.fftshift(np.fft.irfft2(full, s=(BOX_PX, BOX_PX)), axes=(2, 3)).astype(np.float32)
    again = images_of_stacks(scene.series, made, place, PIXEL_ANGSTROM, premultiplied=True, bright=False)
    assert np.abs(again.data - plain.data).max() < 1e-4 * np.abs(plain.data).max()
    bright = images_of_stacks(scene.series, -made, place, PIXEL_ANGSTROM, premultiplied=True, bright=True)
    assert_array_equal(bright.data, again.data)


def test_an_image_of_zeros_has_no_weight(cut):
    _, scene, stacks = cut
    blank = stacks.copy()
    blank[3, 5] = 0.0
    images = images_of_stacks(
        scene.series, blank, scene.positions_xyz_angstrom, PIXEL_ANGSTROM, premultiplied=True, bright=False
    )
    assert not images.visible[3, 5]
    assert images.visible.sum() == images.visible.size - 1
    assert not images.weights[3, 5].any()


def test_values_that_are_not_finite_are_refused(cut):
    _, scene, stacks = cut
    broken = stacks.copy()
    broken[2, 4, 7, 7] = np.nan
    with pytest.raises(DataUnfitError, match=r"section 4 of the stacks of 1 particles .* not finite"):
        images_of_stacks(
            scene.series, broken, scene.positions_xyz_angstrom, PIXEL_ANGSTROM,
            premultiplied=True, bright=False,
        )  # fmt: skip


def test_the_stacks_of_warptools_make_its_map(data):
    """40 of the particles behind the ribosome map beside them, which is stored with its hand turned.

    That map agrees with the atomic model 4V5D, and with ours only after it is mirrored along z; RELION's own
    map of these 40 particles is like ours (benchmarks/warptools_stacks.py). It is made of many more: what
    40 particles can agree on with it follows from their halves, sqrt(2 F / (1 + F)).
    """
    folder = data / "sta/warptools"
    rows = read_relion_particles(folder / f"{STEM}_optimisation_set.star")
    series = read_relion4_tomograms(folder / f"{STEM}_tomograms.star")
    names = [row["rlnImageName"] for row in read_blocks(folder / f"{STEM}.star")["particles"]]
    halves = [Insertion(32, 15.5), Insertion(32, 15.5)]
    for name in sorted(series):
        mine = np.flatnonzero(rows.tomogram == name)
        stacks = [MrcPixels(folder / names[i])[...] for i in mine]
        images = images_of_stacks(
            series[name], stacks, rows.positions_xyz_angstrom[mine], 12.0, premultiplied=True, bright=True
        )
        for half, into in enumerate(halves):
            some = np.flatnonzero(np.arange(len(mine)) % 2 == half)
            insert_particles(images, into, some, rows.rotations[mine[some]], np.zeros((len(some), 3)))
    mask = soft_sphere(32, 12, 3)
    first, second = (into.sums().map() * mask for into in halves)
    halves[0].add(halves[1])
    whole = halves[0].sums().map() * mask
    stored = torch.tensor(
        MrcPixels(folder / "warptools_test_box-32_angpix-12_reconstruct.mrc")[...].astype(np.float32)
    )
    mirrored = torch.roll(torch.flip(stored, (0,)), 1, 0) * mask
    between = np.clip(shell_correlation(first, second), 0, 1)
    possible = np.sqrt(2 * between / (1 + between))
    found = shell_correlation(whole, mirrored)
    # Shell 12 of 384 A is 32 A. Found less possible was -0.09 to +0.02 there, the scatter of 40 particles.
    assert (found - possible)[1:13].min() > -0.12
    assert found[1:5].min() > 0.85
    assert found[5:13].mean() > 0.6
    assert shell_correlation(whole, stored * mask)[5:13].mean() < 0.2
