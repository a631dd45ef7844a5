"""What of a simulated specimen is in its tomogram: true poses, noise, CTF; beads, particles, halves.

Bead error: centre of mass of the darkness about each true bead, minus the truth. Particles: mean density
within 60 A of the particles minus that at random places of the ice, in standard deviations of the latter.
A mirrored tomogram is tried as well: its beads must not be there.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoloom.geometry.frames import index_from_position
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from cryoloom.steps.reconstruct import ReconstructParams, reconstruct

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext


def centres(volume, points_xyz, voxel, radius):
    """Centre of mass of what is darker than the surroundings, and its depth, per point."""
    found, depth = [], []
    reach = int(np.ceil(radius / voxel)) + 1
    for point in points_xyz:
        at = index_from_position(point, volume.shape, voxel)
        low = np.round(at).astype(int) - reach
        if (low < 0).any() or (low + 2 * reach + 1 > volume.shape).any():
            continue
        box = volume[tuple(slice(start, start + 2 * reach + 1) for start in low)]
        grid = (np.stack(np.mgrid[tuple(slice(0, n) for n in box.shape)], axis=-1) + low - at) * voxel
        near = np.linalg.norm(grid, axis=-1) <= radius
        weight = np.clip(np.median(volume[low[0] + reach]) - box, 0, None) * near
        found.append((grid * weight[..., None]).sum(axis=(0, 1, 2))[::-1] / weight.sum())
        depth.append(weight.max() / volume.std())
    return np.array(found), np.array(depth)


def density(volume, points_xyz, voxel, radius=60.0):
    reach = int(np.ceil(radius / voxel))
    means = []
    for point in points_xyz:
        low = np.round(index_from_position(point, volume.shape, voxel)).astype(int) - reach
        if (low < 0).any() or (low + 2 * reach + 1 > volume.shape).any():
            continue
        means.append(volume[tuple(slice(start, start + 2 * reach + 1) for start in low)].mean())
    return np.array(means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--binning", type=float, default=2.0)
    options = parser.parse_args()
    print(
        f"{'seed':>4} {'seconds':>8} {'beads':>6} {'error x, y, z: rms (A)':>24} {'mean (A)':>22} "
        f"{'depth':>6} {'mirrored':>8} {'particles':>9} {'half corr.':>10} {'0.143 at (A)':>12}"
    )
    for seed in range(1, options.seeds + 1):
        series, truth = simulate_tilt_series(SimulationParams(seed=seed))
        series = series.with_tilts({tilt.acquisition_index: {"pose": tilt.pose} for tilt in truth.tilts})
        flawed = {t.acquisition_index for t in truth.tilts if t.flaw}
        series = replace(series, tilts=tuple(t for t in series.tilts if t.acquisition_index not in flawed))
        context = MemoryContext()
        start = time.perf_counter()
        params = ReconstructParams(binning=options.binning, thickness_angstrom=2000, multiscale=False)
        tomogram = reconstruct(series, params, context)
        seconds = time.perf_counter() - start
        volume, voxel = np.asarray(tomogram.volume), tomogram.voxel_size_angstrom
        beads = np.asarray(truth.beads_xyz_angstrom)
        error, depth = centres(volume, beads, voxel, truth.bead_diameter_angstrom)
        _, mirrored = centres(volume, beads * (1, 1, -1), voxel, truth.bead_diameter_angstrom)
        rng = np.random.default_rng(seed)
        half = np.array(volume.shape)[::-1] * voxel / 2
        inside = rng.uniform(-1, 1, (400, 3)) * (half[0] - 150, half[1] - 150, 400)
        inside[:, 2] += truth.z_offset_angstrom
        particles = np.concatenate([np.asarray(p.positions_xyz_angstrom) for p in truth.particles])
        background = density(volume, inside, voxel)
        contrast = (density(volume, particles, voxel).mean() - background.mean()) / background.std()
        rms = ", ".join(f"{value:.1f}" for value in np.sqrt((error**2).mean(axis=0)))
        mean = ", ".join(f"{value:+.1f}" for value in error.mean(axis=0))
        figures = context.figures
        print(
            f"{seed:>4} {seconds:>8.1f} {len(error):>6} {rms:>24} {mean:>22} {np.median(depth):>6.1f} "
            f"{np.median(mirrored):>8.1f} {contrast:>9.2f} {figures.get('half_correlation', np.nan):>10.3f} "
            f"{figures.get('half_resolution_angstrom', np.nan):>12.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
