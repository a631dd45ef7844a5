"""Seed 003 on simulated virus-like shells: movies, points by hand, oriented picks, first map, refinement.

Shells of a C6 hexamer (HIV CA-SP1), its axis along the normals, lie in the ice. `average` is run first
without points, as a user does; then twelve points are marked on each shell in the tomogram, with an error of
10 A, and the same command goes on with them. Compared with the truth: hexamers found by the picks, normals,
and after `refine` positions and rotations modulo C6 and the azimuth of the average.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeVar

import gemmi
import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryoloom.engine.project import Project
from cryoloom.geometry.orientation_grid import even_directions, rotations_between, z_axis_to
from cryoloom.geometry.projection import project as project_points
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import Particles, TiltSeries, Tomogram
from cryoloom.simulate.truth import Truth

T = TypeVar("T")
SPACING_ANGSTROM, POINTS_PER_SHELL, POINT_ERROR_ANGSTROM = 80.0, 12, 10.0


def hexamer_poses(radius: float, azimuths: str = "random") -> tuple[np.ndarray, np.ndarray]:
    """Positions and rotations of the hexamers of a shell, about its centre.

    With azimuths "lattice" places repel each other until they are a lattice, and hexamers follow its
    directions, as in the virus; with "random" places are a spiral and neighbours say nothing of an azimuth.
    """
    n = round(4 * np.pi * radius**2 / (0.866 * SPACING_ANGSTROM**2))
    directions = even_directions(n)
    if azimuths == "random":
        azimuth = np.random.default_rng(7).uniform(0, 360, n)
        return directions * radius, z_axis_to(directions, azimuth)
    for _ in range(300):
        apart = directions[:, None] - directions[None]
        length = np.linalg.norm(apart, axis=-1) + np.eye(n)
        push = (apart / length[..., None] ** 4).sum(axis=1) / n**2
        directions = directions + push
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    frames = z_axis_to(directions)
    _, near = cKDTree(directions).query(directions, 7)
    along = np.einsum("nij,nki->nkj", frames, directions[near[:, 1:]])
    order = np.exp(6j * np.arctan2(along[..., 1], along[..., 0])).mean(axis=1)
    return directions * radius, z_axis_to(directions, np.rad2deg(np.angle(order)) / 6)


def write_shell(hexamer: Path, path: Path, radius: float, azimuths: str = "random") -> None:
    """An atomic model of one point a residue: hexamers on a sphere, their axes along its normals."""
    structure = gemmi.read_structure(str(hexamer))
    atoms = np.array(
        [a.pos.tolist() for chain in structure[0] for residue in chain for a in residue if a.name == "CA"]
    )
    large = [np.array([a.pos.tolist() for r in c for a in r]) for c in structure[0] if len(c) > 200]
    # The six-fold axis of this file is along z, through the middle of its six long chains.
    atoms = atoms - np.array([*np.mean([c.mean(axis=0) for c in large], axis=0)[:2], atoms[:, 2].mean()])
    lines = ["data_shell", "loop_"]
    lines += [
        f"_atom_site.{name}"
        for name in (
            "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id",
            "label_asym_id", "label_entity_id", "label_seq_id", "Cartn_x", "Cartn_y", "Cartn_z",
            "auth_seq_id", "auth_asym_id",
        )
    ]  # fmt: skip
    positions, rotations = hexamer_poses(radius, azimuths)
    i = 0
    for k, (place, turn) in enumerate(zip(positions, rotations, strict=True)):
        for j, (x, y, z) in enumerate(atoms @ turn.T + place):
            i += 1
            lines.append(f"ATOM {i} C CA . ALA H{k} 1 {j + 1} {x:.2f} {y:.2f} {z:.2f} {j + 1} H{k}")
    path.write_text("\n".join(lines) + "\n")


def run(*words: object) -> str:
    command = [sys.executable, "-c", "from cryoloom.cli.entry import main; main()", *map(str, words)]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    return f"{made.stdout}\n{made.stderr}"


def values_of(folder: Path, kind: type[T]) -> dict[str, list[T]]:
    """Values of a kind in a project, by the step that made them, the newest last."""
    found: dict[str, list[T]] = {}
    project = Project.open(folder)
    for made in project.database.runs():
        for item in project.database.items(made.id):
            if item.state == "done" and isinstance(value := project.value(item), kind):
                found.setdefault(made.node, []).append(value)
    return found


def as_aligned(series: TiltSeries, truth: Truth, places: np.ndarray) -> np.ndarray:
    """Where places of the specimen are in the frame of an alignment: images show both alike."""
    tilts = [t for t in series.included if t.pose is not None]
    by_index = {t.acquisition_index: t.pose for t in truth.tilts}
    true = [by_index[t.acquisition_index] for t in tilts]
    seen = project_points(
        places,
        np.stack([p.matrix for p in true]),
        np.array([p.shift_xy_angstrom for p in true]),
    )
    matrices = np.stack([t.pose.matrix[:2] for t in tilts if t.pose])
    shifts = np.array([t.pose.shift_xy_angstrom for t in tilts if t.pose])
    design = matrices.reshape(-1, 3)
    return np.stack(
        [np.linalg.lstsq(design, (seen[:, i] - shifts).ravel(), rcond=None)[0] for i in range(len(places))]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hexamer", type=Path, help="atomic model of the CA-SP1 hexamer")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--radius", type=float, default=240.0, help="of the shells, in angstrom")
    parser.add_argument("--azimuths", choices=("random", "lattice"), default="lattice", help="of hexamers")
    parser.add_argument("--shells", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder that keeps the session")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        process(options, folder)


def process(options: argparse.Namespace, folder: Path) -> None:
    write_shell(options.hexamer, folder / "shell.cif", options.radius, options.azimuths)
    settings = {
        "seed": options.seed, "specimen": folder / "shell.cif", "n_particles": options.shells, "n_beads": 0,
        "n_vesicles": 0, "n_membranes": 0, "n_frames": 3, "thickness_angstrom": 1000,
        "defocus_angstrom": 35000, "image_shape_yx": "[640,640]", "pixel_size_angstrom": 2.7,
    }  # fmt: skip
    print(run("simulate", folder / "raw", *(w for k, v in settings.items() for w in ("--set", f"{k}={v}"))))
    words = ["process", folder / "raw", "-p", folder / "P", "--workflow", "average"]
    # A field of 640 pixels is a ninth of a camera's: it bears less binning.
    chosen = {
        "bin_to_align.binning": 4, "bin_to_reconstruct.binning": 4, "reconstruct.thickness_angstrom": 1400,
        "extract_for_model.binning": 3, "extract_for_refinement.binning": 3,
        "pick_on_surfaces.spacing_angstrom": SPACING_ANGSTROM / 2, "pick_on_surfaces.snap_angstrom": 60,
        "initial_model.diameter_angstrom": 200, "refine_coarse.diameter_angstrom": 120,
        "refine_coarse.initial_lowpass_angstrom": 25, "refine_coarse.shift_range_angstrom": 6,
        "extract_for_model.diameter_angstrom": 200, "extract_for_refinement.diameter_angstrom": 200,
    }  # fmt: skip
    words += [w for k, v in chosen.items() for w in ("--set", f"{k}={v}")]
    begun = time.perf_counter()
    print(run(*words)[-1500:])
    truth = Truth.load(folder / "raw" / "truth.json")
    tomogram: Tomogram = next(v for vs in values_of(folder / "P", Tomogram).values() for v in vs)
    centres = as_aligned(tomogram.series, truth, truth.particles[0].positions_xyz_angstrom)
    half = 0.5 * 640 * 2.7 - options.radius - 60
    inside = np.flatnonzero((np.abs(centres[:, :2]) < half).all(axis=1))
    rng = np.random.default_rng(options.seed)
    rows = ["model,x_angstrom,y_angstrom,z_angstrom"]
    for model, i in enumerate(inside, 1):
        # Poles are not seen: points lie on three slices.
        for j in range(POINTS_PER_SHELL):
            height = options.radius * (-0.4, 0.0, 0.4)[j % 3]
            around = np.sqrt(options.radius**2 - height**2)
            angle = 2 * np.pi * j / POINTS_PER_SHELL
            place = centres[i] + [around * np.cos(angle), around * np.sin(angle), height]
            place += rng.normal(0, POINT_ERROR_ANGSTROM, 3)
            rows.append(f"{model},{place[0]:.1f},{place[1]:.1f},{place[2]:.1f}")
    (folder / f"{truth.series}.csv").write_text("\n".join(rows) + "\n")
    words += ["--set", f"pick_by_hand.file={folder}/{{tomogram}}.csv"]
    print(run(*words)[-3000:])
    print(f"processed in {time.perf_counter() - begun:.0f} s; {len(inside)} shells marked")
    compare(options, folder, truth, tomogram.series)


def compare(options: argparse.Namespace, folder: Path, truth: Truth, series: TiltSeries) -> None:
    positions, rotations = hexamer_poses(options.radius, options.azimuths)
    shells, turns = truth.particles[0].positions_xyz_angstrom, np.array(truth.particles[0].rotations)
    places = np.concatenate([c + positions @ t.T for c, t in zip(shells, turns, strict=True)])
    true_turns = np.concatenate([t @ rotations for t in turns])
    # Two frames that differ by a small rotation: fitted from the places themselves.
    moved = as_aligned(series, truth, places)
    a, b = places - places.mean(0), moved - moved.mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    between = (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt).T
    true_turns = between @ true_turns
    group = symmetry_matrices("C6")
    for node, found in values_of(folder / "P", Particles).items():
        rows = found[-1].rows()
        if not rows.n or rows.rotations is None or not rows.rotations.any():
            continue
        distance, nearest = cKDTree(moved).query(rows.positions_xyz_angstrom)
        near = distance < 0.4 * SPACING_ANGSTROM
        axes = (rows.rotations[:, :, 2] * true_turns[nearest][:, :, 2]).sum(axis=1)
        tilt = np.rad2deg(np.arccos(np.clip(axes, -1, 1)))
        line = (
            f"{node}: {rows.n} particles, {near.mean():.2f} at a hexamer (rms "
            f"{np.sqrt((distance[near] ** 2).mean()):.1f} A), axes off by {np.median(tilt[near]):.1f} deg"
        )
        if near.sum() >= 3:
            relative = np.swapaxes(true_turns[nearest[near]], 1, 2) @ rows.rotations[near]
            azimuths = np.arange(0.0, 60.0, 0.5)
            trial = Rotation.from_euler("Z", azimuths[:, None], degrees=True).as_matrix()
            errors = np.array([rotations_between(relative, one[None], group) for one in trial])
            best = errors[np.median(errors, axis=1).argmin()]
            line += f"; whole rotation {np.median(best):.1f} deg, within 10 deg {(best < 10).mean():.2f}"
        print(line)


if __name__ == "__main__":
    main()
