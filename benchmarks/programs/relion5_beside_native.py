"""RELION 5's own programs beside the native steps, on simulated particles with known truth.

    python benchmarks/programs/relion5_beside_native.py MODEL [--refine [--global-search]] [--particles 30]

relion_tomo_subtomo and relion_tomo_reconstruct_particle (and relion_refine_mpi with --refine) must be on the
PATH. Two series of a particle are simulated, one of either hand, with exact geometry and CTF
(`tests/makers/particle_scene.py`). The set is exported for RELION 5 as `cryoloom export` does it, RELION
reads it, and both programs

- cut the particles out: how many, whether RELION's table gives places and angles back, and the correlation of
  the images of both programs;
- average them at the true poses: correlation of the two maps, and of each with the truth, by shells;
- refine them from poses that are some degrees and angstrom off, against a first map of 30 A: errors and time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import mrcfile
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.shell_correlation import first_fall, shell_correlation
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.model import ArrayTable, ParticleRows, Particles
from cryoloom.programs.relion.relion_extract_particles import (
    RelionExtractParticlesParams,
    relion_extract_particles,
)
from cryoloom.programs.relion.relion_reconstruct_particle import (
    RelionReconstructParticleParams,
    relion_reconstruct_particle,
)
from cryoloom.programs.relion.relion_refine import RelionRefineParams, relion_refine
from cryoloom.simulate.particles import ParticleModel, model_from_file
from cryoloom.steps.extract_particles import ExtractParticlesParams, extract_particles
from cryoloom.steps.reconstruct_particle import ReconstructParticleParams, reconstruct_particle
from cryoloom.steps.refine import RefineParams, refine

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from makers.context import MemoryContext
from makers.particle_scene import make_scene, true_map

PIXEL_ANGSTROM, BOX_PX, CROP_PX = 6.0, 108, 72
DEFOCUS_ANGSTROM = {1: 24000.0, -1: 33000.0}
OFF_DEG, OFF_ANGSTROM = 5.0, 4.0


def main() -> None:
    """Simulate, run both, print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("specimen", type=Path, help="atomic model without symmetry")
    parser.add_argument("--diameter", type=float, default=320.0)
    parser.add_argument("--particles", type=int, default=30, help="of each series")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--refine", action="store_true")
    parser.add_argument("--global-search", action="store_true", help="RELION searches all rotations first")
    asked = parser.parse_args()
    model = model_from_file(asked.specimen, 0.05)
    for seed in asked.seeds:
        compare(model, asked, np.random.default_rng(seed))


def compare(model: ParticleModel, asked: argparse.Namespace, rng: np.random.Generator) -> None:
    """One set of two series."""
    sets = [one_series(model, asked, rng, hand) for hand in DEFOCUS_ANGSTROM]
    for particles in sets:
        for multiply_ctf in (False, True):
            compare_cut(particles, multiply_ctf=multiply_ctf)
    truth = true_map(model, CROP_PX, PIXEL_ANGSTROM)
    ours, theirs = MemoryContext(), MemoryContext()
    began = time.perf_counter()
    native = reconstruct_particle(
        tuple(sets), ReconstructParticleParams(diameter_angstrom=asked.diameter), ours
    )
    native_s, began = time.perf_counter() - began, time.perf_counter()
    params = RelionReconstructParticleParams(box_px=BOX_PX, crop_px=CROP_PX)
    other = relion_reconstruct_particle(tuple(sets), params, theirs)
    print(f"average at the true poses: {native_s:.0f} s, RELION {time.perf_counter() - began:.0f} s")
    maps = {"cryoloom": native, "RELION": other}
    densities = {name: on_grid(np.asarray(one.map), one.voxel_size_angstrom) for name, one in maps.items()}
    print_correlations(densities, truth, asked.diameter)
    if asked.refine:
        compare_refined(sets, truth, asked, rng)


def one_series(
    model: ParticleModel, asked: argparse.Namespace, rng: np.random.Generator, hand: int
) -> Particles:
    """Particles at their true poses, their images in a file as RELION wants them."""
    name = f"TS_{'plus' if hand > 0 else 'minus'}"
    scene = make_scene(
        model, asked.particles, rng, name=name, shape_yx=(440, 400), pixel=PIXEL_ANGSTROM, handedness=hand,
        noise=0.5, defocus=DEFOCUS_ANGSTROM[hand],
    )  # fmt: skip
    n = len(scene.rotations)
    rows = ParticleRows.of(
        name, scene.positions_xyz_angstrom, rotations=scene.rotations, half=1 + np.arange(n) % 2
    )
    return Particles(name, ArrayTable(rows.columns()), (scene.series,), diameter_angstrom=asked.diameter)


def compare_cut(particles: Particles, *, multiply_ctf: bool) -> None:
    """Images of both programs, and the table that RELION gives back."""
    sizes = {"box_px": BOX_PX, "crop_px": CROP_PX, "multiply_ctf": multiply_ctf}
    cut = extract_particles(particles, ExtractParticlesParams(**sizes), MemoryContext())
    theirs = relion_extract_particles(particles, RelionExtractParticlesParams(**sizes), MemoryContext())
    given, back = particles.rows(), theirs.rows()
    order = np.searchsorted(given.particle, back.particle)
    moved = np.linalg.norm(back.positions_xyz_angstrom - given.positions_xyz_angstrom[order], axis=1)
    turned = rotations_between(back.rotations, given.rotations[order])
    print(
        f"{particles.name}: {given.n} particles, RELION gives back {back.n}, at most {moved.max():.4f} A and "
        f"{turned.max():.4f} deg away"
    )
    first, second = keys_of(cut), keys_of(theirs)
    both = sorted(set(first) & set(second))
    inside = disc(CROP_PX)
    values = [
        np.corrcoef(a[inside], b[inside])[0, 1]
        for a, b in zip(images_of(cut, first, both), images_of(theirs, second, both), strict=True)
    ]
    what = "images times CTF" if multiply_ctf else "images"
    print(
        f"  {what}: {len(first)} of cryoloom, {len(second)} of RELION, {len(both)} of both; correlation "
        f"{np.median(values):.4f} in the median, {np.min(values):.4f} at least"
    )


def keys_of(cut: Particles) -> list[tuple[int, int]]:
    """Particle and acquisition index of every image."""
    columns = cut.images[0].sections.read("particle", "acquisition_index")
    return list(zip(columns["particle"].tolist(), columns["acquisition_index"].tolist(), strict=True))


def images_of(cut: Particles, keys: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> np.ndarray:
    """Images of these keys, in this order."""
    return np.asarray(cut.images[0].pixels)[[keys.index(key) for key in wanted]]


def print_correlations(densities: dict[str, np.ndarray], truth: np.ndarray, diameter: float) -> None:
    """Correlations of masked maps by shells."""
    box = CROP_PX * PIXEL_ANGSTROM
    mask = particle_mask(CROP_PX, PIXEL_ANGSTROM, diameter)
    masked = {name: torch.tensor(values) * mask for name, values in (densities | {"truth": truth}).items()}
    for name, other in (("cryoloom", "RELION"), ("cryoloom", "truth"), ("RELION", "truth")):
        curve = shell_correlation(masked[name], masked[other])
        shown = ", ".join(f"{curve[i]:.3f} at {box / i:.1f} A" for i in range(3, len(curve), 4))
        print(f"  {name} and {other}: above 0.99 to {first_fall(curve, 0.99, box):.1f} A, "
              f"0.5 to {first_fall(curve, 0.5, box):.1f} A ({shown})")  # fmt: skip


def compare_refined(
    sets: list[Particles], truth: np.ndarray, asked: argparse.Namespace, rng: np.random.Generator
) -> None:
    """Refinement of both from the same poses."""
    off = [disturbed(one, rng) for one in sets]
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.mrc"
        with mrcfile.new(reference) as file:
            file.set_data(truth.astype(np.float32))
            file.voxel_size = PIXEL_ANGSTROM
        began = time.perf_counter()
        params = RefineParams(
            reference=reference, initial_lowpass_angstrom=30.0, diameter_angstrom=asked.diameter
        )
        given = refine(tuple(off), params, MemoryContext())
        report("cryoloom", given.others["particles"], sets, time.perf_counter() - began)
        began = time.perf_counter()
        params5 = RelionExtractParticlesParams(box_px=BOX_PX, crop_px=CROP_PX)
        cut = tuple(relion_extract_particles(one, params5, MemoryContext(item_name=one.name)) for one in off)
        given5 = relion_refine(
            cut,
            RelionRefineParams(
                reference=reference,
                initial_lowpass_angstrom=30.0,
                diameter_angstrom=asked.diameter,
                use_gpu=False,
                # As after its global search, which takes hours of a processor: from these poses on.
                **(
                    {}
                    if asked.global_search
                    else {"angular_step": 4, "local_step": 4, "offset_range_px": 3.0}
                ),
            ),
            MemoryContext(),
        )
        report("RELION", given5.others["particles"], sets, time.perf_counter() - began)


def disturbed(particles: Particles, rng: np.random.Generator) -> Particles:
    """Poses some degrees and angstrom off."""
    rows = particles.rows()
    turns = Rotation.from_rotvec(np.deg2rad(rng.normal(0, OFF_DEG / np.sqrt(3), (rows.n, 3)))).as_matrix()
    moved = ParticleRows.of(
        particles.name,
        rows.positions_xyz_angstrom + rng.normal(0, OFF_ANGSTROM / np.sqrt(3), (rows.n, 3)),
        rotations=rows.rotations @ turns,
        half=rows.half,
    )
    return Particles(
        particles.name, ArrayTable(moved.columns()), particles.series,
        diameter_angstrom=particles.diameter_angstrom,
    )  # fmt: skip


def report(name: str, found: tuple[Particles, ...], sets: list[Particles], seconds: float) -> None:
    """Errors of poses, the common motion of the average taken off."""
    turned, moved = [], []
    pairs = {one.name: one.rows() for one in sets}
    for one in found:
        rows, truth = one.rows(), pairs[one.name]
        order = np.searchsorted(truth.particle, rows.particle)
        together = Rotation.from_matrix(
            np.swapaxes(rows.rotations, 1, 2) @ truth.rotations[order]
        ).mean().as_matrix()  # fmt: skip
        turned.append(rotations_between(rows.rotations @ together, truth.rotations[order]))
        gap = rows.positions_xyz_angstrom - truth.positions_xyz_angstrom[order]
        shift = np.einsum("nji,nj->ni", rows.rotations, gap).mean(axis=0)
        moved.append(np.linalg.norm(gap - rows.rotations @ shift, axis=1))
    every, away = np.concatenate(turned), np.concatenate(moved)
    print(
        f"refined by {name} in {seconds:.0f} s: {np.median(every):.2f} deg, {np.median(away):.2f} A median, "
        f"90 % within {np.quantile(every, 0.9):.2f} deg, {np.quantile(away, 0.9):.2f} A"
    )


def on_grid(values: np.ndarray, voxel_angstrom: float) -> np.ndarray:
    """A map on the truth's grid, from one of the same voxels and another side."""
    if abs(voxel_angstrom - PIXEL_ANGSTROM) > 1e-3:
        raise SystemExit(f"voxels of {voxel_angstrom} A, expected {PIXEL_ANGSTROM}")
    made = np.zeros((CROP_PX,) * 3, np.float32)
    n = min(len(values), CROP_PX)
    into, out = (slice(s // 2 - n // 2, s // 2 - n // 2 + n) for s in (CROP_PX, len(values)))
    made[into, into, into] = values[out, out, out]
    return made


def disc(n: int) -> np.ndarray:
    """The inner half of an image."""
    at = np.arange(n) - n // 2
    return at[:, None] ** 2 + at**2 < (0.4 * n) ** 2


if __name__ == "__main__":
    main()
