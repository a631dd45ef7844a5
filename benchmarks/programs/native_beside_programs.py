"""The same work by the native step and by the program itself, on one simulated session with known truth.

Programs that are installed are run through their steps, with the engine: RELION's motion correction against
align_frames (rms error of a frame's position), CTFFIND against estimate_ctf (error of the defocus), NovaCTF's
3D-CTF reconstruction against reconstruct with ctf_correction (correlation of the two tomograms about the
middle). Seconds are those of the item, reading and writing included; the first of a process also compiles
kernels.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from scipy.ndimage import shift as shifted

from cryoloom import Project
from cryoloom.contract import find_step
from cryoloom.engine.worker.program_finder import find_program
from cryoloom.model import Tomogram
from cryoloom.simulate.assess import defocus_errors_angstrom, frame_shift_errors_angstrom
from cryoloom.simulate.session import SimulationParams, simulate_session
from cryoloom.simulate.truth import Truth


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--size", type=int, default=512, help="pixels of a movie's side")
    options = arguments.parse_args()
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), seed, options.size)


def compare(folder: Path, seed: int, size: int) -> None:
    """Print one line for each step that could be run."""
    params = SimulationParams(
        seed=seed, image_shape_yx=(size, size), pixel_size_angstrom=4.0, tilt_step_deg=6.0, n_frames=6
    )
    truth = simulate_session(params, folder / "raw")
    project = Project.create(folder / "project")
    project.process(folder / "raw", workflow="facility", device="cpu", parameters={"align_frames": {}})
    report(project, "align_frames", "prepare_gain", truth, seed)
    report(project, "relion_align_frames", "prepare_gain", truth, seed)
    report(project, "estimate_ctf", "align_frames", truth, seed)
    report(project, "ctffind_estimate_ctf", "align_frames", truth, seed)
    project.run("apply_alignment", input="align_series", device="cpu", binning=4.0)
    for step, values in (
        ("reconstruct", {"binning": 1.0, "ctf_correction": "phase_flip", "cutoff_per_px": 0.3,
                         "thickness_angstrom": 2000.0, "multiscale": False}),
        ("novactf_reconstruct", {"thickness_angstrom": 2000.0, "multiscale": False}),
    ):  # fmt: skip
        report(project, step, "apply_alignment", truth, seed, **values)
    runs = [run.node for run in project.database.runs()]
    if "novactf_reconstruct" in runs:
        volumes = [tomogram_of(project, step) for step in ("reconstruct", "novactf_reconstruct")]
        print(f"seed {seed}  correlation of the tomograms {correlation(*volumes):.3f}")


def report(project: Project, step: str, source: str, truth: Truth, seed: int, **values: object) -> None:
    """Run a step and print what it took; say so where its program is not installed."""
    missing = [program.name for program in find_step(step).programs if find_program(program) is None]
    if missing:
        print(f"seed {seed}  {step:22} not run: {', '.join(missing)} not installed")
        return
    summary = project.run(step, input=source, device="cpu", **values)
    if summary.failed:
        print(f"seed {seed}  {step:22} failed: {summary.failed[0].error}")
        return
    item = project.database.items(project.find_run(step).id)[0]
    value, seconds = project.value(item), item.seconds
    if isinstance(value, Tomogram):
        print(f"seed {seed}  {step:22} {seconds:6.1f} s  {value.volume.shape}")
        return
    if any(tilt.ctf is not None for tilt in value.tilts):
        off = np.abs(list(defocus_errors_angstrom(truth, value).values()))
        print(
            f"seed {seed}  {step:22} {seconds:6.1f} s  defocus off by {np.median(off):.0f} A (median tilt), "
            f"{off.max():.0f} A (worst)"
        )
        return
    errors = list(frame_shift_errors_angstrom(truth, value).values())
    print(
        f"seed {seed}  {step:22} {seconds:6.1f} s  frame position off by {np.median(errors):.2f} A rms "
        f"(median tilt), {max(errors):.2f} A (worst)"
    )


def tomogram_of(project: Project, step: str) -> Tomogram:
    """The tomogram that a step made."""
    value = project.value(project.database.items(project.find_run(step).id)[0])
    if not isinstance(value, Tomogram):
        raise TypeError(f"{step} made no tomogram")
    return value


def correlation(native: Tomogram, other: Tomogram) -> float:
    """Of the middles, with the other volume moved by the half voxel that its poses say."""
    a, b = (np.asarray(tomogram.volume[:], dtype=np.float32) for tomogram in (native, other))
    # Index n // 2 of the other lies half a voxel further along every axis of even size.
    b = shifted(b, [0.5 if n % 2 == 0 else 0.0 for n in b.shape], order=1)
    margin = [n // 4 for n in a.shape]
    inner = tuple(slice(m, n - m) for m, n in zip(margin, a.shape, strict=True))
    if a.shape != b.shape:
        raise ValueError(f"the tomograms have the shapes {a.shape} and {b.shape}")
    return float(np.corrcoef(a[inner].ravel(), b[inner].ravel())[0, 1])


if __name__ == "__main__":
    main()
