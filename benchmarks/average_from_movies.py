"""From raw movies to the average of a known particle, with the commands a user types, against the truth.

Simulates sessions of a particle, runs `average_by_template` with template, diameter and symmetry only (or
`apoferritin` with diameter and symmetry only), then exports for RELION 5 and compares ``particles.star`` and
the map. The frame of the poses is not that of the truth: one rigid motion is fitted first. Prints for each
session the particles inside the field (a diameter from its borders), exported, true (within a quarter of the
diameter) and found; rotations within 10 degrees, their median error, rms of the positions; the reported
resolution and the map's correlation with the model there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mrcfile
import numpy as np
import starfile
from scipy.spatial import cKDTree

from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.rotations import matrix_from_euler_zyz_deg
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.simulate.truth import Truth

FIELD_PX, PIXEL_ANGSTROM = 640, 2.7


def run(*words: object) -> str:
    command = [sys.executable, "-c", "from cryoloom.cli.entry import main; main()", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


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


def compare(star: Path, name: str, truth: Truth, diameter: float, group: np.ndarray) -> str:
    table = starfile.read(star)["particles"]
    table = table[table["rlnTomoName"] == name]
    found = table[[f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]].to_numpy()
    rotations = matrix_from_euler_zyz_deg(*(table[f"rlnAngle{k}"].to_numpy() for k in ("Rot", "Tilt", "Psi")))
    true, true_rotations = truth.particles[0].positions_xyz_angstrom, np.array(truth.particles[0].rotations)
    turn, offset = rigid_fit(found, true, diameter / 4)
    distance, nearest = cKDTree(true).query(found @ turn.T + offset)
    right = distance < diameter / 4
    error = rotations_between(turn @ rotations[right], true_rotations[nearest[right]], group)
    half = np.array([FIELD_PX * PIXEL_ANGSTROM / 2] * 2 + [np.inf]) - diameter
    inside = (np.abs(true - offset) < half).all(axis=1)
    n_found = np.isin(np.flatnonzero(inside), nearest[right]).sum()
    rms = float(np.sqrt(np.mean(distance[right] ** 2)))
    return (
        f"{name:>7} {inside.sum():6d} {len(found):8d} {right.sum():5d} {n_found:5d} "
        f"{(error < 10).mean():8.3f} {np.median(error):6.2f} {rms:7.2f}"
    )


def correlation_at(map_: np.ndarray, model: np.ndarray, resolution: float, diameter: float) -> float:
    """Correlation of the shell at a resolution, within a soft ball."""
    n = len(map_)
    radius = np.sqrt(((np.indices(map_.shape) - n // 2) ** 2).sum(axis=0)) * PIXEL_ANGSTROM
    ball = np.clip((0.7 * diameter - radius) / 15.0, 0, 1)
    spectra = [np.fft.fftn(volume * ball) for volume in (map_, model)]
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(n)] * 3, indexing="ij")))
    shell = np.rint(frequency * n) == round(n * PIXEL_ANGSTROM / resolution)
    a, b = (spectrum[shell] for spectrum in spectra)
    return float((a * b.conj()).sum().real / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specimen", type=Path, help="atomic model that the session is made of")
    parser.add_argument("template", type=Path, help="map of it, at the pixel size of the movies")
    parser.add_argument("--diameter", type=float, default=120.0)
    parser.add_argument("--symmetry", default="O")
    parser.add_argument("--seeds", type=int, nargs="+", default=[211, 312])
    parser.add_argument("--hand", type=int, choices=(-1, 1), default=1)
    parser.add_argument(
        "--from-nothing",
        action="store_true",
        help="no template: blobs and a first map (workflow apoferritin)",
    )
    options = parser.parse_args()
    group = symmetry_matrices(options.symmetry)
    print(" series inside exported  true found < 10 deg median rms (A)")
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            settings = {
                "seed": seed, "specimen": options.specimen, "n_particles": 120, "n_beads": 12,
                "n_vesicles": 0, "n_membranes": 0, "n_frames": 5,
                "thickness_angstrom": 900, "defocus_angstrom": 32000,
                "image_shape_yx": f"[{FIELD_PX},{FIELD_PX}]", "pixel_size_angstrom": PIXEL_ANGSTROM,
                "handedness": options.hand,
            }  # fmt: skip
            run("simulate", folder / "raw", *(w for k, v in settings.items() for w in ("--set", f"{k}={v}")))
            begun = time.perf_counter()
            chosen = {"refine.symmetry": options.symmetry}
            if options.from_nothing:
                chosen |= {
                    "pick_blobs.diameter_angstrom": options.diameter,
                    "initial_model.symmetry": options.symmetry,
                }
            else:
                chosen |= {
                    "pick_by_template.template": options.template.absolute(),
                    "pick_by_template.diameter_angstrom": options.diameter,
                }
            workflow = "apoferritin" if options.from_nothing else "average_by_template"
            words = [w for k, v in chosen.items() for w in ("--set", f"{k}={v}")]
            run("process", folder / "raw", "-p", folder / "P", "--workflow", workflow, *words)
            seconds = time.perf_counter() - begun
            run("export", "-p", folder / "P", "--format", "relion5", "--to", folder / "relion")
            truth = Truth.load(folder / "raw" / "truth.json")
            print(compare(folder / "relion" / "particles.star", "TS_01", truth, options.diameter, group))
            lines = run("results", "-p", folder / "P", "--json").splitlines()
            figures = [json.loads(line).get("figures", {}) for line in lines if line.startswith("{")]
            reported = next(f["resolution_angstrom"] for f in reversed(figures) if "resolution_angstrom" in f)
            found_map = mrcfile.read(next((folder / "relion" / "averages").glob("*_map.mrc")))
            template = mrcfile.read(options.template)
            wide = np.zeros_like(found_map)
            start = (len(wide) - len(template)) // 2
            wide[(slice(start, start + len(template)),) * 3] = template - template[0].mean()
            at = correlation_at(found_map, wide, reported, options.diameter)
            held = f"correlation with the model there {at:.2f}"
            print(f"seed {seed}: {reported:.2f} A reported, {held}; {seconds:.0f} s")


if __name__ == "__main__":
    main()
