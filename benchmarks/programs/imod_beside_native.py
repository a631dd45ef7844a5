"""IMOD's own programs beside the native steps, on the demo session with known truth.

IMOD must be on the PATH, with IMOD_DIR and AUTODOC_DIR set as its own start file sets them. Movies are
simulated and summed by align_frames; from there each step is run by both, with the engine: binning, beads and
patches (rms error of points of the specimen, their best common motion taken off), the tomogram from the same
poses (correlation about the middle), and its trimming. ``--old`` leaves out the options that are younger than
the public sources of 2014 (4.8.2).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift as shifted

from cryoloom import Project
from cryoloom.contract import find_step
from cryoloom.engine.worker.program_finder import find_program
from cryoloom.errors import CryoloomError
from cryoloom.model import TiltSeries, Tomogram
from cryoloom.simulate.assess import alignment_error_angstrom, axis_error_deg
from cryoloom.simulate.session import SimulationParams, simulate_session
from cryoloom.simulate.truth import Truth

VOLUME = {"binning": 8, "thickness_angstrom": 2000.0, "multiscale": False, "halves": False}
REGION = {"thickness_angstrom": 1200.0, "middle_xyz_angstrom": (0.0, 0.0, 40.0)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments.add_argument(
        "--size", type=int, default=1024, help="pixels of a movie's side; the demo has 1024"
    )
    arguments.add_argument("--pixel", type=float, default=4.0, help="pixel size in angstrom")
    arguments.add_argument("--step", type=float, default=3.0, help="degrees between tilts")
    arguments.add_argument("--old", action="store_true", help="IMOD of 2014")
    options = arguments.parse_args()
    for seed in options.seeds:
        params = SimulationParams(
            seed=seed, image_shape_yx=(options.size, options.size), pixel_size_angstrom=options.pixel,
            tilt_step_deg=options.step,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), params, old=options.old)


def compare(folder: Path, params: SimulationParams, *, old: bool) -> None:
    """Print a line for each step and its native counterpart."""
    truth = simulate_session(params, folder / "raw")
    project = Project.create(folder / "project")
    project.run("import_movies", directory=str(folder / "raw"))
    project.run("prepare_gain", input="import_movies", device="cpu")
    project.run("align_frames", input="prepare_gain", device="cpu")
    beads: dict[str, Any] = {"bead_diameter_angstrom": 100.0, "binning": 2}
    if old:
        beads |= {"sobel_sigma": None, "lowpass_per_nm": None, "scaled_from_px": None, "local_areas": False}
    say = Report(project, truth, params.seed)
    say.series("bin_series", "align_frames", {"binning": 4.0})
    say.series("imod_bin_series", "align_frames", {"binning": 4})
    say.images("bin_series", "imod_bin_series")
    say.series("erase_xrays", "align_frames", {})
    say.series("imod_erase_xrays", "align_frames", {})
    say.images("erase_xrays", "imod_erase_xrays")
    say.series("align_series", "erase_xrays", {})
    say.series("imod_align_by_beads", "erase_xrays", beads)
    say.series("imod_align_series", "erase_xrays", {"binning": 2, "patch_angstrom": 700.0})
    say.volume("reconstruct", "align_series", VOLUME)
    say.volume("imod_reconstruct", "align_series", VOLUME | ({"falloff_is_sigma": False} if old else {}))
    say.volumes("reconstruct", "imod_reconstruct")
    say.volume("trim_tomogram", "reconstruct", REGION)
    say.volume("imod_trim_tomogram", "reconstruct", REGION)
    say.volumes("trim_tomogram", "imod_trim_tomogram")


class Report:
    """Runs steps of one project and prints how they did."""

    def __init__(self, project: Project, truth: Truth, seed: int) -> None:
        """Of a project whose only series has this truth."""
        self.project, self.truth, self.seed = project, truth, seed
        rng = np.random.default_rng(0)
        self.points = rng.uniform((-1500, -1500, -400), (1500, 1500, 400), (100, 3))

    def line(self, name: str, text: str) -> None:
        """One result."""
        print(f"seed {self.seed}  {name:40} {text}", flush=True)

    def run(self, step: str, source: str, values: Mapping[str, Any]) -> object | None:
        """Value that a step gives; says why where there is none."""
        missing = [one.name for one in find_step(step).programs if find_program(one) is None]
        if missing:
            self.line(step, f"not run: {', '.join(missing)} not installed")
            return None
        try:
            summary = self.project.run(step, input=source, device="cpu", **values)
        except CryoloomError as error:
            self.line(step, f"not run: {error}")
            return None
        if summary.failed:
            self.line(step, f"failed: {summary.failed[0].error}")
            return None
        item = self.project.database.items(self.project.find_run(step).id)[0]
        self.line(step, f"{item.seconds:6.1f} s")
        return self.project.value(item)

    def series(self, step: str, source: str, values: Mapping[str, Any]) -> None:
        """Run a step that gives a series; of an alignment print the error."""
        value = self.run(step, source, values)
        if isinstance(value, TiltSeries) and any(tilt.pose is not None for tilt in value.tilts):
            error = alignment_error_angstrom(self.truth, value, self.points).rms_angstrom
            pixel = value.unweighted_stack.pixel_size_angstrom
            turned = axis_error_deg(self.truth, value)
            self.line(
                step, f"points off by {error:.2f} A rms ({error / pixel:.2f} px), axis by {turned:.2f} deg"
            )

    def volume(self, step: str, source: str, values: Mapping[str, Any]) -> None:
        """Run a step that gives a tomogram."""
        self.run(step, source, values)

    def found(self, step: str) -> object | None:
        """What a step made, where it was run."""
        if step not in {run.node for run in self.project.database.runs()}:
            return None
        items = self.project.database.items(self.project.find_run(step).id)
        return self.project.value(items[0]) if items and not items[0].error else None

    def images(self, native: str, program: str) -> None:
        """Correlation of images of both; those of IMOD are moved by the difference of the centres."""
        one, other = self.found(native), self.found(program)
        if not isinstance(one, TiltSeries) or not isinstance(other, TiltSeries):
            return
        a, b = (np.asarray(series.unweighted_stack.images[:], np.float32) for series in (one, other))
        # Native images keep index n // 2 of even sides; newstack keeps the middle between two pixels.
        binning = one.unweighted_stack.pixel_size_angstrom / one.pixel_size_angstrom
        moved = 0.5 * (binning - 1) / binning if a.shape[1] % 2 == 0 else 0.0
        values = [
            likeness(x, shifted(y, (moved, moved), order=3, mode="nearest"))
            for x, y in zip(a, b, strict=True)
        ]
        changed = (
            f"; {np.mean(np.abs(a - b) > 1e-3) * 1e6:.0f} of a million pixels differ" if binning == 1 else ""
        )
        self.line(f"{native} and {program}", f"correlation of images {min(values):.4f} at least{changed}")

    def volumes(self, native: str, program: str) -> None:
        """Correlation about the middle; the other volume is moved by the half voxel that its poses say."""
        one, other = self.found(native), self.found(program)
        if not isinstance(one, Tomogram) or not isinstance(other, Tomogram):
            return
        a, b = (np.asarray(tomogram.volume[:], np.float32) for tomogram in (one, other))
        if a.shape != b.shape:
            self.line(f"{native} and {program}", f"shapes {a.shape} and {b.shape}")
            return
        if np.array_equal(a, b):
            self.line(f"{native} and {program}", "the same voxels")
            return
        b = shifted(b, [0.5 if n % 2 == 0 else 0.0 for n in b.shape], order=1)
        self.line(f"{native} and {program}", f"correlation of the tomograms {likeness(a, b):.3f}")


def likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Correlation of the inner halves."""
    inner = tuple(slice(n // 4, n - n // 4) for n in a.shape)
    return float(np.corrcoef(a[inner].ravel(), b[inner].ravel())[0, 1])


if __name__ == "__main__":
    main()
