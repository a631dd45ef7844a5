"""What 16-bit sums and tomograms lose: CTF, poses and half correlations of the same movies, stored both ways.

For every seed a session is simulated and processed twice, with float16 and with float32. Printed are the
largest differences of what is measured, beside the spread of the same over the seeds, and the Fourier shell
correlation of the two tomograms in their last shell.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from cryoloom.algorithms.images.half_correlation import shell_correlation
from cryoloom.engine.history.results import final_items
from cryoloom.engine.project import Project
from cryoloom.model import Tomogram
from cryoloom.simulate.session import SimulationParams, simulate_session

STEPS = ("align_frames", "reconstruct")


def processed(raw: Path, folder: Path, dtype: str) -> tuple[Tomogram, dict[str, float], int]:
    """The tomogram, all figures, and the bytes of the project's files."""
    project = Project.create(folder)
    parameters = {step: {"dtype": dtype} for step in STEPS}
    parameters["reconstruct"]["voxel_size_angstrom"] = "16"
    parameters["align_frames"]["finest_angstrom"] = "15"
    summary = project.process(raw, parameters=parameters)
    if summary.failed:
        raise SystemExit(f"processing failed: {summary.failed[0].error}")
    figures: dict[str, float] = {}
    n_bytes = 0
    for item in project.database.items(with_values=False):
        figures |= item.figures
        n_bytes += sum(file.bytes for file in item.files)
    (item,) = final_items(project.database)
    tomogram = project.value(item)
    assert isinstance(tomogram, Tomogram)  # noqa: S101
    return tomogram, figures, n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--tilt-step", type=float, default=6.0)
    options = parser.parse_args()
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            params = SimulationParams(
                seed=seed,
                tilt_step_deg=options.tilt_step,
                image_shape_yx=(options.pixels, options.pixels),
                pixel_size_angstrom=4.0,
                n_frames=6,
                n_beads=10,
            )
            simulate_session(params, folder / "raw")
            made = {
                dtype: processed(folder / "raw", folder / dtype, dtype) for dtype in ("float32", "float16")
            }
            compare(seed, made)


def compare(seed: int, made: dict[str, tuple[Tomogram, dict[str, float], int]]) -> None:
    """Print the differences."""
    (full, figures, n_bytes), (half, its, its_bytes) = made["float32"], made["float16"]
    defocus = [
        np.array([t.ctf.defocus_angstrom for t in one.series.tilts if t.ctf is not None])
        for one in (full, half)
    ]
    shifts = [
        np.array([t.pose.shift_xy_angstrom for t in one.series.tilts if t.pose is not None])
        for one in (full, half)
    ]
    boxes = [torch.from_numpy(np.asarray(one.volume[...], np.float32)) for one in (full, half)]
    _, correlation = shell_correlation(*boxes)
    print(f"seed {seed}: {n_bytes / 1e6:.0f} MB as float32, {its_bytes / 1e6:.0f} MB as float16")
    print(f"  defocus      largest difference {np.abs(defocus[0] - defocus[1]).max():8.3f} A")
    print(f"  pose shifts  largest difference {np.abs(shifts[0] - shifts[1]).max():8.4f} A")
    print(f"  tomograms    least shell correlation {float(correlation[correlation != 0].min()):.6f}")
    for name in sorted(figures.keys() & its.keys()):
        if figures[name] != its[name]:
            print(f"  {name:36} {figures[name]:12.6g} {its[name]:12.6g}", flush=True)


if __name__ == "__main__":
    main()
