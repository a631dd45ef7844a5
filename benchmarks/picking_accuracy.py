"""Picks by a template on simulated series with true poses and CTFs: what is found, and how it is turned.

For each scene and seed: particles inside the search, picked, right (within half a radius), recall, rotations
within 10 degrees and their median error, rms of positions, evidence for the hand, seconds. Scenes: the
template's particle, crowded and sparse; other particles, one by one; ice alone. Where there is none of the
template's particles but something was picked, it is refined against the template, and the non-radial
correlation of the halves and the resolution reported (none should be) are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Particles, Sourced, Tomogram
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from cryoloom.steps.pick_by_template import PickByTemplateParams, pick_by_template
from cryoloom.steps.refine import RefineParams, refine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

CROWDED_PER_PX2, SPARSE_PER_PX2 = 235 / 768**2, 60 / 768**2
PIXEL_ANGSTROM, THICKNESS_ANGSTROM, VOXEL_ANGSTROM = 2.7, 900.0, 10.0


def scene(specimen, per_px2, seed, side):
    params = SimulationParams(
        seed=seed,
        specimen=str(specimen),
        n_particles=round(per_px2 * side**2),
        image_shape_yx=(side, side),
        pixel_size_angstrom=PIXEL_ANGSTROM,
        thickness_angstrom=THICKNESS_ANGSTROM,
        defocus_angstrom=30000 + 6000 * (seed % 2),
        handedness=1 if seed % 3 else -1,
        n_beads=8,
        n_vesicles=2 * (seed % 2),
        n_membranes=0,
    )
    series, truth = simulate_tilt_series(params)
    series = truth.with_true_ctfs(truth.with_true_poses(series))
    return replace(series, handedness=Sourced(applied=float(truth.handedness))), truth


def refined(picks: Particles, symmetry: str) -> str:
    """What a refinement makes of picks that are not the particle."""
    context = MemoryContext()
    try:
        average = refine((picks,), RefineParams(symmetry=symmetry), context).main
    except DataUnfitError as error:
        return f"not refined: {error}"
    evidence = context.figures.get("pose_evidence", float("nan"))
    return f"non-radial correlation {evidence:.2f}, resolution {average.resolution_angstrom}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("template", type=Path, help="atomic model, also the specimen of its own scenes")
    parser.add_argument("others", nargs="*", type=Path, help="atomic models of other particles")
    parser.add_argument("--symmetry", default="C1", help="of the search; C1 is right for all")
    parser.add_argument("--refined-symmetry", default="O")
    parser.add_argument("--scenes", nargs="+", default=["crowded", "sparse", "other", "ice"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--side", type=int, default=768, help="pixels of an image's side")
    options = parser.parse_args()
    group = symmetry_matrices(options.refined_symmetry)
    print(
        f"{'scene':>10} {'seed':>4} {'inside':>6} {'picked':>6} {'right':>5} {'recall':>6} {'< 10 deg':>8} "
        f"{'median':>6} {'rms (A)':>7} {'hand':>6} {'s':>6}"
    )
    half_field = 0.5 * options.side * PIXEL_ANGSTROM
    shape = (
        round((THICKNESS_ANGSTROM + 400) / VOXEL_ANGSTROM),
        *[round(2 * half_field / VOXEL_ANGSTROM)] * 2,
    )
    for kind in options.scenes:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            specimen, density = options.template, SPARSE_PER_PX2
            if kind == "other":
                specimen = options.others[seed % len(options.others)]
            elif kind != "sparse":
                density = CROWDED_PER_PX2 if kind == "crowded" else 0.0
            series, truth = scene(specimen, density, seed, options.side)
            tomogram = Tomogram(series, np.zeros(shape, np.float32), VOXEL_ANGSTROM)
            context, start = MemoryContext(), time.perf_counter()
            params = PickByTemplateParams(template=options.template, symmetry=options.symmetry)
            picks = pick_by_template(tomogram, params, context)
            seconds = time.perf_counter() - start
            rows, radius = picks.rows(), 0.5 * (picks.diameter_angstrom or 0)
            name = specimen.name.split(".")[0] if kind == "other" else kind
            if kind in ("other", "ice"):
                made = refined(picks, options.refined_symmetry) if rows.n >= 4 else ""
                print(f"{name:>10} {seed:>4} {0:>6} {rows.n:>6} {made:>49} {seconds:>6.1f}", flush=True)
                continue
            places = truth.particles[0].positions_xyz_angstrom
            half = np.array([half_field, half_field, 650.0]) - radius - 60
            inside = (np.abs(places) < half).all(axis=1)
            distance, nearest = cKDTree(places).query(rows.positions_xyz_angstrom)
            right = distance < 0.5 * radius
            error = rotations_between(
                rows.rotations[right], np.array(truth.particles[0].rotations)[nearest[right]], group
            )
            recall = np.isin(np.flatnonzero(inside), nearest[right]).mean()
            print(
                f"{name:>10} {seed:>4} {inside.sum():>6} {rows.n:>6} {right.sum():>5} {recall:>6.3f} "
                f"{(error < 10).mean():>8.3f} {np.median(error):>6.2f} "
                f"{np.sqrt((distance[right] ** 2).mean()):>7.2f} {context.figures.get('hand_nats', 0):>6.0f} "
                f"{seconds:>6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
