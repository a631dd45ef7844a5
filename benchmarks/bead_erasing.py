"""erase_beads on simulated series: gold left in the images against their grain, and in the tomogram.

True poses, beads where the truth has them. In every second image a bead's core (0.4 diameters) is compared
with a ring (1.3 to 1.8 diameters) about it, in units of the grain: the scatter of the same difference at
random places away from gold. In a tomogram of voxels of about 20 A, the darkness of the beads and the rms of
rays (at the beads' x and y, 500 to 1500 A above and below them) in units of the tomogram's own deviation.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alignment_accuracy import QuietContext
from cryoloom.geometry.frames import index_from_position
from cryoloom.model import TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import Truth
from cryoloom.steps.erase_beads import EraseBeadsParams, erase_beads
from cryoloom.steps.reconstruct import ReconstructParams, reconstruct
from kept_series import kept_series


@dataclass
class Context(QuietContext):
    """Keeps pixels in memory."""

    memory_bytes: int = 3 << 30
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def new_pixels(self, role: str, shape: tuple[int, ...], pixel: float, **how: Any) -> np.ndarray:
        """An array in memory."""
        del role, pixel, how
        return np.zeros(shape, np.float32)


def difference(image: np.ndarray, place: np.ndarray, diameter_px: float) -> float:
    """Mean of the ring minus mean of the core; NaN at the border."""
    reach = int(np.ceil(1.8 * diameter_px)) + 1
    row, column = (round(float(value)) for value in place)
    if min(row, column) < reach or row >= image.shape[0] - reach or column >= image.shape[1] - reach:
        return float("nan")
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(y + row - place[0], x + column - place[1]) / diameter_px
    cut = image[row - reach : row + reach + 1, column - reach : column + reach + 1]
    return float(cut[(distance > 1.3) & (distance < 1.8)].mean() - cut[distance < 0.4].mean())


def gold_in_images(series: TiltSeries, truth: Truth) -> np.ndarray:
    """Differences at all beads in all images in units of the grain."""
    rng = np.random.default_rng(5)
    stack = series.unweighted_stack
    pixel, diameter = stack.pixel_size_angstrom, truth.bead_diameter_angstrom
    beads = np.array(truth.beads_xyz_angstrom)
    found = []
    for tilt in series.tilts[::2]:
        pose = tilt.pose
        image = np.asarray(stack.images[tilt.section])
        seen = pose.magnification * (beads @ pose.matrix[:2].T) + pose.shift_xy_angstrom
        places = index_from_position(seen, stack.shape_yx, pixel)
        random = rng.uniform(0, 1, (400, 2)) * stack.shape_yx
        apart = np.hypot(*(random[:, None] - places[None]).transpose(2, 0, 1)).min(axis=1)
        grain = [difference(image, at, diameter / pixel) for at in random[apart > 2.5 * diameter / pixel]]
        here = [difference(image, at, diameter / pixel) for at in places]
        found += list((np.array(here) - np.nanmedian(grain)) / np.nanstd(grain))
    return np.array(found)


def gold_in_tomogram(series: TiltSeries, truth: Truth) -> tuple[float, float]:
    """Depth of the beads, and rms of their rays, in units of the tomogram's rms."""
    params = ReconstructParams(
        voxel_size_angstrom=20.0, thickness_angstrom=3600.0, halves=False, multiscale=False
    )
    tomogram = reconstruct(series, params, Context())
    volume = np.asarray(tomogram.volume)
    index = index_from_position(np.array(truth.beads_xyz_angstrom), volume.shape, 20.0)
    inside = np.all((index[:, 1:] > 6) & (index[:, 1:] < np.array(volume.shape[1:]) - 7), axis=1)
    index = np.rint(index[inside]).astype(int)
    spread = 1.4826 * np.median(np.abs(volume - np.median(volume)))
    depth = np.mean([-volume[tuple(slice(i - 1, i + 2) for i in at)].mean() for at in index])
    rays = []
    for z, y, x in index:
        for step in (*range(-75, -24), *range(25, 76)):
            if 0 <= z + step < volume.shape[0]:
                rays.append(volume[z + step, y - 2 : y + 3, x - 2 : x + 3])
    return float(depth / spread), float(np.sqrt(np.mean(np.square(rays))) / spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-alignment")
    arguments = parser.parse_args()
    print("seed beads found  gold/grain: before, after (rms after)  tomogram: depth, after, rays, after")
    for seed in arguments.seeds:
        params = SimulationParams(
            seed=seed,
            n_beads=12,
            image_shape_yx=(1024, 1024),
            pixel_size_angstrom=2.7,
            shift_rms_angstrom=60.0,
        )
        series, truth = kept_series(params, arguments.cache)
        series = truth.with_true_poses(series)
        context = Context()
        erased = erase_beads(series, EraseBeadsParams(), context)
        before, after = gold_in_images(series, truth), gold_in_images(erased, truth)
        depth, rays = gold_in_tomogram(series, truth)
        depth_after, rays_after = gold_in_tomogram(erased, truth)
        print(
            f"{seed:4d}{len(truth.beads_xyz_angstrom):4d}{context.figures['n_beads']:6.0f}"
            f"{np.nanmean(before):14.1f}{np.nanmean(after):11.2f} ({np.sqrt(np.nanmean(after**2)):.2f})"
            f"{depth:24.1f}{depth_after:7.2f}{rays:7.2f}{rays_after:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
