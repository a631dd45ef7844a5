"""RELION's extraction: which image is whose, and particles that are exported with it."""

from __future__ import annotations

import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.programs.relion.relion_extract_particles import (
    RelionExtractParticlesParams,
    relion_extract_particles,
)
from makers.relion_stand_ins import SUBTOMO


def test_stacks_of_the_particles_that_relion_kept(particles, context, stand_in):
    stand_in("relion_tomo_subtomo", SUBTOMO)
    params = RelionExtractParticlesParams(binning=2.0, box_px=32, crop_px=16)
    found = relion_extract_particles(particles, params, context)
    assert found.rows().particle.tolist() == [2, 3, 4]  # the stand-in leaves out the first
    assert context.figures["n_left_out"] == 1
    (images,) = found.images
    assert images.pixel_size_angstrom == 2 * particles.series[0].stack.pixel_size_angstrom
    sections = images.sections.read()
    # Each is shown by all tilts but the first of the table, and its pixels are its number.
    first = particles.series[0].included[0].acquisition_index
    assert first not in sections["acquisition_index"]
    assert_allclose(images.pixels[:].mean(axis=(1, 2)), sections["particle"])
    cut = images.particles.read()
    assert_allclose(cut["x_angstrom"], found.rows().positions_xyz_angstrom[:, 0], atol=1e-5)
    assert_allclose(found.rows().rotations, particles.rows().rotations[1:], atol=1e-6)
    assert found.rows().others["note"].tolist() == [1, 4, 1]


def test_volumes_and_their_weights(particles, context, stand_in):
    stand_in("relion_tomo_subtomo", SUBTOMO)
    params = RelionExtractParticlesParams(box_px=32, crop_px=16, output="volumes")
    (images,) = relion_extract_particles(particles, params, context).images
    assert images.pixels.shape == (3 * 16, 16, 16)
    assert images.weights.shape == (3 * 32, 16, 9)


def test_images_of_another_size_are_refused(particles, context, stand_in):
    stand_in("relion_tomo_subtomo", SUBTOMO.replace('int(given["--crop"][0])', "12"))
    with pytest.raises(DataUnfitError, match="expected 16 rows; the result is not used"):
        relion_extract_particles(particles, RelionExtractParticlesParams(box_px=32, crop_px=16), context)
