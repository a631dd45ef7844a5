"""Reported against true errors of poses, per method and tilt, on simulated series.

41 tilts to 60 degrees, 512 x 512 pixels of 5.4 A. Beads are tracked in series of 12 and 6 beads; features and
patches in series without any (what a method would use is hidden from it): two specimens, thin, thick and
sloping ice. both*: beads on both surfaces of the ice, 31 tilts, 4 A pixels. True errors are the distances of
200 projected specimen points, one rigid motion removed.

Prints, for every series and method, the rms of the true and the reported errors, the part of the tilts whose
true error is within the reported one (68 % is right) below and above 45 degrees, and the true and reported
rms of the highest tilts; last the same over all series. --keep writes what was found, for a look.

    python benchmarks/pose_errors.py --cases builtin thick --seeds 1 2
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.algorithms.alignment.alignment_methods import (
    Alignment,
    align_by_beads,
    align_by_features,
    align_by_patches,
    match_images,
)
from cryoloom.algorithms.alignment.cross_validation import pose_distances
from cryoloom.algorithms.alignment.first_alignment import align_first
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry, geometry_of_poses
from cryoloom.algorithms.series.tilt_images import load_tilt_images
from cryoloom.model import TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import Truth
from kept_series import kept_series

RIBOSOME = Path(__file__).resolve().parents[2] / "shared/data/models/4v5d.cif.gz"
FIELD: dict[str, Any] = {"image_shape_yx": (512, 512), "pixel_size_angstrom": 5.4, "n_beads": 0}
THICK: dict[str, Any] = {"n_particles": 140, "n_vesicles": 8, "n_membranes": 0, "thickness_angstrom": 1600.0}
BOTH: dict[str, Any] = {
    "pixel_size_angstrom": 4.0,
    "tilt_step_deg": 4.0,
    "n_particles": 60,
    "n_vesicles": 5,
    "n_beads": 14,
    "beads_lie": "on_both",
    "thickness_angstrom": 1400.0,
    "z_offset_angstrom": 300.0,
    "handedness": -1,
}
CASES: dict[str, dict[str, Any]] = {
    "builtin": {},
    "ribosome": {"specimen": str(RIBOSOME), "n_particles": 60, "n_vesicles": 0},
    "thick": THICK,
    "fine": THICK | {"image_shape_yx": (1024, 1024), "pixel_size_angstrom": 2.7},
    "sparse": {"n_particles": 30, "n_vesicles": 3, "thickness_angstrom": 900.0, "pretilt_y_deg": 8.0},
    "gold": {"n_beads": 12},
    "few": {"n_beads": 6},
    "both1400": BOTH,
    "both900": BOTH | {"thickness_angstrom": 900.0},
    "both2000": BOTH | {"thickness_angstrom": 2000.0, "z_offset_angstrom": -200.0},
    "bothfew": BOTH | {"n_beads": 6},
    "bothmany": BOTH | {"n_beads": 35},
}
HIGH_DEG = 45.0
WORKING_PIXEL_ANGSTROM = 11.0
FREE = DegreesOfFreedom(axis="one")


def aligned(series: TiltSeries, axis_deg: float, n_beads: int) -> tuple[list[Alignment], np.ndarray]:
    """Every method's solution that there is for the series, and which views were usable."""
    stack = series.best_stack
    images = load_tilt_images(stack.images, stack.pixel_size_angstrom, WORKING_PIXEL_ANGSTROM)
    tilt_deg = np.array([tilt.nominal_tilt_deg for tilt in series.tilts])
    usable = np.ones(len(tilt_deg), dtype=bool)
    first = align_first(images, tilt_deg, usable, axis_deg)
    start = SeriesGeometry.start(tilt_deg, first.coarse.axis_deg, first.coarse.shift_xy_angstrom)
    if n_beads:
        beads = align_by_beads(images, start, usable, FREE, None, doubted=False)
        return [beads] if beads else [], usable
    matched = match_images(images, start, usable, np.random.default_rng(1))
    patches = align_by_patches(images, matched, usable, FREE, patch_angstrom=700.0, spacing_angstrom=350.0)
    begin = matched.geometry if patches is None else patches.solution.geometry
    features = align_by_features(images, begin, usable, FREE)
    return [one for one in (patches, features) if one is not None], usable


def true_errors(truth: Truth, geometry: SeriesGeometry) -> np.ndarray:
    """Rms distance of projected points of the specimen in each view, ``(n_views,)``."""
    tilts = sorted(truth.tilts, key=lambda tilt: tilt.nominal_tilt_deg)
    points = truth.random_specimen_points(np.random.default_rng(0), 200)
    true = geometry_of_poses([tilt.pose for tilt in tilts])
    return pose_distances(true, geometry, points, np.ones(len(tilts), dtype=bool))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-poses")
    parser.add_argument("--keep", type=Path, help="folder for true and reported errors, as .npz")
    arguments = parser.parse_args()
    print(
        f"{'case':9s}{'seed':>5s} {'method':9s}{'tracks':>7s}{'true':>7s}{'said':>7s}{'within':>8s}"
        f"{'high':>6s}{'true at 55':>11s}{'said':>6s}{'s':>6s}"
    )
    everything: dict[str, list[np.ndarray]] = {}
    for case in arguments.cases:
        for seed in arguments.seeds:
            params = SimulationParams(**(FIELD | CASES[case] | {"seed": seed}))
            series, truth = kept_series(params, arguments.cache)
            begin = time.process_time()
            found, _ = aligned(series, truth.told_axis_deg, params.n_beads)
            seconds = time.process_time() - begin
            for one in found:
                geometry = one.solution.geometry
                true, reported = true_errors(truth, geometry), one.pose_error_angstrom
                rows = np.stack([np.abs(geometry.tilt_deg), true, reported])
                everything.setdefault(one.method, []).append(rows)
                print(
                    f"{case:9s}{seed:5d} {one.method:9s}{one.tracks.n_points:7d}{_line(rows)}{seconds:6.0f}",
                    flush=True,
                )
                if arguments.keep is not None:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    np.savez(
                        arguments.keep / f"{case}-{seed}-{one.method}.npz",
                        tilt=geometry.tilt_deg,
                        axis=geometry.axis_deg,
                        shift=geometry.shift_xy_angstrom,
                        true=true,
                        reported=reported,
                        view=one.tracks.view,
                        point=one.tracks.point,
                        position=one.tracks.position_xy_angstrom,
                        weight=one.tracks.weight,
                        points=one.solution.points_xyz_angstrom,
                        residual=one.solution.residual_xy_angstrom,
                        robust=one.solution.robust_weight,
                    )
    for method, parts in everything.items():
        print(f"{'all':9s}{len(parts):5d} {method:9s}{'':7s}{_line(np.concatenate(parts, axis=1))}")


def _line(rows: np.ndarray) -> str:
    """What is printed of rows of tilts, true and reported errors, ``(3, n)``."""
    tilt, true, reported = rows[:, np.isfinite(rows).all(axis=0)]
    if len(tilt) == 0:
        return "   not measurable"
    high, highest = tilt > HIGH_DEG, tilt > 55

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(np.mean(values**2))) if len(values) else np.nan

    within = [np.mean(true[part] <= reported[part]) for part in (~high, high)]
    return (
        f"{rms(true):7.1f}{rms(reported):7.1f}{within[0]:8.0%}{within[1]:6.0%}"
        f"{rms(true[highest]):11.1f}{rms(reported[highest]):6.1f}"
    )


if __name__ == "__main__":
    main()
