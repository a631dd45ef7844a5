"""Memory of a search for ridges, and the volume that membranes and filaments are looked for in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.geometry.frames import position_from_index
from cryoloom.model import Microscope, Sourced, TiltSeries, Tomogram
from cryoloom.procedures.ridge_volume import bytes_for_ridges, ridge_volume
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from makers.context import MemoryContext

PIXEL = 8.0


@pytest.fixture(scope="module")
def tomogram() -> Tomogram:
    series, truth = simulate_tilt_series(
        SimulationParams(
            seed=5, image_shape_yx=(96, 96), pixel_size_angstrom=PIXEL, thickness_angstrom=400.0,
            n_particles=5, n_vesicles=0, n_membranes=0, n_beads=0, tilt_step_deg=20.0,
        )
    )  # fmt: skip
    series = truth.with_true_ctfs(truth.with_true_poses(series))
    series = replace(series, handedness=Sourced(applied=float(truth.handedness)))
    return Tomogram(series, np.zeros((30, 48, 48), np.float32), 16.0)


def test_memory_grows_with_finer_voxels_down_to_the_pixels_of_the_images(tomogram):
    assert bytes_for_ridges(tomogram, 10.0) > bytes_for_ridges(tomogram, 20.0) > 600_000_000
    assert bytes_for_ridges(tomogram, 1.0) == bytes_for_ridges(tomogram, PIXEL)


def test_the_volume_holds_the_tomogram_at_the_voxel_asked_for(tomogram):
    context = MemoryContext()
    made = ridge_volume(tomogram, 20.0, fill_beads=True, context=context)
    assert made.voxel_size_angstrom == pytest.approx(20.0, rel=0.1)
    extent = np.array(made.volume.shape) * made.voxel_size_angstrom
    assert np.abs(extent - np.array([480.0, 768.0, 768.0])).max() < 2.5 * made.voxel_size_angstrom
    assert made.n_parts == len(tomogram.series.included)
    assert bool(np.isfinite(made.volume.numpy()).all())


def test_an_imported_tomogram_is_searched_itself(rng):
    volume = rng.normal(0, 1, (40, 64, 64)).astype(np.float32)
    volume[20, 30, 34] = -200.0  # matter is dark, and lies (2, -2, 0) from the centre
    series = TiltSeries("TS_01", Microscope(), 10.0, ())
    imported = Tomogram(series, volume, 10.0)
    context = MemoryContext()
    made = ridge_volume(imported, 20.0, fill_beads=True, context=context)
    assert made.voxel_size_angstrom == 20.0
    found = np.unravel_index(int(made.volume.argmax()), made.volume.shape)
    assert_allclose(position_from_index(np.array(found), made.volume.shape, 20.0), [20.0, -20.0, 0.0])
    assert any("without tilt images" in line for line in context.warnings)
    assert bytes_for_ridges(imported, 10.0) > bytes_for_ridges(imported, 20.0) > 600_000_000
