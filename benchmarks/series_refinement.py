"""Series refinement on truth: perturbed poses and defocus must return, and noise must change nothing.

A series of particles at known poses is simulated (`tests/makers/particle_scene.py`), then every tilt's image
shift, tilt angle and defocus, and a smooth warp of the image, are made wrong. Particles are averaged in the
wrong series, the series is refined by that average, and they are averaged again, twice. Errors are counted
after the best common displacement and turn of the whole specimen, which no image can tell.

    PYTHONPATH=src:tests python benchmarks/series_refinement.py --seeds 1 2 3 [--noise-only]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from cryoloom.algorithms.averaging.shell_correlation import first_fall, shell_correlation
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles
from cryoloom.simulate.particles import ParticleModel, builtin_models
from cryoloom.steps.reconstruct_particle import ReconstructParticleParams, reconstruct_particle
from cryoloom.steps.refine_series import RefineSeriesParams, refine_series
from makers.context import MemoryContext
from makers.particle_scene import make_scene, true_map
from makers.perturbed_series import perturbed, residual_rms_angstrom


def main() -> None:
    """Print one line per seed and round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--particles", type=int, default=60)
    parser.add_argument("--shift", type=float, default=3.0)
    parser.add_argument("--tilt", type=float, default=0.1)
    parser.add_argument("--defocus", type=float, default=300.0)
    parser.add_argument("--warp", type=float, default=2.0)
    parser.add_argument("--noise-only", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    for seed in given.seeds:
        _one(seed, given)


def _one(seed: int, given: argparse.Namespace) -> None:
    rng = np.random.default_rng(seed)
    model = builtin_models(0.05, rng)[0]
    diameter = 2.0 * model.radius_angstrom
    where = {} if not given.noise_only else {"positions": np.zeros((0, 3)), "rotations": np.zeros((0, 3, 3))}
    made = make_scene(
        model, given.particles, rng, shape_yx=(560, 560), pixel=3.0, tilts_deg=np.arange(-60.0, 61.0, 5.0),
        dose=4.0, box_px=128, **where,
    )  # fmt: skip
    if given.noise_only:
        places = make_scene(model, given.particles, rng, shape_yx=(560, 560), pixel=3.0,
                            tilts_deg=np.zeros(1), dose=4.0, box_px=128)  # fmt: skip
        made = replace(made, positions_xyz_angstrom=places.positions_xyz_angstrom, rotations=places.rotations)
    wrong = perturbed(
        made.series, rng, shift=given.shift, tilt=given.tilt, defocus=given.defocus, warp=given.warp
    )
    rows = ParticleRows.of(
        "TS_1",
        made.positions_xyz_angstrom,
        rotations=made.rotations,
        half=1 + np.arange(len(made.rotations)) % 2,
    )
    particles = Particles("TS_1", ArrayTable(rows.columns()), (wrong,), diameter_angstrom=diameter)
    exact = replace(particles, series=(made.series,))
    print(f"seed {seed}: {len(made.rotations)} particles, diameter {diameter:.0f} A")
    _tell("exact geometry", exact, exact, model)
    for i in range(given.rounds):
        average = _tell(f"before round {i + 1}", particles, exact, model)
        if given.noise_only:
            average = replace(average, resolution_angstrom=12.0)
        context, start = MemoryContext(), time.perf_counter()
        particles = refine_series(particles, RefineSeriesParams(), context, average_from=average).main
        for row in context.records.get("groups", []):
            print("   ", " ".join(str(value) for value in row.values()))
        print(f"    {time.perf_counter() - start:.0f} s", context.figures)
        if given.noise_only:
            same = particles.series == (wrong,)
            print(f"    the series is {'unchanged' if same else 'CHANGED'}")
            return
    _tell("at the end", particles, exact, model)


def _tell(when: str, particles: Particles, exact: Particles, model: ParticleModel) -> Average:
    """Average particles and print errors and resolution; gives the average."""
    average = reconstruct_particle((particles,), ReconstructParticleParams(), MemoryContext())
    density = np.asarray(average.map)
    truth = true_map(model, density.shape[0], average.voxel_size_angstrom)
    mask = torch.tensor(np.asarray(average.mask))
    fsc = shell_correlation(torch.tensor(density) * mask, torch.tensor(truth) * mask)
    resolution = first_fall(fsc, 0.5, density.shape[0] * average.voxel_size_angstrom)
    error = residual_rms_angstrom(particles, exact)
    defocus = [
        a.ctf.defocus_angstrom - b.ctf.defocus_angstrom
        for a, b in zip(particles.series[0].tilts, exact.series[0].tilts, strict=True)
    ]
    named = "none" if average.resolution_angstrom is None else f"{average.resolution_angstrom:.2f}"
    print(
        f"  {when}: image residual {error:.2f} A rms, defocus error {np.std(defocus):.0f} A rms "
        f"(mean {np.mean(defocus):+.0f}), halves {named} A, against truth {resolution:.2f} A"
    )
    return average


if __name__ == "__main__":
    main()
