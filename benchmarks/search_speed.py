"""One exhaustive pass over particles without symmetry: time and memory, from 500 particles to 10,000.

Data are noise: what is in them changes the search little. 41 tilts, box 64 of 5.4 A, a grid of 15 degrees
(4400 rotations), 33 shifts, a band of 40 A; every probable pose is inserted. Series of 100 particles, because
slices of the reference are made once for each. A first, small pass compiles the kernels and does not count.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.passes import Poses, SearchGrid, search_pass
from cryoloom.algorithms.averaging.pose_refinement import PosePrior
from cryoloom.algorithms.averaging.pose_search import shift_grid
from cryoloom.geometry.orientation_grid import rotation_grid

BOX_PX, PIXEL_ANGSTROM, BAND_ANGSTROM, PER_SERIES = 64, 5.4, 40.0, 100


def noise_images(n: int, rng: np.random.Generator) -> ParticleImages:
    plane = HalfPlane.of_box(BOX_PX, PIXEL_ANGSTROM)
    angles = np.arange(-60.0, 61.0, 3.0)
    shape = (n, len(angles), len(plane.kxy))
    data = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    matrices = Rotation.from_euler("ZY", [[85.0, angle] for angle in angles], degrees=True).as_matrix()
    return ParticleImages(
        plane, matrices, np.arange(len(angles)), data, np.ones(shape, np.float32), np.ones(shape[:2], bool)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, default=500)
    n_particles = parser.parse_args().particles
    rng = np.random.default_rng(1)
    density = torch.tensor(0.05 * rng.standard_normal((BOX_PX,) * 3), dtype=torch.float32)
    grid = SearchGrid(rotation_grid(15.0), shift_grid(12.0, 6.0))
    print(f"{len(grid.rotations)} rotations, {len(grid.shifts_xyz_angstrom)} shifts")
    seconds = 0.0
    for n in [4] + [PER_SERIES] * (n_particles // PER_SERIES):
        images = noise_images(n, rng)
        poses = Poses(
            rng.integers(1, 3, n), np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)),
            PosePrior(10.0, None, None),
        )  # fmt: skip
        begun = time.perf_counter()
        cube = cube_of_map(density, float(images.plane.radius[-1]))
        search_pass(images, (cube, cube), poses, grid, images.plane.n_within(BAND_ANGSTROM), 17.0)
        if n == PER_SERIES:
            seconds += time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{n_particles} particles: {seconds:.1f} s, peak memory {peak:.2f} GiB")
    print(f"10,000 particles: {seconds * 10_000 / n_particles:.0f} s (extrapolated)")


if __name__ == "__main__":
    main()
