"""From raw movies to the average of a known particle, with the commands a user types, against the truth.

Simulates sessions of a particle, runs `average_by_template` with template, diameter and symmetry only (or
`apoferritin` with diameter and symmetry only), then exports for RELION 5 and compares ``particles.star``, the
map, and the reported resolution with the truth. The frame of the poses is not that of the truth: one rigid
motion is fitted first, and one of the average. Prints for each session

- the particles inside the field (a diameter from its borders), exported, true (within a quarter of the
  diameter) and found; rotations within 10 degrees, their median error, rms of the positions;
- the resolution reported, that against the model (correlation 0.5), and both for the particles inside the
  field at their true positions, rotations, CTFs and geometry in images without motion: the bound;
- the largest difference, over the shells to the reported resolution, of the map's correlation with the model
  and the one that follows from the halves, ``sqrt(2 FSC / (1 + FSC))``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import starfile
import torch
from scipy.ndimage import fourier_shift
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.shell_correlation import first_fall, shell_correlation
from cryoloom.algorithms.picking.templates import density_of_points
from cryoloom.geometry.rotations import matrix_from_euler_zyz_deg
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ArrayTable, ParticleRows, Particles, Sourced
from cryoloom.simulate.particles import ParticleModel, model_from_file
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from cryoloom.simulate.truth import Truth
from cryoloom.steps.reconstruct_particle import ReconstructParticleParams, reconstruct_particle

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

USUAL = {
    "n_particles": 120, "n_beads": 12, "n_vesicles": 0, "n_membranes": 0, "n_frames": 5,
    "thickness_angstrom": 900.0, "defocus_angstrom": 32000.0, "image_shape_yx": (640, 640),
    "pixel_size_angstrom": 2.7,
}  # fmt: skip
_FINER = 3
SCENES: dict[str, dict[str, object]] = {
    "usual": {},
    "mirrored": {"handedness": -1},
    "thick": {
        "handedness": -1, "thickness_angstrom": 1500.0, "defocus_angstrom": 45000.0, "n_beads": 0,
        "n_vesicles": 3, "n_membranes": 1,
    },
    "fine": {"pixel_size_angstrom": 1.8, "n_particles": 80},
    "coarse": {"pixel_size_angstrom": 3.5, "n_particles": 150, "n_vesicles": 3, "handedness": -1},
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Exported particles against the true ones, and the model's pose in the average's frame."""

    line: str
    rotation: np.ndarray
    """From the average's frame to the model's."""
    offset_angstrom: np.ndarray
    """Of the average's centre, in the model's frame."""
    inside: np.ndarray


def run(*words: object) -> str:
    command = [sys.executable, "-c", "from cryoloom.cli.entry import main; main()", *map(str, words)]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{made.stdout[-2000:]}\n{made.stderr[-2000:]}")
    return made.stdout


def rigid_fit(found: np.ndarray, true: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and offset that bring found positions onto true ones, pairs being the nearest within reach."""
    apart = (true[None] - found[:, None]).reshape(-1, 3)
    apart = apart[(np.abs(apart) < 400).all(axis=1)]
    votes = cKDTree(apart).query_ball_point(apart, reach, return_length=True)
    turn, offset = np.eye(3), apart[int(np.argmax(votes))]
    for round_ in range(30):
        distance, nearest = cKDTree(true).query(found @ turn.T + offset)
        near = distance < (2 * reach if round_ < 10 else reach)
        a, b = found[near], true[nearest[near]]
        u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
        turn = (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt).T
        offset = b.mean(0) - turn @ a.mean(0)
    return turn, offset


def compare(
    star: Path, truth: Truth, params: SimulationParams, diameter: float, group: np.ndarray
) -> Comparison:
    table = starfile.read(star)["particles"]
    found = table[[f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]].to_numpy()
    rotations = matrix_from_euler_zyz_deg(*(table[f"rlnAngle{k}"].to_numpy() for k in ("Rot", "Tilt", "Psi")))
    true, true_rotations = truth.particles[0].positions_xyz_angstrom, np.array(truth.particles[0].rotations)
    turn, offset = rigid_fit(found, true, diameter / 4)
    moved = found @ turn.T + offset
    distance, nearest = cKDTree(true).query(moved)
    right = distance < diameter / 4
    true_r, found_r = true_rotations[nearest[right]], turn @ rotations[right]
    # From the average's frame to the model's, of each particle; of its equivalents the one nearest to the
    # average's. An average may be turned as a whole.
    relative = np.swapaxes(true_r, 1, 2) @ found_r
    between = Rotation.identity().as_matrix()
    for _ in range(5):
        # R_true S and R_true are the same particle.
        every = np.einsum("sji,njk->nsik", group, relative)
        traces = np.einsum("nsij,ij->ns", every, between)
        nearest_one = every[np.arange(len(every)), traces.argmax(axis=1)]
        angle = np.rad2deg(np.arccos(np.clip(0.5 * (traces.max(axis=1) - 1), -1, 1)))
        near = angle < max(10.0, float(np.median(angle)))
        between = Rotation.from_matrix(nearest_one[near]).mean().as_matrix()
    away = np.einsum("nji,nj->ni", true_r, moved[right] - true[nearest[right]])
    centre = np.median(away[near], axis=0) if len(group) == 1 else np.zeros(3)
    left = moved[right] - true[nearest[right]] - true_r @ centre
    half = np.array(params.image_shape_yx[::-1]) * params.pixel_size_angstrom / 2 - diameter
    inside = (np.abs(true - offset)[:, :2] < half).all(axis=1)
    n_found = int(np.isin(np.flatnonzero(inside), nearest[right]).sum())
    turned = np.rad2deg(Rotation.from_matrix(between).magnitude())
    line = (
        f"inside {inside.sum()}, exported {len(found)}, true {right.sum()}, found {n_found} "
        f"({n_found / max(inside.sum(), 1):.3f}); within 10 deg {(angle < 10).mean():.3f}, median "
        f"{np.median(angle):.2f} deg, rms {np.sqrt((left**2).sum(axis=1).mean()):.2f} A; average turned by "
        f"{turned:.2f} deg, moved {np.linalg.norm(centre):.2f} A"
    )
    return Comparison(line, between, centre, inside)


def model_map(
    model: ParticleModel, rotation: np.ndarray, offset: np.ndarray, n: int, voxel: float
) -> np.ndarray:
    """The model in an average's frame, ``(n, n, n)``."""
    # Points shared among coarse voxels would alias: on finer ones, then cropped in Fourier space.
    points, weights = (model.points_xyz_angstrom - offset) @ rotation, model.weights.astype(float)
    density = density_of_points(points, weights, voxel / _FINER)
    side = _FINER * n
    low = side // 2 - len(density) // 2
    wide = np.zeros((side,) * 3)
    if low >= 0:
        wide[(slice(low, low + len(density)),) * 3] = density
    else:
        wide[:] = density[(slice(-low, -low + side),) * 3]
    spectrum = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(wide)))
    kept = (slice(side // 2 - n // 2, side // 2 - n // 2 + n),) * 3
    # `density_of_points` puts the centre of mass at its middle: it is moved back.
    centre = np.average(points, axis=0, weights=weights)
    moved = fourier_shift(np.fft.ifftshift(spectrum[kept]), centre[::-1] / voxel)
    return np.fft.fftshift(np.fft.ifftn(moved)).real


def against_model(
    density: np.ndarray, voxel: float, model: ParticleModel, at: Comparison, diameter: float
) -> np.ndarray:
    """Correlation with the model by shells, within the particle."""
    n = len(density)
    true = model_map(model, at.rotation, at.offset_angstrom, n, voxel)
    mask = particle_mask(n, voxel, diameter).numpy()
    first, second = (torch.tensor(np.asarray(m * mask, dtype=np.float32)) for m in (density, true))
    return shell_correlation(first, second)


def bound(
    params: SimulationParams, at: Comparison, model: ParticleModel, diameter: float, symmetry: str
) -> str:
    """Resolutions with everything known."""
    series, truth = simulate_tilt_series(params)
    series = truth.with_true_ctfs(truth.with_true_poses(series))
    series = replace(series, handedness=Sourced(applied=float(truth.handedness)))
    rows = ParticleRows.of(
        series.name,
        truth.particles[0].positions_xyz_angstrom[at.inside],
        rotations=np.array(truth.particles[0].rotations)[at.inside],
    )
    particles = Particles(series.name, ArrayTable(rows.columns()), (series,), diameter_angstrom=diameter)
    average = reconstruct_particle(
        (particles,), ReconstructParticleParams(symmetry=symmetry), MemoryContext()
    )
    density, voxel = np.asarray(average.map[...]), average.voxel_size_angstrom
    as_made = Comparison("", np.eye(3), np.zeros(3), at.inside)
    true = against_model(density, voxel, model, as_made, diameter)
    return f"bound {average.resolution_angstrom} A, {first_fall(true, 0.5, len(density) * voxel):.2f} A"


def processed(
    options: argparse.Namespace, params: SimulationParams, folder: Path, diameter: float
) -> dict[str, float]:
    """Figures of the last steps of a session that was processed and exported."""
    settings = [w for k, v in params.model_dump().items() for w in ("--set", f"{k}={_word(v)}")]
    if not (folder / "raw" / "truth.json").exists():  # of a kept session that goes on
        run("simulate", folder / "raw", *settings)
    chosen = {"refine.symmetry": options.symmetry}
    if options.from_nothing:
        chosen |= {"pick_blobs.diameter_angstrom": diameter, "initial_model.symmetry": options.symmetry}
    else:
        chosen |= {
            "pick_by_template.template": options.template.absolute(),
            "pick_by_template.diameter_angstrom": diameter,
        }
    workflow = "apoferritin" if options.from_nothing else "average_by_template"
    words = [w for k, v in chosen.items() for w in ("--set", f"{k}={v}")]
    begun = time.perf_counter()
    run("process", folder / "raw", "-p", folder / "P", "--workflow", workflow, *words)
    seconds = time.perf_counter() - begun
    run("export", "-p", folder / "P", "--format", "relion5", "--to", folder / "relion")
    figures = {"seconds": seconds}
    for line in run("results", "-p", folder / "P", "--json").splitlines():
        if line.startswith("{"):
            figures |= json.loads(line).get("figures", {})
    return figures


def _word(value: object) -> str:
    return json.dumps(value).strip('"') if not isinstance(value, str) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specimen", type=Path, help="atomic model that the session is made of")
    parser.add_argument("template", type=Path, help="map or atomic model that it is picked by")
    parser.add_argument("--diameter", type=float, default=120.0)
    parser.add_argument("--symmetry", default="O")
    parser.add_argument("--seeds", type=int, nargs="+", default=[211])
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=["usual"])
    parser.add_argument("--set", nargs="+", default=[], help="other settings of the simulation, name=value")
    parser.add_argument("--keep", type=Path, help="folder that keeps the sessions")
    parser.add_argument(
        "--from-nothing",
        action="store_true",
        help="no template: blobs and a first map (workflow apoferritin)",
    )
    options = parser.parse_args()
    group = symmetry_matrices(options.symmetry)
    more = {word.split("=", 1)[0]: _value(word.split("=", 1)[1]) for word in options.set}
    for scene in options.scenes:
        for seed in options.seeds:
            params = SimulationParams(
                **(USUAL | SCENES[scene] | more | {"seed": seed, "specimen": str(options.specimen)})
            )
            with tempfile.TemporaryDirectory() as made:
                folder = Path(made) if options.keep is None else options.keep / f"{scene}_{seed}"
                figures = processed(options, params, folder, options.diameter)
                report(options, params, folder, figures, group, f"{scene} {seed}")


def _value(word: str) -> object:
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        return word


def report(
    options: argparse.Namespace,
    params: SimulationParams,
    folder: Path,
    figures: dict[str, float],
    group: np.ndarray,
    name: str,
) -> None:
    truth = Truth.load(folder / "raw" / "truth.json")
    model = model_from_file(options.specimen, params.particle_phase_rad)
    print(f"{name}: {figures['seconds']:.0f} s", flush=True)
    star = folder / "relion" / "particles.star"
    at = compare(star, truth, params, options.diameter, group)
    print(f"  {at.line}")
    averages = folder / "relion" / "averages"
    with mrcfile.open(next(averages.glob("*_map.mrc"))) as file:
        density, voxel = np.array(file.data), float(file.voxel_size.x)
    true = against_model(density, voxel, model, at, options.diameter)
    halves = [torch.tensor(mrcfile.read(next(averages.glob(f"*half{i}*.mrc"))).copy()) for i in (1, 2)]
    mask = particle_mask(len(density), voxel, options.diameter)
    fsc = np.clip(shell_correlation(halves[0] * mask, halves[1] * mask), 0, 1)
    expected = np.sqrt(2 * fsc / (1 + fsc))
    box = len(density) * voxel
    reported = figures.get("resolution_angstrom", float("nan"))
    shells = np.arange(2, max(3, int(box / reported) + 1)) if np.isfinite(reported) else np.arange(2, 4)
    differs = (expected - true)[shells]
    worst = int(np.argmax(np.abs(differs)))
    print(
        f"  reported {reported:.2f} A, against the model {first_fall(true, 0.5, box):.2f} A; "
        f"{bound(params, at, model, options.diameter, options.symmetry)}"
    )
    print(
        f"  halves less model: {differs[worst]:+.3f} at {box / shells[worst]:.1f} A at most; "
        + ", ".join(
            f"{box / s:.0f}: {expected[s]:.2f}/{true[s]:.2f}" for s in shells[:: max(1, len(shells) // 8)]
        )
    )


if __name__ == "__main__":
    main()
