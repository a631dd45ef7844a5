"""Resolutions that `refine` states, against the truth: particles as they are, and cases in which halves lie.

Scenes are made from known poses (13 tilts, 8 electrons per square angstrom each), without motion or errors
of alignment. Prints for each case the resolution at which the corrected correlation of the halves falls to
0.143, what is stated, the correlation with the model (0.5), rotations within 10 degrees modulo the
symmetry, and the figures that judge. Cases whose name begins with "null" must state nothing, or no more
than the truth has:

- hexamers on a sphere, azimuths at random or along their lattice, with the tutorial's mask and low-pass (the
  usual treatment) and with neighbours aligned on purpose;
- apoferritin, and lumps with C6 and D4;
- nulls: hexamers whose neighbours decide; lumps without symmetry refined as C6, D4 and O from their
  symmetrised map; smooth shells as O and as C1; smooth layers on spheres, picked and refined as hexamers
  with C6 and C1; ice picked at random; with --ribosome, ribosomes as O from their symmetrised map (and from
  their own map, which must be refused);
- decoys: as many picks in empty ice, or on other particles, as on apoferritin.

    python benchmarks/stated_resolution.py 4v1w.cif hiv_ca_sp1.cif --cases hexamers_random null_lumps_D4
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.shell_correlation import first_fall, shell_correlation
from cryoloom.errors import CryoloomError
from cryoloom.geometry.orientation_grid import even_directions, rotations_between, z_axis_to
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles
from cryoloom.simulate.particles import ParticleModel, model_from_file
from cryoloom.steps.refine import RefineParams, refine
from hiv_from_movies import hexamer_poses

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext
from makers.particle_scene import Scene, make_scene, true_map
from makers.particle_scene import scattered as scattered_places

TILTS_DEG = np.arange(-54.0, 55.0, 9.0)
PHASE_RAD, WEIGHT = 0.1, 8.0
SHELL_RADII = 160.0


@dataclass(frozen=True)
class Case:
    """What is refined: images, first map, truth (None where there is none)."""

    scene: Scene
    template: ParticleModel
    model: ParticleModel | None
    symmetry: str
    diameter: float
    settings: dict[str, object]
    directions: bool = False
    picks: Scene | None = None
    """Places that are picked, if they are not those of the truth."""


def lumps(group: str, n: int, seed: int = 12) -> ParticleModel:
    """Lumps at random and their equivalents, 58 A in radius."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(n, 3))
    places *= rng.uniform(20.0, 58.0, (n, 1)) / np.linalg.norm(places, axis=1, keepdims=True)
    points = np.concatenate([place + rng.normal(0, 6, (40, 3)) for place in places])
    every = np.concatenate([points @ turn.T for turn in symmetry_matrices(group)])
    return ParticleModel(
        group, every.astype(np.float32), np.full(len(every), 1080 * WEIGHT / len(every), np.float32)
    )


def symmetrised(model: ParticleModel, group: str) -> ParticleModel:
    turns = symmetry_matrices(group)
    points = np.concatenate([model.points_xyz_angstrom @ turn.T for turn in turns])
    return ParticleModel(group, points.astype(np.float32), np.tile(model.weights, len(turns)) / len(turns))


def smooth_shell(radius: float = 55.0, n: int = 30000) -> ParticleModel:
    points = (even_directions(n) * radius).astype(np.float32)
    return ParticleModel("shell", points, np.full(n, 2000 * WEIGHT / n, np.float32))


def hexamer(path: Path) -> ParticleModel:
    """One point a residue, the six-fold axis along z."""
    structure = gemmi.read_structure(str(path))
    atoms = np.array(
        [a.pos.tolist() for chain in structure[0] for residue in chain for a in residue if a.name == "CA"]
    )
    large = [np.array([a.pos.tolist() for r in c for a in r]) for c in structure[0] if len(c) > 200]
    atoms = atoms - np.array([*np.mean([c.mean(axis=0) for c in large], axis=0)[:2], atoms[:, 2].mean()])
    weight = float(model_from_file(path, PHASE_RAD).weights.sum()) / len(atoms)
    return ParticleModel("hexamer", atoms.astype(np.float32), np.full(len(atoms), weight, np.float32))


def scattered(model: ParticleModel, n: int, seed: int) -> Scene:
    box = int(2 * np.ceil((2.6 * model.radius_angstrom + 220) / 10.0))
    return make_scene(
        model, n, np.random.default_rng(seed), shape_yx=(300, 300), pixel=5.0, tilts_deg=TILTS_DEG, dose=8.0,
        thickness=600.0, box_px=box,
    )  # fmt: skip


def on_spheres(model: ParticleModel, azimuths: str, seed: int) -> Scene:
    """Two spheres of hexamers."""
    rng = np.random.default_rng(seed)
    places, rotations = hexamer_poses(SHELL_RADII, azimuths)
    if azimuths == "random":
        rotations = z_axis_to(rotations[:, :, 2], rng.uniform(0, 360, len(places)))
    turns = Rotation.random(2, rng).as_matrix()
    centres = np.array([[-245.0, -240.0, 0.0], [250.0, 245.0, 0.0]])
    return make_scene(
        model, 0, rng,
        positions=np.concatenate([c + places @ t.T for c, t in zip(centres, turns, strict=True)]),
        rotations=np.concatenate([t @ rotations for t in turns]),
        shape_yx=(360, 360), pixel=4.5, tilts_deg=TILTS_DEG, dose=8.0, thickness=900.0, box_px=80,
    )  # fmt: skip


def smooth_layers(model: ParticleModel, seed: int) -> Scene:
    """Two spheres of smooth layers with the mass of their hexamers; picks where hexamers would be."""
    rng = np.random.default_rng(seed)
    places, rotations = hexamer_poses(SHELL_RADII, "random")
    points = np.concatenate([even_directions(20000) * (SHELL_RADII + away) for away in (-28.0, 0.0, 14.0)])
    weight = float(model.weights.sum()) * len(places) / len(points)
    layers = ParticleModel("layers", points.astype(np.float32), np.full(len(points), weight, np.float32))
    turns = Rotation.random(2, rng).as_matrix()
    centres = np.array([[-245.0, -240.0, 0.0], [250.0, 245.0, 0.0]])
    made = make_scene(
        layers, 0, rng, positions=centres, rotations=turns, shape_yx=(360, 360), pixel=4.5,
        tilts_deg=TILTS_DEG, dose=8.0, thickness=900.0, box_px=120,
    )  # fmt: skip
    return Scene(
        made.series,
        np.concatenate([c + places @ t.T for c, t in zip(centres, turns, strict=True)]),
        np.concatenate([t @ rotations for t in turns]),
    )


def with_decoys(
    model: ParticleModel,
    decoy: ParticleModel | None,
    n: int,
    seed: int,
    *,
    n_decoys: int | None = None,
    apart: float = 130.0,
    side_px: int = 360,
    pixel: float = 5.0,
    thickness: float = 600.0,
    box_px: int = 80,
) -> tuple[Scene, Scene]:
    """A scene of particles and decoys (as many, unless given), and its picks.

    Decoys are other particles, or empty places.
    """  # fmt: skip
    rng = np.random.default_rng(seed)
    total = n + (n if n_decoys is None else n_decoys)
    places = scattered_places(total, (side_px, side_px), pixel, thickness, apart, rng)
    turns = Rotation.random(len(places), rng).as_matrix()
    part = np.arange(total + 1) * (total - n) // total
    is_decoy = (np.diff(part) > 0)[: len(places)]
    made = []
    for one, mine, noise in ((model, ~is_decoy, 1.0), (decoy, is_decoy, 0.0)):
        if one is not None:
            # The same seed gives the same shifts of the images.
            made.append(
                make_scene(
                    one, 0, np.random.default_rng(seed), positions=places[mine], rotations=turns[mine],
                    shape_yx=(side_px, side_px), pixel=pixel, tilts_deg=TILTS_DEG, dose=8.0,
                    thickness=thickness, box_px=box_px, noise=noise,
                )
            )  # fmt: skip
    if len(made) == 2:
        images, more = (np.asarray(scene.series.stack.images) for scene in made)
        images += more - np.median(more, axis=(1, 2), keepdims=True)
    return made[0], Scene(made[0].series, places, turns)


def ribosome(path: Path) -> ParticleModel:
    """Every twentieth atom, about their centre."""
    whole = model_from_file(path, PHASE_RAD)
    points, weights = whole.points_xyz_angstrom[::20], whole.weights[::20]
    weights = weights * (whole.weights.sum() / weights.sum())
    return ParticleModel("ribosome", points - points.mean(axis=0), weights)


def ribosomes(model: ParticleModel, seed: int) -> Scene:
    return make_scene(
        model, 16, np.random.default_rng(seed), shape_yx=(340, 340), pixel=6.0, tilts_deg=TILTS_DEG, dose=8.0,
        thickness=900.0, box_px=128,
    )  # fmt: skip


def empty(seed: int, n: int = 40) -> Scene:
    """Ice, and places and orientations at random."""
    rng = np.random.default_rng(seed)
    nowhere = {"positions": np.zeros((0, 3)), "rotations": np.zeros((0, 3, 3))}
    made = make_scene(
        lumps("C1", 9), 0, rng, shape_yx=(300, 300), pixel=5.0, tilts_deg=TILTS_DEG, dose=8.0,
        thickness=600.0, box_px=64, **nowhere,
    )  # fmt: skip
    places = rng.uniform([-600, -600, -250], [600, 600, 250], (n, 3))
    return Scene(made.series, places, Rotation.random(n, rng).as_matrix())


def cases(options: argparse.Namespace) -> dict[str, Callable[[], Case]]:
    seed = options.seed
    usual = {
        "initial_lowpass_angstrom": 40.0, "finest_resolution_angstrom": 14.0, "max_iterations": 4,
        "angular_step_deg": 14.0,
    }  # fmt: skip
    on_surface = {
        "initial_lowpass_angstrom": 60.0, "shift_range_angstrom": 8.0, "finest_resolution_angstrom": 12.0,
        "max_iterations": 6, "angular_step_deg": 9.0,
    }  # fmt: skip
    on_purpose = {"exclude_neighbours": False, "angular_step_deg": 12.0, "max_iterations": 4}

    def hexamers(azimuths: str, more: dict[str, object]) -> Case:
        model = hexamer(options.hexamer)
        scene = on_spheres(model, azimuths, seed)
        return Case(scene, model, model, "C6", 200.0, on_surface | more, directions=True)

    def alone(model: ParticleModel, group: str, diameter: float) -> Case:
        return Case(scattered(model, 20, seed), model, model, group, diameter, usual)

    def wrong(model: ParticleModel, template: ParticleModel, group: str) -> Case:
        return Case(scattered(model, 20, seed), template, None, group, 130.0, usual)

    plain = lumps("C1", 9)
    found: dict[str, Callable[[], Case]] = {
        "hexamers_random": lambda: hexamers("random", {}),
        "hexamers_lattice": lambda: hexamers("lattice", {}),
        "hexamers_lattice_with_neighbours": lambda: hexamers("lattice", on_purpose),
        "null_hexamers_random_with_neighbours": lambda: hexamers("random", on_purpose),
        "apoferritin_O": lambda: alone(model_from_file(options.apoferritin, PHASE_RAD), "O", 125.0),
        "lumps_C6": lambda: alone(lumps("C6", 4), "C6", 130.0),
        "lumps_D4": lambda: alone(lumps("D4", 4), "D4", 130.0),
        "lumps_C1": lambda: alone(plain, "C1", 130.0),
        "hexamers_random_as_C1": lambda: replace(hexamers("random", {}), symmetry="C1"),
        "apoferritin_as_C1": lambda: alone(model_from_file(options.apoferritin, PHASE_RAD), "C1", 125.0),
        "null_shell_C1": lambda: wrong(smooth_shell(), plain, "C1"),
        "null_shell_O": lambda: wrong(smooth_shell(), model_from_file(options.apoferritin, PHASE_RAD), "O"),
        "null_ice_C1": lambda: Case(empty(seed), plain, None, "C1", 130.0, usual),
        "null_ice_D4": lambda: Case(empty(seed), lumps("D4", 4), None, "D4", 130.0, usual),
    }
    apoferritin = model_from_file(options.apoferritin, PHASE_RAD)

    def among(decoy: ParticleModel | None) -> Case:
        scene, picks = with_decoys(apoferritin, decoy, 20, seed)
        return Case(scene, apoferritin, apoferritin, "O", 125.0, usual, picks=picks)

    found["apoferritin_among_empty_picks"] = lambda: among(None)
    found["apoferritin_among_lumps"] = lambda: among(plain)
    found["apoferritin_among_shells"] = lambda: among(smooth_shell())
    found["null_ice_O"] = lambda: Case(empty(seed), apoferritin, None, "O", 125.0, usual)
    found["null_ice_C6"] = lambda: Case(empty(seed), lumps("C6", 4), None, "C6", 130.0, usual)
    if options.ribosome is not None:
        ours = ribosome(options.ribosome)
        coarse = usual | {"finest_resolution_angstrom": 18.0, "initial_lowpass_angstrom": 60.0}
        found["ribosome_C1"] = lambda: Case(ribosomes(ours, seed), ours, ours, "C1", 290.0, coarse)
        found["null_ribosome_O"] = lambda: Case(
            ribosomes(ours, seed), symmetrised(ours, "O"), None, "O", 290.0, coarse
        )
        found["null_ribosome_O_own_map"] = lambda: Case(ribosomes(ours, seed), ours, None, "O", 290.0, coarse)
    for group in ("C1", "C6"):
        found[f"null_layers_{group}"] = lambda group=group: Case(
            smooth_layers(hexamer(options.hexamer), seed), hexamer(options.hexamer), None, group, 120.0,
            on_surface, directions=True,
        )  # fmt: skip
    for group in ("C6", "D4", "O"):
        found[f"null_lumps_{group}"] = lambda group=group: wrong(plain, symmetrised(plain, group), group)
    return found


def picked(case: Case, rng: np.random.Generator) -> Particles:
    """Picks 5 A off, normals some degrees off, rotations otherwise unknown."""
    scene = case.picks or case.scene
    n = len(scene.rotations)
    places = scene.positions_xyz_angstrom + rng.normal(0, 5.0, (n, 3))
    if case.directions:
        normals = scene.rotations[:, :, 2] + rng.normal(0, 0.05, (n, 3))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        rows = ParticleRows.of(
            scene.series.name, places, rotations=z_axis_to(normals, rng.uniform(0, 360, n))
        )
        rows = replace(
            rows, prior_directions=normals, prior_width_deg=np.full(n, 10.0), surface=np.ones(n, np.int64)
        )
    else:
        rows = ParticleRows.of(scene.series.name, places, rotations=Rotation.random(n, rng).as_matrix())
    template = Average("template", true_map(case.template, 64, 4.0), 4.0)
    return Particles(
        scene.series.name, ArrayTable(rows.columns()), (scene.series,), diameter_angstrom=case.diameter,
        template=template,
    )  # fmt: skip


def halves_agree_to(average: Average) -> float:
    """Where the corrected correlation of the halves falls to 0.143, in angstrom."""
    corrected = next(curve for curve in average.curves if curve.name == "corrected")
    box = average.map.shape[0] * average.voxel_size_angstrom
    return first_fall(np.array(corrected.correlation), 0.143, box)


def against_truth(case: Case, average: Average, rows: ParticleRows) -> str:
    """Resolution against the model, and rotations within 10 degrees, after one motion of the average."""
    if case.model is None:
        return "no truth"
    scene, operators = case.scene, symmetry_matrices(case.symmetry)
    distance, near = cKDTree(scene.positions_xyz_angstrom).query(rows.positions_xyz_angstrom)
    on_one = distance < 0.4 * case.diameter
    rows, near = rows.take(np.flatnonzero(on_one)), near[on_one]
    true = scene.rotations[near]
    relative = np.swapaxes(true, 1, 2) @ rows.rotations
    trials = np.concatenate([np.eye(3)[None], relative])
    errors = np.array([rotations_between(relative, one[None], operators) for one in trials])
    best = int(np.median(errors, axis=1).argmin())
    away = rows.positions_xyz_angstrom - scene.positions_xyz_angstrom[near]
    offset = np.median(np.einsum("nji,nj->ni", true, away), axis=0)
    points = (case.model.points_xyz_angstrom - offset) @ trials[best]
    density, voxel = np.asarray(average.map[...]), average.voxel_size_angstrom
    model = true_map(
        ParticleModel("model", points.astype(np.float32), case.model.weights), len(density), voxel
    )
    mask = particle_mask(len(density), voxel, min(case.diameter, average.diameter_angstrom)).numpy()
    correlation = shell_correlation(torch.tensor(density * mask), torch.tensor(model * mask))
    return (
        f"against the model {first_fall(correlation, 0.5, len(density) * voxel):.1f} A, within 10 deg "
        f"{(errors[best] < 10).mean():.2f} of {len(near)} ({(~on_one).sum()} decoys)"
    )


def report(name: str, case: Case, seed: int) -> None:
    context = MemoryContext(rng=np.random.default_rng(seed))
    begun = time.perf_counter()
    try:
        given = refine(
            (picked(case, np.random.default_rng(seed)),),
            RefineParams(symmetry=case.symmetry, **case.settings),
            context,
        )
    except CryoloomError as refused:
        print(f"{name}: refused: {refused}", flush=True)
        return
    average = given.main
    stated = average.resolution_angstrom
    figures = ", ".join(
        f"{key} {context.figures[key]:.2f}"
        for key in (
            "pose_evidence",
            "null_evidence",
            "asymmetry",
            "pose_support",
            "split_angle_deg",
            "angle_sd_deg",
        )
        if key in context.figures
    )
    print(
        f"{name}: {average.n_particles} particles, halves {halves_agree_to(average):.1f} A, "
        f"stated {'nothing' if stated is None else f'{stated:.1f} A'}, "
        f"{against_truth(case, average, given.others['particles'][0].rows())}; {figures}; "
        f"{time.perf_counter() - begun:.0f} s",
        flush=True,
    )
    for text in context.warnings:
        print(f"  {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("apoferritin", type=Path, help="atomic model 4V1W")
    parser.add_argument("hexamer", type=Path, help="atomic model of the CA-SP1 hexamer")
    parser.add_argument("--ribosome", type=Path, help="atomic model 4V5D")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="+", help="names; all unless given")
    options = parser.parse_args()
    known = cases(options)
    torch.set_num_threads(options.threads)
    for name in options.cases or known:
        report(name, known[name](), options.seed)


if __name__ == "__main__":
    main()
