"""After subtraction images are what they would be without the particles, or without their part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles
from cryoloom.steps.subtract_signal import SubtractSignalParams, subtract_signal
from makers.context import MemoryContext
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene

N, VOXEL = 64, 5.0


def parts_of(seed):
    """A particle, and its two parts: seven lumps and two."""
    whole = lumpy_particle(np.random.default_rng(seed))
    first = np.arange(len(whole.weights)) < 420
    return whole, *(
        replace(whole, points_xyz_angstrom=whole.points_xyz_angstrom[kept], weights=whole.weights[kept])
        for kept in (first, ~first)
    )


@pytest.fixture(scope="module")
def scenes():
    """Eight particles with noise, and the same images with no particle and with the first part alone."""
    whole, first, second = parts_of(2)
    rng = np.random.default_rng(6)
    start = small_scene(whole, 8, rng, noise=0.0)
    same = {"positions": start.positions_xyz_angstrom, "rotations": start.rotations, "noise": 0.3}
    nobody = {"positions": np.zeros((0, 3)), "rotations": np.zeros((0, 3, 3)), "noise": 0.3}
    made = [
        small_scene(model, 0, np.random.default_rng(7), **where)
        for model, where in ((whole, same), (whole, nobody), (first, same))
    ]
    return (whole, first, second), made


def particles_of(scene) -> Particles:
    n = len(scene.rotations)
    rows = ParticleRows.of(
        "TS_1",
        scene.positions_xyz_angstrom,
        rotations=scene.rotations,
        class_number=1 + np.arange(n) % 2,
    )
    table = ArrayTable(rows.columns())
    return Particles("TS_1", table, (scene.series,), diameter_angstrom=DIAMETER_ANGSTROM)


def contrast(images):
    images = np.asarray(images, np.float64)
    return images / images.mean(axis=(1, 2), keepdims=True)


def test_what_is_left_is_the_noise(scenes):
    (whole, _, _), (full, empty, _) = scenes
    average = Average(
        "all", true_map(whole, N, VOXEL), VOXEL, resolution_angstrom=10.0,
        diameter_angstrom=DIAMETER_ANGSTROM,
    )  # fmt: skip
    context = MemoryContext()
    given = particles_of(full)
    found = subtract_signal(given, SubtractSignalParams(), context, average_from=average)
    series = found.main.series[0]
    noise = contrast(empty.series.stack.images)
    before = contrast(full.series.stack.images) - noise
    after = contrast(series.stack.images) - noise
    # Two percent of the power: what is finer than 10 A stays, and so does the images' mean.
    assert after.std() < 0.15 * before.std()
    # Points of phase phi make a contrast of 2 phi; any scale of the average would do.
    assert 1.9 < context.figures["amplitude_before"] < 2.1
    assert abs(context.figures["amplitude_left"]) < 0.05
    assert found.others["series"] == (series,)
    assert series.weighted is None
    # The input's images stay what they are.
    assert given.series[0] is full.series


def test_a_part_is_subtracted_alone(scenes, tmp_path):
    (whole, _, second), (full, _, rest) = scenes
    average = Average(
        "all", true_map(whole, N, VOXEL), VOXEL, resolution_angstrom=10.0,
        diameter_angstrom=DIAMETER_ANGSTROM,
    )  # fmt: skip
    density = true_map(second, N, VOXEL)
    # The part's own share of the density as mask, so that the rest is exactly the other part.
    mask = np.clip(density / np.maximum(true_map(whole, N, VOXEL), 1e-3 * density.max()), 0.0, 1.0)
    path = tmp_path / "part.mrc"
    write_mrc(path, mask, VOXEL, kind="volume")
    context = MemoryContext()
    found = subtract_signal(
        particles_of(full), SubtractSignalParams(mask=path), context, average_from=average
    ).main
    other = contrast(rest.series.stack.images)
    before = contrast(full.series.stack.images) - other
    after = contrast(found.series[0].stack.images) - other
    assert after.std() < 0.3 * before.std()


def test_classes_are_chosen(scenes):
    (whole, _, _), (full, _, _) = scenes
    average = Average("all", true_map(whole, N, VOXEL), VOXEL, diameter_angstrom=DIAMETER_ANGSTROM)
    context = MemoryContext()
    subtract_signal(particles_of(full), SubtractSignalParams(classes=(2,)), context, average_from=average)
    assert context.figures["n_particles"] == 4


def test_what_cannot_be_subtracted_is_reported(scenes, tmp_path, context):
    (whole, _, _), (full, _, _) = scenes
    average = Average("all", true_map(whole, N, VOXEL), VOXEL, diameter_angstrom=DIAMETER_ANGSTROM)
    particles = particles_of(full)
    with pytest.raises(UserInputError, match="is not there"):
        subtract_signal(
            particles, SubtractSignalParams(mask=tmp_path / "no.mrc"), context, average_from=average
        )
    small = tmp_path / "small.mrc"
    write_mrc(small, np.ones((8, 8, 8), np.float32), VOXEL, kind="volume")
    with pytest.raises(UserInputError, match="8 x 8 x 8 voxels"):
        subtract_signal(particles, SubtractSignalParams(mask=small), context, average_from=average)
    large = tmp_path / "large.mrc"
    write_mrc(large, np.full((N, N, N), 7.0, np.float32), VOXEL, kind="volume")
    with pytest.raises(UserInputError, match="finite values from 0 to 1"):
        subtract_signal(particles, SubtractSignalParams(mask=large), context, average_from=average)
    rows = replace(particles.rows(), class_number=None)
    with pytest.raises(DataUnfitError, match="have no classes"):
        subtract_signal(
            replace(particles, table=ArrayTable(rows.columns())), SubtractSignalParams(classes=(1,)), context,
            average_from=average,
        )  # fmt: skip
    unaligned = full.series.with_tilts({t.acquisition_index: {"pose": None} for t in full.series.tilts})
    with pytest.raises(DataUnfitError, match="align_series"):
        subtract_signal(
            replace(particles, series=(unaligned,)), SubtractSignalParams(), context, average_from=average
        )
