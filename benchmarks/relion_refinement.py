"""Refinement beside RELION's on the same images: errors of poses, resolution against the truth, and time.

One series of a particle is simulated (`tests/makers/particle_scene.py`): projections with CTF, damage and
noise; geometry and CTF are exact. Both programs begin with the same picks (some angstrom off, rotations at
random) and the same low-pass of the true map. ``refine`` cuts particles out of the images itself. RELION 3.1
is given volumes of the same images by ``extract_particles``: sums of ``C X`` over the number of tilts at
every frequency as data, the root of the sum of ``C^2`` over that number as CTF, premultiplied, background 0
and deviation 1. Options are those of its tutorials for subtomograms; they are printed. Processor time is that
of all processes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import starfile
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.shell_correlation import first_fall, shell_correlation
from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.star_tables import write_blocks
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.rotations import euler_zyz_deg, matrix_from_euler_zyz_deg
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles
from cryoloom.simulate.particles import ParticleModel, model_from_file
from cryoloom.steps.extract_particles import ExtractParticlesParams, extract_particles
from cryoloom.steps.refine import RefineParams, refine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext
from makers.particle_scene import Scene, make_scene, true_map

Array = NDArray[np.float64]

PIXEL_ANGSTROM, CROP_PX, BOX_PX = 5.4, 32, 64
AUTO_REFINE = (
    "--auto_refine --split_random_halves --firstiter_cc --ctf --flatten_solvent --zero_mask --norm --scale "
    "--oversampling 1 --healpix_order 2 --auto_local_healpix_order 4 --offset_range 5 --offset_step 2 "
    "--low_resol_join_halves 40 --pad 2 --pool 3 --dont_combine_weights_via_disc --j 1"
)


@dataclass(frozen=True)
class Outcome:
    """Poses and map of one program."""

    positions_xyz_angstrom: Array
    rotations: Array
    density: NDArray[np.float32]
    voxel_angstrom: float
    stated_angstrom: float | None
    wall_s: float
    processor_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specimen", type=Path, help="atomic model, its axes those of the symmetry")
    parser.add_argument("--symmetry", default="O")
    parser.add_argument("--diameter", type=float, default=130.0)
    parser.add_argument("--particles", type=int, default=100)
    parser.add_argument("--lowpass", type=float, nargs="+", default=[40.0])
    parser.add_argument("--pick-error", type=float, default=7.8, help="angstrom, rms")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", choices=["cryoloom", "relion"])
    options = parser.parse_args()
    print(f"relion_refine_mpi (3 processes) {AUTO_REFINE}")
    model = model_from_file(options.specimen, 0.05)
    for seed in options.seeds:
        rng = np.random.default_rng(seed)
        scene = make_scene(model, options.particles, rng, shape_yx=(420, 420), pixel=PIXEL_ANGSTROM)
        picks = picked(scene, options, rng)
        for lowpass in options.lowpass:
            for name, program in (("cryoloom", by_refine), ("relion", by_relion)):
                if options.only not in (None, name):
                    continue
                with tempfile.TemporaryDirectory() as made:
                    reference = Path(made) / "reference.mrc"
                    write_map(reference, true_map(model, 64, PIXEL_ANGSTROM), PIXEL_ANGSTROM)
                    outcome = program(picks, reference, lowpass, options)
                print(
                    f"seed {seed}, {lowpass:g} A, {name}: {judged(outcome, scene, model, options)}",
                    flush=True,
                )


def picked(scene: Scene, options: argparse.Namespace, rng: np.random.Generator) -> Particles:
    """Particles near their places, turned at random."""
    n = len(scene.rotations)
    places = scene.positions_xyz_angstrom + rng.normal(0, options.pick_error / np.sqrt(3), (n, 3))
    rows = ParticleRows.of(scene.series.name, places, rotations=Rotation.random(n, rng).as_matrix())
    table = ArrayTable(rows.columns())
    return Particles(scene.series.name, table, (scene.series,), diameter_angstrom=options.diameter)


def by_refine(picks: Particles, reference: Path, lowpass: float, options: argparse.Namespace) -> Outcome:
    params = RefineParams(
        reference=reference, initial_lowpass_angstrom=lowpass, symmetry=options.symmetry,
        diameter_angstrom=options.diameter,
    )  # fmt: skip
    wall, processor = time.perf_counter(), time.process_time()
    outputs = refine((picks,), params, MemoryContext(n_threads=1))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    average: Average = outputs.main
    (found,) = outputs.others["particles"]
    rows = found.rows()
    return Outcome(
        rows.positions_xyz_angstrom, rows.rotations, np.asarray(average.map), average.voxel_size_angstrom,
        average.resolution_angstrom, wall, processor,
    )  # fmt: skip


def by_relion(picks: Particles, reference: Path, lowpass: float, options: argparse.Namespace) -> Outcome:
    folder = reference.parent
    (folder / "refined").mkdir()
    write_volumes(picks, folder, options.diameter)
    small = mrcfile.read(reference)
    low = (len(small) - CROP_PX) // 2
    write_map(reference, small[(slice(low, low + CROP_PX),) * 3], PIXEL_ANGSTROM)
    command = [
        "mpirun", "--oversubscribe", "--bind-to", "none", "-n", "3", "relion_refine_mpi",
        *AUTO_REFINE.split(),
        "--i", "particles.star", "--o", "refined/run", "--ref", reference.name, "--ini_high", f"{lowpass:g}",
        "--particle_diameter", f"{options.diameter:g}", "--sym", options.symmetry,
    ]  # fmt: skip
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    made = subprocess.run(
        command, cwd=folder, env=os.environ | allowed, check=False, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    if made.returncode:
        raise DataUnfitError(f"relion_refine_mpi ended with {made.returncode}: {made.stderr[-1500:]}")
    table = starfile.read(folder / "refined" / "run_data.star")["particles"]
    index = table["rlnImageName"].str.extract(r"(\d+)\.mrc")[0].astype(int).to_numpy()
    table = table.iloc[np.argsort(index)]
    origins = table[[f"rlnOrigin{axis}Angst" for axis in "XYZ"]].to_numpy()
    rotations = matrix_from_euler_zyz_deg(*(table[f"rlnAngle{k}"].to_numpy() for k in ("Rot", "Tilt", "Psi")))
    stated = starfile.read(folder / "refined" / "run_model.star")["model_general"]["rlnCurrentResolution"]
    return Outcome(
        picks.rows().positions_xyz_angstrom - origins, rotations,
        mrcfile.read(folder / "refined" / "run_class001.mrc"), PIXEL_ANGSTROM, float(stated), wall,
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )  # fmt: skip


def write_volumes(picks: Particles, folder: Path, diameter: float) -> None:
    """RELION 3.1's particles: data, CTF and table."""
    context = MemoryContext()
    params = ExtractParticlesParams(output="volumes", box_px=BOX_PX, crop_px=CROP_PX)
    extracted = extract_particles(picks, params, context).images[0]
    c = CROP_PX
    volumes = np.asarray(extracted.pixels).reshape(-1, c, c, c)
    weights = np.asarray(extracted.weights).reshape(-1, 2, c, c, c // 2 + 1)
    at = np.arange(c) - c // 2
    outside = at[:, None, None] ** 2 + at[:, None] ** 2 + at**2 > (0.5 * diameter / PIXEL_ANGSTROM) ** 2
    rows = []
    euler = euler_zyz_deg(picks.rows().rotations)
    for i, (volume, (squares, counts)) in enumerate(zip(volumes, weights, strict=True)):
        # Where less than half a tilt was inserted nothing is known.
        known = counts > 0.5
        count = np.where(known, counts, 1.0)
        data = np.fft.rfftn(np.fft.ifftshift(volume)) * known / count
        density = np.fft.fftshift(np.fft.irfftn(data, s=(c, c, c)))
        background = density[outside]
        density = (density - background.mean()) / background.std()
        write_map(folder / f"{i:05d}.mrc", density, PIXEL_ANGSTROM)
        write_map(folder / f"{i:05d}_ctf.mrc", whole(np.sqrt(squares * known / count)), PIXEL_ANGSTROM)
        angles = dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), euler[i], strict=True))
        rows.append(
            {
                "rlnImageName": f"{i:05d}.mrc", "rlnCtfImage": f"{i:05d}_ctf.mrc", "rlnOpticsGroup": 1,
                "rlnMicrographName": "TS_1", **angles,
            }
        )  # fmt: skip
    optics = {
        "rlnOpticsGroup": 1, "rlnOpticsGroupName": "one", "rlnSphericalAberration": 2.7, "rlnVoltage": 300.0,
        "rlnImagePixelSize": PIXEL_ANGSTROM, "rlnImageSize": c, "rlnImageDimensionality": 3,
        "rlnAmplitudeContrast": 0.1, "rlnCtfDataAreCtfPremultiplied": 1,
    }  # fmt: skip
    write_blocks(folder / "particles.star", {"optics": [optics], "particles": rows})


def whole(half: NDArray[np.floating]) -> NDArray[np.floating]:
    """An even function ``(c, c, c)``, its centre at ``c // 2``, of its half in the order of rfftn."""
    c = half.shape[0]
    index = np.fft.fftfreq(c, 1 / c).astype(int)
    z, y, x = np.meshgrid(index, index, index, indexing="ij")
    sign = np.where(x < 0, -1, 1)
    return np.fft.fftshift(half[sign * z % c, sign * y % c, np.abs(x)])


def write_map(path: Path, density: NDArray[np.floating], voxel: float) -> None:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.asarray(density, np.float32))
        file.voxel_size = voxel


def judged(outcome: Outcome, scene: Scene, model: ParticleModel, options: argparse.Namespace) -> str:
    """Errors of poses, and of the map."""
    # A refinement may leave particles out: the nearest true one is meant.
    apart = np.linalg.norm(outcome.positions_xyz_angstrom[:, None] - scene.positions_xyz_angstrom, axis=-1)
    nearest, distance = apart.argmin(axis=1), apart.min(axis=1)
    error = rotations_between(
        outcome.rotations, scene.rotations[nearest], symmetry_matrices(options.symmetry)
    )
    n, voxel = len(outcome.density), outcome.voxel_angstrom
    mask = particle_mask(n, voxel, options.diameter)
    first, second = (
        torch.tensor(np.asarray(one, np.float32)) * mask
        for one in (outcome.density, true_map(model, n, voxel))
    )
    against = first_fall(shell_correlation(first, second), 0.5, n * voxel)
    stated = "none" if outcome.stated_angstrom is None else f"{outcome.stated_angstrom:.2f} A"
    return (
        f"{len(error)} particles, within 10 deg {(error < 10).mean():.3f}, median {np.median(error):.2f} "
        f"deg, positions {np.sqrt((distance**2).mean()):.2f} A rms; resolution stated {stated}, against the "
        f"truth {against:.2f} A; {outcome.wall_s:.0f} s, {outcome.processor_s:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
