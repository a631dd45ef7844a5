"""Peak memory of `reconstruct` above what the process had before, beside what the step declares.

One image is copied whenever one is asked for and voxels are thrown away, so that only the step is measured.
What is declared is what the step would like; with less memory (--memory-gib) it works in bands.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from cryoloom.model import Ctf, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries
from cryoloom.steps.reconstruct import ReconstructParams, bytes_needed, reconstruct

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

CASES = {
    "41 x 2880 x 2046, bin 2": ((41, 2046, 2880), 2.0, 3000.0),
    "41 x 5760 x 4092, bin 4": ((41, 4092, 5760), 4.0, 3000.0),
    "41 x 5760 x 4092, bin 2": ((41, 4092, 5760), 2.0, 3000.0),
    "41 x 2880 x 2046, bin 1": ((41, 2046, 2880), 1.0, 2000.0),
    # Half an hour and more: `--memory-gib 12 --only whole`. 1500 voxels thick.
    "whole: 41 x 5760 x 4092, bin 1": ((41, 4092, 5760), 1.0, 1500 * 1.35),
}


@dataclass
class SameImage:
    """A stack whose sections are copies of one noise image."""

    image: np.ndarray
    shape: tuple[int, int, int]
    dtype: np.dtype = field(default_factory=lambda: np.dtype("float32"))

    def __getitem__(self, index):
        return self.image.copy()


@dataclass
class Nowhere:
    """A sink that only checks its voxels."""

    shape: tuple[int, ...]
    dtype: np.dtype = field(default_factory=lambda: np.dtype("float32"))

    def __setitem__(self, index, values):
        if not np.isfinite(values).all():
            raise ValueError("not finite")

    def __getitem__(self, index):
        raise NotImplementedError


class NoVoxels(MemoryContext):
    """A context that keeps no voxels."""

    def new_pixels(
        self, role, shape, pixel_size_angstrom, *, kind="stack", dtype="float32", multiscale=False
    ):
        """Throw away what is written."""
        return Nowhere(shape)


def measure(shape, binning, thickness, memory_gib, chosen, answer) -> None:
    pixel = 1.35
    image = np.random.default_rng(1).standard_normal(shape[1:], dtype=np.float32) + 10
    tilts = tuple(
        Tilt(i, float(angle), 0, 3, section=i, pose=Pose(85.0, float(angle)), ctf=Ctf(35000.0, 34500.0, 10.0))
        for i, angle in enumerate(np.linspace(-60, 60, shape[0]))
    )
    series = TiltSeries(
        "TS",
        Microscope(),
        pixel,
        tilts,
        stack=Stack(SameImage(image, shape), pixel),
        handedness=Sourced.from_told(1, "test"),
    )
    params = ReconstructParams(
        binning=binning, thickness_angstrom=thickness, halves=False, multiscale=False, **chosen
    )
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    reconstruct(series, params, NoVoxels(memory_bytes=int(memory_gib * 2**30)))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer.put((bytes_needed(series, params), peak - before, peak, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory-gib", type=float, default=8.0)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--method", default="wbp")
    parser.add_argument("--ctf-correction", default="none")
    options = parser.parse_args()
    chosen = {"method": options.method, "ctf_correction": options.ctf_correction, "iterations": 2}
    spawn = multiprocessing.get_context("spawn")
    print(
        f"{'case':<32} {'declared (GB)':>13} {'measured':>9} {'share':>6} {'process (GB)':>12} {'seconds':>8}"
    )
    for name, (shape, binning, thickness) in CASES.items():
        if options.only not in name or (name.startswith("whole") and not options.only):
            continue
        answer = spawn.Queue()
        arguments = (shape, binning, thickness, options.memory_gib, chosen, answer)
        process = spawn.Process(target=measure, args=arguments)
        process.start()
        declared, measured, whole, seconds = answer.get()
        process.join()
        share = measured / declared
        print(
            f"{name:<32} {declared / 1e9:>13.2f} {measured / 1e9:>9.2f} {share:>6.0%} {whole / 1e9:>12.2f} "
            f"{seconds:>8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
