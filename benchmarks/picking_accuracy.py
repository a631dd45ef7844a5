"""Picks by a template on simulated series with true poses and CTFs: what is found, and how it is turned.

For each scene and seed: particles inside the search, picked, right (within half a radius), recall, rotations
within 10 degrees and their median error, rms of positions, evidence for the hand, seconds. Scenes: the
template's particle, crowded and sparse; another particle; ice alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Sourced, Tomogram
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from cryoloom.steps.pick_by_template import PickByTemplateParams, pick_by_template

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

SCENES = {"crowded": 235, "sparse": 60, "other": 60, "ice": 0}


def scene(kind, seed, models, template):
    other = next((model for model in models if model != template), template)
    params = SimulationParams(
        seed=seed,
        specimen=str(other if kind == "other" else template),
        n_particles=SCENES[kind],
        image_shape_yx=(768, 768),
        pixel_size_angstrom=2.7,
        thickness_angstrom=900,
        defocus_angstrom=30000 + 6000 * (seed % 2),
        n_beads=8,
        n_vesicles=0,
        n_membranes=0,
    )
    series, truth = simulate_tilt_series(params)
    series = truth.with_true_ctfs(truth.with_true_poses(series))
    return replace(series, handedness=Sourced(applied=float(truth.handedness))), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, help="atomic models; the first is the template")
    parser.add_argument("--symmetry", default="O")
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=list(SCENES))
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    group = symmetry_matrices(options.symmetry)
    print(
        f"{'scene':>8} {'seed':>4} {'inside':>6} {'picked':>6} {'right':>5} {'recall':>6} {'< 10 deg':>8} "
        f"{'median':>6} {'rms (A)':>7} {'hand':>6} {'s':>6}"
    )
    for kind in options.scenes:
        for seed in range(1, options.seeds + 1):
            series, truth = scene(kind, seed, options.models, options.models[0])
            tomogram = Tomogram(series, np.zeros((130, 208, 208), np.float32), 10.0)
            context, start = MemoryContext(), time.perf_counter()
            params = PickByTemplateParams(template=options.models[0], symmetry=options.symmetry)
            picks = pick_by_template(tomogram, params, context)
            seconds = time.perf_counter() - start
            rows, radius = picks.rows(), 0.5 * (picks.diameter_angstrom or 0)
            if kind in ("other", "ice"):
                print(f"{kind:>8} {seed:>4} {0:>6} {rows.n:>6} {'':>49} {seconds:>6.1f}", flush=True)
                continue
            places = truth.particles[0].positions_xyz_angstrom
            half = np.array([1040.0, 1040.0, 650.0]) - radius - 60
            inside = (np.abs(places) < half).all(axis=1)
            distance, nearest = cKDTree(places).query(rows.positions_xyz_angstrom)
            right = distance < 0.5 * radius
            error = rotations_between(
                rows.rotations[right], np.array(truth.particles[0].rotations)[nearest[right]], group
            )
            recall = np.isin(np.flatnonzero(inside), nearest[right]).mean()
            print(
                f"{kind:>8} {seed:>4} {inside.sum():>6} {rows.n:>6} {right.sum():>5} {recall:>6.3f} "
                f"{(error < 10).mean():>8.3f} {np.median(error):>6.2f} "
                f"{np.sqrt((distance[right] ** 2).mean()):>7.2f} {context.figures.get('hand_nats', 0):>6.0f} "
                f"{seconds:>6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
