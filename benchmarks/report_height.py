"""Does the report show its xy slice in the specimen? Height from the voxels alone, on series of known truth.

Poses and CTFs are the true ones; the ice differs in thickness, height, pretilt and beads. The height is found
without slab and tracks, which is its last resort: in tomograms as `reconstruct` makes them, with
the CTF corrected at every depth, deconvolved and, with --denoise, denoised. Beside it the section whose
blocks vary most, which was shown before. A height counts as inside within half the thickness of the middle.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoloom.model import Tomogram
from cryoloom.steps.deconvolve import DeconvolveParams, deconvolve
from cryoloom.steps.denoise import DenoiseParams, denoise
from cryoloom.steps.reconstruct import ReconstructParams, reconstruct
from cryoloom.views.images import central_slices
from slab_accuracy import CASES, simulated

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

SLICE_ANGSTROM = 80.0


def most_varied_angstrom(tomogram: Tomogram) -> float:
    """Height of the section whose blocks of 80 angstrom vary most, smoothed over 300: as before."""
    volume, voxel = np.asarray(tomogram.volume), tomogram.voxel_size_angstrom
    block = max(1, round(80.0 / voxel))
    n_z, n_y, n_x = volume.shape
    inner = volume[:, n_y // 8 : n_y - n_y // 8, n_x // 8 : n_x - n_x // 8]
    rows, columns = (n // block for n in inner.shape[1:])
    blocks = inner[:, : rows * block, : columns * block].reshape(n_z, rows, block, columns, block)
    low, high = np.percentile(blocks.mean(axis=(2, 4)).reshape(n_z, -1), [3, 97], axis=1)
    wide = max(1, round(300.0 / voxel))
    return float(np.argmax(np.convolve(high - low, np.ones(wide) / wide, "same")) - n_z // 2) * voxel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))))
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--voxel", type=float, default=16.0)
    parser.add_argument("--denoise", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cryoloom-slab")
    arguments = parser.parse_args()
    print("thickness beads pretilt  truth  tomogram        found before")
    inside: dict[str, list[bool]] = {"found": [], "before": []}
    for number in arguments.cases:
        thickness, height, _, pretilt_y, n_beads, _ = CASES[number]
        series, truth = simulated(1, number, arguments.side, arguments.cache)
        series = truth.with_true_ctfs(series)
        hand = replace(series.handedness, applied=1.0)
        params = {"voxel_size_angstrom": arguments.voxel, "thickness_angstrom": 4500.0, "multiscale": False}
        made = {
            name: reconstruct(
                replace(series, handedness=hand), ReconstructParams(**params, **more), MemoryContext()
            )
            for name, more in (
                ("plain", {"halves_by": "tilts"}),
                ("3D-CTF", {"ctf_correction": "phase_flip", "halves": False}),
            )
        }
        made["deconvolved"] = deconvolve(made["plain"], DeconvolveParams(), MemoryContext())
        if arguments.denoise:
            quick = DenoiseParams(epochs=6, steps_per_epoch=20, learning_rate=5e-3)
            made["denoised"] = denoise(made["plain"], quick, MemoryContext())
        for name, tomogram in made.items():
            found = central_slices(tomogram.volume, tomogram.voxel_size_angstrom, SLICE_ANGSTROM)
            before = most_varied_angstrom(tomogram)
            inside["found"].append(abs(found.height_angstrom - height) < thickness / 2)
            inside["before"].append(abs(before - height) < thickness / 2)
            print(
                f"{thickness:9.0f} {n_beads:5d} {pretilt_y:7.1f} {height:6.0f}  {name:<14} "
                f"{found.height_angstrom:6.0f}{' ' if inside['found'][-1] else '!'}"
                f"{before:6.0f}{' ' if inside['before'][-1] else '!'}",
                flush=True,
            )
    for name, flags in inside.items():
        print(f"{name}: inside the specimen in {sum(flags)} of {len(flags)}")


if __name__ == "__main__":
    main()
