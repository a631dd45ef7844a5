"""cryoCARE beside the native denoise, on a simulated session.

cryoCARE's three programs must be on the PATH (for example in a virtual environment of their own). A session
is simulated twice from the same specimen, with its usual dose and with 25 times as much; both are processed
by the native steps. What counts is the correlation with the tomogram of the large dose, before and after.
Both networks get the same boxes, epochs and batches; cryoCARE's own default is 100 epochs of 200 batches.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom import Project
from cryoloom.engine.worker.program_finder import find_program
from cryoloom.model import Tomogram
from cryoloom.programs.denoising.cryocare_denoise import CRYOCARE
from cryoloom.simulate.session import SimulationParams, simulate_session


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments.add_argument("--size", type=int, default=384, help="pixels of a movie's side")
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--batches", type=int, default=20, help="of an epoch")
    options = arguments.parse_args()
    missing = [one.name for one in CRYOCARE if find_program(one) is None]
    if missing:
        raise SystemExit(f"not run: {', '.join(missing)} not on the PATH")
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), seed, options)


def compare(folder: Path, seed: int, options: argparse.Namespace) -> None:
    """Print the correlation with the clear tomogram of the noisy one and of both denoised ones."""
    params = SimulationParams(
        seed=seed, image_shape_yx=(options.size, options.size), pixel_size_angstrom=8.0, tilt_step_deg=4.0,
        n_frames=4,
    )  # fmt: skip
    clear = params.model_copy(update={"dose_per_tilt_per_angstrom2": 25 * params.dose_per_tilt_per_angstrom2})
    reference = tomogram_of(reconstructed(folder / "clear", clear), "reconstruct")
    project = reconstructed(folder / "usual", params)
    noisy = tomogram_of(project, "reconstruct")
    print(f"seed {seed}  noisy             {likeness(noisy, reference):.3f}", flush=True)
    cryocare = {"box_px": 32, "boxes": 200, "normalisation_boxes": 50, "epochs": options.epochs,
                "steps_per_epoch": options.batches, "multiscale": False}  # fmt: skip
    native = {"box_px": 32, "epochs": options.epochs, "steps_per_epoch": options.batches, "multiscale": False}
    for step, values in (("denoise", native), ("cryocare_denoise", cryocare)):
        summary = project.run(step, input="reconstruct", device="cpu", **values)
        if summary.failed:
            print(f"seed {seed}  {step:17} failed: {summary.failed[0].error}", flush=True)
            continue
        seconds = project.database.items(project.find_run(step).id)[0].seconds
        print(
            f"seed {seed}  {step:17} {likeness(tomogram_of(project, step), reference):.3f}  {seconds:.0f} s",
            flush=True,
        )


def reconstructed(folder: Path, params: SimulationParams) -> Project:
    """A project with the tomogram of a session, with halves."""
    simulate_session(params, folder / "raw")
    project = Project.create(folder / "project")
    project.run("import_movies", directory=str(folder / "raw"))
    values: dict[str, dict[str, Any]] = {
        "prepare_gain": {}, "align_frames": {}, "align_series": {},
        "reconstruct": {"binning": 4, "thickness_angstrom": 2600.0, "multiscale": False},
    }  # fmt: skip
    before = "import_movies"
    for step, given in values.items():
        summary = project.run(step, input=before, device="cpu", **given)
        if summary.failed:
            raise RuntimeError(f"{step} failed: {summary.failed[0].error}")
        before = step
    return project


def tomogram_of(project: Project, step: str) -> Tomogram:
    """The tomogram that a step made."""
    value = project.value(project.database.items(project.find_run(step).id)[0])
    if not isinstance(value, Tomogram):
        raise TypeError(f"{step} made no tomogram")
    return value


def likeness(one: Tomogram, other: Tomogram) -> float:
    """Correlation of the inner halves."""
    volumes: list[NDArray[np.float32]] = []
    for tomogram in (one, other):
        volume = np.asarray(tomogram.volume[:], np.float32)
        volumes.append(volume[tuple(slice(n // 4, n - n // 4) for n in volume.shape)])
    return float(np.corrcoef(volumes[0].ravel(), volumes[1].ravel())[0, 1])


if __name__ == "__main__":
    main()
