"""Local alignment from tracks of ice that bends while it is irradiated: blur left with and without it.

Ice stretches (so many angstrom at 2000 A from its middle) and bulges with dose, 63 % of it after 25 e/A^2,
3 e/A^2 an exposure, 41 dose-symmetric tilts. Blur is the rms by which noise-free projections of 300 other
points miss one place in space each; the mean shape of the ice is no error. Several seeds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.local_alignment import find_local_alignment
from cryoloom.algorithms.alignment.tracks import Tracks, residuals, triangulate
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.model import ImageWarp

FIELD = 4000.0
NOISE_ANGSTROM = {12: 2.0, 25: 2.0, 100: 10.0}
"""By the number of tracks: beads, many beads, patches."""
TILTS = np.arange(-60.0, 61.0, 3.0)
EXPOSURE = np.argsort(np.argsort(np.abs(TILTS), kind="stable"))


def positions(truth: SeriesGeometry, points: np.ndarray, stretch: float, bulge: float) -> np.ndarray:
    """Seen positions ``(n_points, n_views, 2)`` in angstrom, NaN outside the field."""
    x, y, _ = points.T
    height = 1 - (x**2 + y**2) / (FIELD / 2) ** 2
    bend = np.column_stack([stretch * x / (FIELD / 2), stretch * y / (FIELD / 2), bulge * height])
    parts = 1 - np.exp(-3.0 * EXPOSURE / 25.0)
    table = np.array([truth.project(points + part * bend)[view] for view, part in enumerate(parts)])
    table = table.transpose(1, 0, 2)
    table[(np.abs(table) > FIELD / 2).any(axis=2)] = np.nan
    return table


def blur(tracks: Tracks, geometry: SeriesGeometry, warps: tuple[ImageWarp | None, ...]) -> float:
    straight = tracks.position_xy_angstrom.copy()
    for view, warp in enumerate(warps):
        if warp is not None:
            straight[tracks.view == view] = warp.undisplaced(straight[tracks.view == view])
    moved = Tracks(tracks.view, tracks.point, straight, tracks.weight, tracks.n_views, tracks.n_points)
    left = residuals(moved, geometry, triangulate(moved, geometry, moved.weight))
    return float(np.sqrt(np.mean((left**2).sum(axis=1))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--tracks", type=int, nargs="+", default=list(NOISE_ANGSTROM))
    arguments = parser.parse_args()
    n_seeds = arguments.seeds
    columns = ("tracks", "noise", "stretch", "bulge", "used", "rigid A", "local A", "s")
    print("".join(f"{name:>8s}" for name in columns))
    for n_tracks in arguments.tracks:
        noise = NOISE_ANGSTROM[n_tracks]
        for stretch, bulge in ((0.0, 0.0), (10.0, 0.0), (0.0, 40.0), (15.0, 60.0)):
            used, rigid_blurs, blurs, seconds = 0, [], [], []
            for seed in range(1, n_seeds + 1):
                rng = np.random.default_rng(seed)
                truth = SeriesGeometry.start(TILTS, 85.3, rng.normal(0, 60, (len(TILTS), 2)))
                box = np.array([FIELD / 2, FIELD / 2, 600.0])
                table = positions(truth, rng.uniform(-1, 1, (n_tracks, 3)) * box, stretch, bulge)
                table += rng.normal(0, noise, table.shape)
                table[rng.random(table.shape[:2]) < 0.15] = np.nan
                tracks = Tracks.from_table(table)
                rigid = adjust_bundle(tracks, SeriesGeometry.start(TILTS, 84.0), DegreesOfFreedom())
                begin = time.perf_counter()
                choice = find_local_alignment(tracks, rigid, DegreesOfFreedom(), (FIELD, FIELD), EXPOSURE)
                seconds.append(time.perf_counter() - begin)
                others = rng.uniform(-0.9, 0.9, (300, 3)) * box
                fresh = Tracks.from_table(positions(truth, others, stretch, bulge))
                rigid_blurs.append(blur(fresh, rigid.geometry, (None,) * len(TILTS)))
                local = choice.local
                used += local is not None
                blurs.append(
                    rigid_blurs[-1] if local is None else blur(fresh, local.solution.geometry, local.warps)
                )
            print(
                f"{n_tracks:8d}{noise:8.1f}{stretch:8.0f}{bulge:8.0f}{used:6d}/{n_seeds}"
                f"{np.mean(rigid_blurs):8.2f}{np.mean(blurs):8.2f}{np.mean(seconds):8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
