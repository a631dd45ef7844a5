"""Mixtures of which `refine` states no resolution: what `classify`, and `refine` of each class, make of them.

Apoferritin (O) among lumps without symmetry or smooth shells, or ribosomes (C1) among lumps, at known poses
(13 tilts, no motion; as in `stated_resolution.py`). All picks are refined from the particles' own map,
divided by `classify`, and each class is refined by itself. Prints of every set and class: how many particles
and decoys it has, the resolution at which the halves agree, what is stated, and the correlation with the
model (0.5). Nothing must be stated of a set that is mostly decoys, but for lumps without symmetry beside
ribosomes: they are a second species, and a class of them may have a resolution of its own.

    python benchmarks/classes_of_mixtures.py 4v1w.cif --ribosome 4v5d.cif --cases apoferritin_50 --seeds 3 11
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cryoloom.contract import Outputs
from cryoloom.errors import CryoloomError
from cryoloom.model import ArrayTable, Particles
from cryoloom.simulate.particles import ParticleModel, model_from_file
from cryoloom.steps.classify import ClassifyParams, classify
from cryoloom.steps.refine import RefineParams, refine
from stated_resolution import (
    PHASE_RAD,
    Case,
    MemoryContext,
    against_truth,
    halves_agree_to,
    lumps,
    picked,
    ribosome,
    smooth_shell,
    with_decoys,
)

LARGE_BODY = 1.9
"""Bodies beside ribosomes are so much larger than beside apoferritin: 110 A in radius."""


@dataclass(frozen=True)
class Mixture:
    """Particles among decoys, and how they are refined."""

    n_particles: int
    n_decoys: int
    decoy: str
    specimen: str = "apoferritin"


MIXTURES = {
    "apoferritin_80": Mixture(32, 8, "lumps"),
    "apoferritin_50": Mixture(20, 20, "lumps"),
    "apoferritin_20": Mixture(16, 64, "lumps"),
    "apoferritin_50_shells": Mixture(20, 20, "shells"),
    "apoferritin_20_shells": Mixture(16, 64, "shells"),
    "ribosome_80": Mixture(20, 5, "lumps", "ribosome"),
    "ribosome_50": Mixture(14, 14, "lumps", "ribosome"),
    "ribosome_50_shells": Mixture(14, 14, "shells", "ribosome"),
    "null_lumps": Mixture(0, 40, "lumps"),
}


def scaled(model: ParticleModel, factor: float, mass: float) -> ParticleModel:
    """The same body, larger and with a given mass."""
    return replace(
        model,
        points_xyz_angstrom=model.points_xyz_angstrom * np.float32(factor),
        weights=model.weights * np.float32(mass / model.weights.sum()),
    )


def case_of(mixture: Mixture, options: argparse.Namespace, seed: int) -> Case:
    """Images of a mixture, and its picks."""
    decoy = smooth_shell() if mixture.decoy == "shells" else lumps("C1", 9)
    settings: dict[str, object] = {
        "initial_lowpass_angstrom": 40.0, "finest_resolution_angstrom": 14.0, "max_iterations": 4,
        "angular_step_deg": 14.0,
    }  # fmt: skip
    if mixture.specimen == "ribosome":
        model = ribosome(options.ribosome)
        body = scaled(decoy, LARGE_BODY, float(model.weights.sum()))
        scene, picks = with_decoys(
            model, body, mixture.n_particles, seed, n_decoys=mixture.n_decoys,
            apart=280.0, side_px=400, pixel=6.0, thickness=900.0, box_px=128,
        )  # fmt: skip
        settings |= {"finest_resolution_angstrom": 18.0, "initial_lowpass_angstrom": 60.0}
        return Case(scene, model, model, "C1", 290.0, settings, picks=picks)
    model = model_from_file(options.apoferritin, PHASE_RAD)
    side = 360 if mixture.n_particles + mixture.n_decoys <= 40 else 460
    scene, picks = with_decoys(
        model, decoy, mixture.n_particles, seed, n_decoys=mixture.n_decoys, side_px=side
    )
    return Case(scene, model, model, "O", 125.0, settings, picks=picks)


def is_particle(case: Case, particles: Particles) -> NDArray[np.bool_]:
    """Which rows lie at a true particle, ``(n,)``."""
    if not len(case.scene.positions_xyz_angstrom):
        return np.zeros(particles.n_particles, bool)
    places = particles.rows().positions_xyz_angstrom
    return np.asarray(cKDTree(case.scene.positions_xyz_angstrom).query(places)[0] < 0.4 * case.diameter)


def refined(name: str, case: Case, particles: Particles, seed: int) -> Outputs | None:
    """Refine a set, and print what it states and what is true; None if it is refused."""
    begun, context = time.perf_counter(), MemoryContext(rng=np.random.default_rng(seed))
    true = is_particle(case, particles)
    held = f"{name}: {true.sum()} particles and {(~true).sum()} decoys"
    try:
        made = refine((particles,), RefineParams(symmetry=case.symmetry, **case.settings), context)
    except CryoloomError as refused:
        print(f"{held}: refused: {refused}", flush=True)
        return None
    average, kept = made.main, made.others["particles"][0]
    stated = average.resolution_angstrom
    left, support = is_particle(case, kept), context.figures.get("pose_support", float("nan"))
    print(
        f"{held}, {left.sum()} and {(~left).sum()} used; halves {halves_agree_to(average):.1f} A, "
        f"stated {'nothing' if stated is None else f'{stated:.1f} A'}, "
        f"{against_truth(case, average, kept.rows()) if left.any() else 'no truth'}; "
        f"support {support:.2f}, {time.perf_counter() - begun:.0f} s",
        flush=True,
    )
    if stated is None:
        print(f"  {average.resolution_note}", flush=True)
    return made


def report(name: str, case: Case, seed: int, n_classes: int) -> None:
    """The whole set, and each of its classes."""
    particles = picked(case, np.random.default_rng(seed))
    whole = refined(f"{name}, seed {seed}, all", case, particles, seed)
    if whole is None:
        return
    context = MemoryContext(rng=np.random.default_rng(seed))
    everyone = whole.others["particles"]
    divided = classify(tuple(everyone), ClassifyParams(n_classes=n_classes), context).main[0]
    rows = divided.rows()
    n_junk = everyone[0].n_particles - rows.n
    evidence = context.figures.get("difference_evidence", float("nan"))
    print(f"  {n_junk} are junk; evidence {evidence:.2f}, {' '.join(context.warnings)}", flush=True)
    for k in range(1, n_classes + 1):
        mine = rows.take(np.flatnonzero(rows.class_number == k))
        label = f"{name}, seed {seed}, class {k}"
        if mine.n:
            refined(label, case, replace(divided, table=ArrayTable(mine.columns())), seed)
        else:
            print(f"{label}: empty", flush=True)


def main() -> None:
    """Parse the command line and run the cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("apoferritin", type=Path, help="atomic model 4V1W")
    parser.add_argument("--ribosome", type=Path, help="atomic model 4V5D")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3])
    parser.add_argument("--classes", type=int, default=2, help="number of classes, without junk")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="+", choices=list(MIXTURES), help="all unless given")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.cases or MIXTURES:
        if MIXTURES[name].specimen == "ribosome" and options.ribosome is None:
            continue
        for seed in options.seeds:
            report(name, case_of(MIXTURES[name], options, seed), seed, options.classes)


if __name__ == "__main__":
    main()
