"""One exhaustive pass over particles without symmetry: time, memory, and poses found, against the known ones.

Images of a particle of a ribosome's shape are made in Fourier space with known poses and noise, as visible as
apoferritin in 3 e/A^2 a tilt (its likelihood ratio's deviation is 60 at 40 A). 41 tilts, box 64 of 5.4 A, a
grid of 15 degrees (4400 rotations), 33 shifts, a band of 40 A; every probable pose is inserted. Series of 100
particles, because slices of the reference are made once for each. A first, small pass compiles the kernels
and does not count.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.maps import map_on_grid
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.passes import Poses, SearchGrid, search_pass
from cryoloom.algorithms.averaging.pose_refinement import PosePrior
from cryoloom.algorithms.averaging.pose_search import frames_of, shift_grid, shift_phases
from cryoloom.algorithms.picking.templates import density_of_points
from cryoloom.geometry.orientation_grid import rotation_grid, rotations_between
from cryoloom.kernels.slices.fourier_slices import take_slices
from cryoloom.simulate.particles import builtin_models

BOX_PX, PIXEL_ANGSTROM, BAND_ANGSTROM, PER_SERIES = 64, 5.4, 40.0, 100
DEVIATION, SHIFT_RMS_ANGSTROM = 60.0, 4.0
TILTS_DEG = np.arange(-60.0, 61.0, 3.0)


def made_images(
    cube: torch.Tensor, rotations: NDArray[np.float64], shifts: NDArray[np.float64], rng: np.random.Generator
) -> ParticleImages:
    """Data and weights of particles at poses, with white noise."""
    plane = HalfPlane.of_box(BOX_PX, PIXEL_ANGSTROM)
    matrices = Rotation.from_euler("ZY", [[85.0, a] for a in TILTS_DEG], degrees=True).as_matrix()
    shape = (len(rotations), len(TILTS_DEG), len(plane.kxy))
    empty = ParticleImages(
        plane, matrices, np.arange(len(TILTS_DEG)), np.zeros(shape, np.complex64),
        np.ones(shape, np.float32), np.ones(shape[:2], bool),
    )  # fmt: skip
    m = shape[2]
    slices = take_slices(cube, frames_of(matrices, rotations).reshape(-1, 2, 3), plane.samples)
    model = slices.reshape(shape).numpy() * shift_phases(empty, shifts, m).numpy().conj()
    used = plane.n_within(BAND_ANGSTROM)
    weight = DEVIATION**2 / float((np.abs(model[..., :used]) ** 2).sum(axis=(1, 2)).mean())
    noise = rng.standard_normal(shape, np.float32) + 1j * rng.standard_normal(shape, np.float32)
    empty.data[:] = weight * model + np.sqrt(weight) * noise
    empty.weights[:] = weight
    return empty


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, default=500)
    n_particles = parser.parse_args().particles
    rng = np.random.default_rng(1)
    model = builtin_models(0.02, rng)[1]
    # Points of 300 A are brought to 230 A, which fill two thirds of the box.
    points = model.points_xyz_angstrom.astype(float) * 115.0 / model.radius_angstrom
    fine = torch.tensor(density_of_points(points, model.weights.astype(float), 2.7), dtype=torch.float32)
    density = map_on_grid(fine, 2.7, BOX_PX, PIXEL_ANGSTROM)
    grid = SearchGrid(rotation_grid(15.0), shift_grid(12.0, 6.0))
    plane = HalfPlane.of_box(BOX_PX, PIXEL_ANGSTROM)
    cube = cube_of_map(density, float(plane.radius[-1]))
    print(f"{len(grid.rotations)} rotations, {len(grid.shifts_xyz_angstrom)} shifts")
    seconds, errors, shared = 0.0, [], []
    for n in [4] + [PER_SERIES] * (n_particles // PER_SERIES):
        rotations = Rotation.random(n, rng).as_matrix()
        shifts = rng.normal(0, SHIFT_RMS_ANGSTROM / 3**0.5, (n, 3))
        images = made_images(cube, rotations, shifts, rng)
        poses = Poses(
            1 + np.arange(n) % 2, np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)), PosePrior(10.0, None, None)
        )
        begun = time.perf_counter()
        cubes = (cube_of_map(density, float(plane.radius[-1])),) * 2
        found = search_pass(images, cubes, poses, grid, images.plane.n_within(BAND_ANGSTROM), 17.0)
        if n == PER_SERIES:
            seconds += time.perf_counter() - begun
            errors.append(rotations_between(found.rotations, rotations))
            shared.append(found.n_effective)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    error = np.concatenate(errors)
    print(
        f"{n_particles} particles: {seconds:.1f} s, peak memory {peak:.2f} GiB; within 15 deg "
        f"{(error < 15).mean():.3f}, median error {np.median(error):.2f} deg, orientations that share a "
        f"posterior {np.median(np.concatenate(shared)):.2f}"
    )
    print(f"10,000 particles: {seconds * 10_000 / n_particles:.0f} s (extrapolated)")


if __name__ == "__main__":
    main()
