"""Whole sessions of an independent simulator through the default workflow, against the truth.

The sessions are those of `independent_microscope`, which shares no code with `cryoloom simulate`. Each is
processed with the default workflow and exported for RELION 5, and the exported poses, defoci and the measured
slab are compared with the truth after one rigid motion. Prints for every session

- rms over particles of the poses' errors: over all tilts, at the worst tilt, and beyond 45 degrees, with what
  was reported;
- thickness and height of the middle with their reported errors;
- error of the defocus at the origin of the poses (median and largest), and the handedness;
- what warns of it. A session is silently wrong where poses are further off than 30 A and three times what was
  reported, the slab by more than three times its error, half of the defoci by more than 1000 A or one by more
  than 3000 A, or the handedness is the other one, and no warning says so, of that quantity and of those
  tilts.

    python benchmarks/independent_scenes.py apoferritin.mrc --scenes top1500 none900 --seeds 2 5

The map should be cubic, of a particle of about 120 A, with voxels no coarser than the pixels.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import starfile
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from average_from_movies import run
from independent_microscope import IndependentScene, image_rows, write_session

Array = NDArray[np.float64]

SCENES = {
    "top1500": IndependentScene(beads="top", thickness=1500.0, defocus=40000.0),
    "both1400": IndependentScene(thickness=1400.0, tilt_axis_deg=86.0, middle=650.0),
    "none1600": IndependentScene(beads="none", thickness=1600.0, n_vesicles=8, handedness=-1),
    "none1200": IndependentScene(beads="none", handedness=-1, middle=200.0),
    "none900": IndependentScene(
        beads="none", thickness=900.0, pixel_size=2.0, n_particles=200, tilt_offset_deg=-8.0
    ),
    "below900": IndependentScene(beads="bottom", thickness=900.0, handedness=-1, middle=-60.0, n_beads=6),
    "top600": IndependentScene(beads="top", thickness=600.0, n_beads=12, middle=100.0, n_vesicles=2),
    "bent": IndependentScene(thickness=1000.0, sagitta=150.0, n_beads=14, handedness=-1),
    "few": IndependentScene(thickness=1000.0, n_beads=3, n_particles=60, n_crowd=800),
}
HIGH_DEG = 45.0
FAR_ANGSTROM, FAR_DEFOCUS_ANGSTROM, FAR_TILT_ANGSTROM = 30.0, 1000.0, 3000.0
DOUBTS = {
    "poses": ("disagree", "hold the series together"),
    "slab": ("the thickness is known to", "the middle of the specimen was not found"),
    "defocus": ("only gold shows Thon rings", "the measured defocus is taken to be that of z = 0"),
    "hand": ("the handedness is inconclusive",),
}
NAMED_TILTS = re.compile(r"(?:the defocus of tilts|tilts) \[([\d, ]*)\](?: is| show no Thon rings)")
KNOWN_TO = re.compile(r"all images show together, known to (\d+) A")
"""What counts as reported: a warning of another quantity, or of other tilts, does not."""


@dataclass(frozen=True)
class Exported:
    """Geometry and defocus of a series as exported for RELION 5, in the order of its tilts."""

    nominal_deg: Array
    matrices: Array
    shift_xy: Array
    defocus: Array
    hand: float

    @classmethod
    def read(cls, folder: Path) -> Exported:
        """From the star files of an export of one series."""
        frames = _frames(starfile.read(path) for path in sorted(folder.rglob("*.star")))
        tomogram = next(table for table in frames if "rlnTomoHand" in table)
        tilts = next(table for table in frames if "rlnTomoYTilt" in table)
        angles = tilts[["rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot"]].to_numpy()
        return cls(
            tilts["rlnTomoNominalStageTiltAngle"].to_numpy(),
            Rotation.from_euler("xyz", angles, degrees=True).as_matrix(),  # Rz Ry Rx
            tilts[["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]].to_numpy(),
            tilts[["rlnDefocusU", "rlnDefocusV"]].mean(axis=1).to_numpy()
            if "rlnDefocusU" in tilts
            else np.full(len(tilts), np.nan),
            float(tomogram["rlnTomoHand"].iloc[0]),
        )

    def project(self, points: Array) -> Array:
        """Positions ``(tilt, n, 2)`` of points ``(n, 3)`` in the images."""
        return np.einsum("vij,pj->vpi", self.matrices[:, :2], points) + self.shift_xy[:, None]


@dataclass(frozen=True)
class Compared:
    """Differences from the truth: of poses ``(tilt,)``, of defoci ``(tilt,)``, and the frame of the poses.

    turn, move : take points of the truth to the frame of the export. acquired : index in time of each tilt.
    """

    acquired: Array
    pose_rms: Array
    defocus: Array
    turn: Array
    move: Array


def _frames(tables: Iterable[Any]) -> list[pd.DataFrame]:
    return [frame for t in tables for frame in (t.values() if isinstance(t, dict) else [t])]


def compare(found: Exported, truth: dict[str, Any]) -> Compared:
    """One rigid motion is fitted; the opposite direction of the tilt axis is another such motion."""
    scene = IndependentScene(**truth["scene"])
    points = np.array(truth["positions"])
    points = points[(np.abs(points[:, :2]) < scene.field / 2).all(axis=1)]
    nominal = np.array([tilt["nominal"] for tilt in truth["tilts"]])
    which = np.abs(found.nominal_deg[:, None] - nominal).argmin(axis=1)
    tilts = [truth["tilts"][i] for i in which]
    rows = np.array([image_rows(tilt["tilt"], scene.tilt_axis_deg) for tilt in tilts])
    shift = np.array([tilt["shift"] for tilt in tilts])
    true = np.einsum("vij,pj->vpi", rows[:, :2], points) + shift[:, None]

    def misses(motion: Array, first: Array) -> Array:
        moved = points @ (Rotation.from_rotvec(motion[:3]).as_matrix() @ first).T + 100 * motion[3:]
        return found.project(moved) - true

    fits = []
    for first in (np.eye(3), np.diag([-1.0, -1.0, 1.0])):
        fit = least_squares(
            lambda motion, first=first: misses(motion, first).ravel(),
            np.zeros(6),
            loss="soft_l1",
            f_scale=10.0,
        )
        fits.append((fit.cost, fit.x, first))
    _, motion, first = min(fits, key=lambda fit: fit[0])
    turn, move = Rotation.from_rotvec(motion[:3]).as_matrix() @ first, 100 * motion[3:]
    origin = -turn.T @ move
    depth = rows[:, 2] @ origin
    true_defocus = np.array([tilt["defocus"] for tilt in tilts]) - scene.handedness * depth
    rms = np.sqrt((misses(motion, first) ** 2).sum(axis=2).mean(axis=1))
    return Compared(which, rms, found.defocus - true_defocus, turn, move)


def results_of(project: Path) -> tuple[dict[str, float], list[str]]:
    """Figures of the last run of each step, and all warnings."""
    figures: dict[str, float] = {}
    warnings: list[str] = []
    for line in run("results", "-p", project, "--json").splitlines():
        if line.startswith("{"):
            one = json.loads(line)
            figures |= one.get("figures", {})
            warnings += [f"{one['step']}: {text}" for text in one.get("warnings", [])]
    return figures, warnings


def report(name: str, truth: dict[str, Any], folder: Path, seconds: float) -> None:
    """Print the comparison of one processed session."""
    scene = IndependentScene(**truth["scene"])
    figures, warnings = results_of(folder / "P")
    print(f"{name}: {seconds:.0f} s", flush=True)
    try:
        run("export", "-p", folder / "P", "--format", "relion5", "--to", folder / "relion")
    except SystemExit as failed:
        print(f"  not exported: {failed}")
        return
    found = Exported.read(folder / "relion")
    at = compare(found, truth)
    high = np.abs(found.nominal_deg) > HIGH_DEG
    rms, reported = float(np.sqrt(np.mean(at.pose_rms**2))), figures.get("pose_error_angstrom", np.nan)
    thick, thick_error = (figures.get(f"thickness{part}_angstrom", np.nan) for part in ("", "_error"))
    # Poses carry the defocus of their origin; with centre_specimen it is the middle of the ice.
    middle = float((at.turn @ [0.0, 0.0, scene.middle] + at.move)[2])
    middle_error = figures.get("middle_error_angstrom", np.nan)
    off = np.abs(at.defocus)
    ends = float(np.sqrt(np.mean(at.pose_rms[high] ** 2)))
    print(
        f"  {len(found.nominal_deg)} of {len(truth['tilts'])} tilts, {figures.get('n_tracks', 0):.0f} "
        f"tracks; poses {rms:.1f} A ({at.pose_rms.max():.1f} at most, {ends:.1f} beyond {HIGH_DEG:.0f} deg), "
        f"reported {reported:.1f} A\n"
        f"  thickness {scene.thickness:.0f} A, found {thick:.0f} +- {thick_error:.0f}; middle at "
        f"{middle:.0f} +- {middle_error:.0f} A; defocus at the origin {np.nanmedian(off):.0f} A "
        f"({np.nanmax(off, initial=0):.0f} at most); hand {-found.hand:+.0f} for {scene.handedness:+d}"
    )
    for text in warnings:
        print(f"  warning: {text[:200]}")
    faults = {
        "poses": rms > max(FAR_ANGSTROM, 3 * reported),
        "slab": abs(thick - scene.thickness) > 3 * thick_error,
        "defocus": np.nanmedian(off) > FAR_DEFOCUS_ANGSTROM or np.nanmax(off, initial=0) > FAR_TILT_ANGSTROM,
        "hand": -found.hand != scene.handedness,
    }
    for fault in (name for name, is_so in faults.items() if is_so):
        is_reported = any(doubt in text for doubt in DOUBTS[fault] for text in warnings)
        if fault == "defocus":
            far = set(at.acquired[off > min(FAR_TILT_ANGSTROM, np.nanmax(off))].tolist())
            is_reported |= far <= _doubted_tilts(warnings) or np.nanmax(off) < 3 * _known_to(warnings)
        print(f"  {'wrong, and reported' if is_reported else 'SILENTLY WRONG'}: {fault}", flush=True)


def _doubted_tilts(warnings: list[str]) -> set[int]:
    """Tilts whose defocus warnings name."""
    named = [match[1] for text in warnings for match in NAMED_TILTS.finditer(text)]
    return {int(number) for numbers in named for number in numbers.split(",") if number.strip()}


def _known_to(warnings: list[str]) -> float:
    """Error of a tilt's defocus where single images show no rings, 0 where nothing says so."""
    return max((float(match[1]) for text in warnings for match in KNOWN_TO.finditer(text)), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("map", type=Path, help="MRC map of the particle")
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--set", nargs="+", default=[], help="other settings of the scenes, name=value")
    parser.add_argument("--keep", type=Path, help="folder that keeps the projects, without movies")
    asked = parser.parse_args()
    words = [word.split("=", 1) for word in asked.set]
    for name in asked.scenes:
        kinds = {key: type(getattr(SCENES[name], key)) for key, _ in words}
        scene = replace(SCENES[name], **{key: kinds[key](value) for key, value in words})
        for seed in asked.seeds:
            with tempfile.TemporaryDirectory() as made:
                folder = Path(made) if asked.keep is None else asked.keep / f"{name}_{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                truth = write_session(scene, seed, asked.map, folder / "raw")
                begun = time.perf_counter()
                run("process", folder / "raw", "-p", folder / "P")
                report(f"{name} {seed}", truth, folder, time.perf_counter() - begun)
                shutil.rmtree(folder / "raw")


if __name__ == "__main__":
    main()
