"""Axes of a symmetry in maps that are turned at random, and symmetries that the maps do not have.

Maps of lumps with a group, of apoferritin (O), of the CA-SP1 hexamer (C6) and of the ribosome (C1), each in
random orientations, at 20 A, without and with as much noise as signal. Every map is searched for its own
group, for subgroups and for larger groups. Prints how often the symmetry is seen, and the largest angle
between a rotation that is taken for one of the group and the nearest true one (half of it: the error of an
axis). A larger group must never be seen.

With ``--standard`` the maps, moved by 8 A in a random direction, are brought to the standard axes, as
`pick_by_template` does with a template; prints the angles and distances that are left.

    python benchmarks/map_axes.py 4v1w.cif hiv_ca_sp1.cif --ribosome 4v5d.cif --seeds 5
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.map_symmetry import fit_symmetry
from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.errors import UserInputError
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.procedures.standard_axes import standard_map
from cryoloom.simulate.particles import ParticleModel, model_from_file
from stated_resolution import PHASE_RAD, hexamer, lumps, ribosome

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.particle_scene import true_map

BOX_PX, LOWPASS_ANGSTROM, OFF_ANGSTROM = 48, 20.0, 8.0
ASKED = {
    "C1": ("C2", "C3", "C6", "D2", "T", "O"),
    "C2": ("C2", "C4", "C6", "D2"),
    "C3": ("C3", "C6", "D3", "T"),
    "C4": ("C4", "C2", "C8", "D4", "O"),
    "C6": ("C6", "C3", "C2", "D6"),
    "C7": ("C7", "D7"),
    "D2": ("D2", "C2", "D4", "T"),
    "D3": ("D3", "C3", "D6", "O"),
    "D7": ("D7", "C7", "C2"),
    "T": ("T", "C3", "D2", "O", "I"),
    "O": ("O", "T", "D4", "D3", "D2", "C4"),
    "I": ("I", "T", "D5", "D3", "C5"),
}


def subgroup(asked: str, has: str) -> bool:
    """Whether a point group lies in another one, by its elements in any orientation."""
    inside = {
        "T": {"C2", "C3", "D2", "T"},
        "O": {"C2", "C3", "C4", "D2", "D3", "D4", "T", "O"},
        "I": {"C2", "C3", "C5", "D2", "D3", "D5", "T", "I"},
    }
    if has in inside:
        return asked in inside[has]
    order, its = int(has[1:]), int(asked[1:]) if asked[0] in "CD" else 0
    if its == 0 or (asked[0] == "D" and has[0] == "C"):
        return False
    return order % its == 0 or (has[0] == "D" and asked == "C2")


def density_of(
    model: ParticleModel,
    turn: np.ndarray,
    noise: float,
    rng: np.random.Generator,
    off_xyz_angstrom: np.ndarray | float = 0.0,
) -> tuple[torch.Tensor, float]:
    """Map of a turned model at 20 A in 48 voxels, and its radius in voxels; noise over the signal's sd."""
    diameter = 2.0 * model.radius_angstrom + 10.0
    voxel = 1.5 * diameter / BOX_PX
    points = (model.points_xyz_angstrom @ turn.T + off_xyz_angstrom).astype(np.float32)
    made = torch.tensor(true_map(replace(model, points_xyz_angstrom=points), BOX_PX, voxel))
    lowest = max(LOWPASS_ANGSTROM, 2.0 * voxel)
    made = low_pass(made, voxel, lowest)
    if noise:
        more = low_pass(torch.tensor(rng.standard_normal(made.shape), dtype=torch.float32), voxel, lowest)
        made = made + more * (noise * float(made.std()) / float(more.std()))
    return made, 0.55 * BOX_PX / 1.5


def report(name: str, model: ParticleModel, has: str, noise: float, seeds: range) -> None:
    true = symmetry_matrices(has)
    for asked in ASKED[has]:
        seen, likeness, evenness, errors, begun = 0, [], [], [], time.perf_counter()
        for seed in seeds:
            rng = np.random.default_rng(seed)
            turn = Rotation.random(random_state=seed).as_matrix()
            density, radius = density_of(model, turn, noise, rng)
            found = fit_symmetry(density, radius, asked)
            seen += found.is_seen
            likeness.append(found.likeness)
            evenness.append(found.evenness)
            turned = turn.T @ found.rotation @ symmetry_matrices(asked) @ found.rotation.T @ turn
            if found.is_seen:
                errors.append(
                    max(rotations_between(true, one[None], np.eye(3)[None]).min() for one in turned)
                )
        is_true = subgroup(asked, has)
        wrong = "" if (is_true and seen == len(seeds)) or (not is_true and not seen) else "  <---"
        print(
            f"{name} ({has}), noise {noise:g}, as {asked}: seen {seen} of {len(seeds)}"
            f" ({'has it' if is_true else 'has it not'}), likeness {min(likeness):.2f} to"
            f" {max(likeness):.2f}, evenness {min(evenness):.2f} to {max(evenness):.2f}"
            + (f", rotations off by {max(errors):.1f} deg at most" if is_true and errors else "")
            + f", {(time.perf_counter() - begun) / len(seeds):.1f} s{wrong}",
            flush=True,
        )


def report_standard(name: str, model: ParticleModel, has: str, seeds: range) -> None:
    """Angles and distances that are left after maps are brought to the standard axes of their group."""
    diameter, operators = 2.0 * model.radius_angstrom + 10.0, symmetry_matrices(has)
    angles, apart, refused = [], [], 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        turn = Rotation.random(random_state=seed).as_matrix()
        off = rng.normal(size=3)
        off *= OFF_ANGSTROM / np.linalg.norm(off)
        density, _ = density_of(model, turn, 0.0, rng, off)
        try:
            found = standard_map(
                density.numpy().astype(np.float64), 1.5 * diameter / BOX_PX, has, diameter, name
            )
        except UserInputError:
            refused += 1
            continue
        made = found.rotation @ operators @ found.rotation.T
        true = turn @ operators @ turn.T
        angles.append(max(rotations_between(true, one[None], np.eye(3)[None]).min() for one in made))
        left = off - found.centre_xyz_angstrom
        apart.append(float(np.linalg.norm(left - (true @ left).mean(axis=0))))
    worst = f"rotations off by {max(angles):.1f} deg, axes by {max(apart):.1f} A at most" if angles else ""
    print(f"{name} ({has}), to standard axes: refused {refused} of {len(seeds)}; {worst}", flush=True)


def specimens(options: argparse.Namespace) -> dict[str, tuple[str, Callable[[], ParticleModel]]]:
    """Group and model of every specimen."""
    found: dict[str, tuple[str, Callable[[], ParticleModel]]] = {
        f"lumps_{group}": (group, lambda group=group: lumps(group, 4, options.lumps_seed)) for group in ASKED
    }
    found["apoferritin"] = ("O", lambda: model_from_file(options.apoferritin, PHASE_RAD))
    found["hexamer"] = ("C6", lambda: hexamer(options.hexamer))
    if options.ribosome is not None:
        found["ribosome"] = ("C1", lambda: ribosome(options.ribosome))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("apoferritin", type=Path, help="atomic model 4V1W")
    parser.add_argument("hexamer", type=Path, help="atomic model of the CA-SP1 hexamer")
    parser.add_argument("--ribosome", type=Path, help="atomic model 4V5D")
    parser.add_argument("--seeds", type=int, default=3, help="random orientations of each map")
    parser.add_argument("--lumps-seed", type=int, default=12)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--specimens", nargs="+", help="all unless given")
    parser.add_argument("--standard", action="store_true", help="turn and move maps to the standard axes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = specimens(options)
    for name in options.specimens or known:
        has, make = known[name]
        if options.standard:
            if len(symmetry_matrices(has)) > 1:
                report_standard(name, make(), has, range(options.seeds))
            continue
        for noise in options.noise:
            report(name, make(), has, noise, range(options.seeds))


if __name__ == "__main__":
    main()
