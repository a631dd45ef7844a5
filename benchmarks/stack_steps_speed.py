"""Seconds of select_tilts, erase_xrays and weight_dose on a stack of 5760 x 4092, beside a bare copy of it.

The stack is noise with a few X-rays, in MRC files like those of a project. The floor is what it costs to read
every byte the step must read and to write every byte it must write, through the same files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cryoloom.engine.worker.context import EngineContext
from cryoloom.formats.pixels.mrc import MrcSink
from cryoloom.model import Microscope, Stack, Tilt, TiltSeries
from cryoloom.steps.erase_xrays import EraseXraysParams, erase_xrays
from cryoloom.steps.select_tilts import SelectTiltsParams, select_tilts
from cryoloom.steps.weight_dose import WeightDoseParams, weight_dose

PIXEL_ANGSTROM = 1.35


def make_stack(folder: Path, shape: tuple[int, int, int], *, halves: bool) -> Stack:
    """Poisson noise on a fixed texture, with X-rays."""
    rng = np.random.default_rng(3)
    half = rng.poisson(11.0, shape[1:]).astype(np.float32)
    roles = ("images", "even", "odd") if halves else ("images",)
    sinks = {role: MrcSink(folder / f"{role}.mrc", shape, PIXEL_ANGSTROM) for role in roles}
    for i in range(shape[0]):
        even, odd = (np.roll(half, (97 * (i + k), 331 * (i + 2 * k)), (0, 1)) for k in (1, 2))
        even[rng.integers(0, shape[1], 20), rng.integers(0, shape[2], 20)] += 300
        for role, image in (("images", even + odd), ("even", even), ("odd", odd)):
            if role in sinks:
                sinks[role][i] = image
    found = {role: sink.commit() for role, sink in sinks.items()}
    return Stack(found["images"], PIXEL_ANGSTROM, found.get("even"), found.get("odd"))


def copy(stack: Stack, folder: Path, *, write: bool) -> None:
    """Read every section of every role, and write it where asked to."""
    for role, pixels in stack.present.items():
        if not write and role != "images":
            continue
        sink = MrcSink(folder / f"copy_{role}.mrc", pixels.shape, PIXEL_ANGSTROM) if write else None
        for i in range(pixels.shape[0]):
            image = pixels[i]
            if sink is not None:
                sink[i] = image
        if sink is not None:
            sink.commit()


def timed(name: str, work: Callable[[], object], floor: float | None = None) -> float:
    """Run, print and give the seconds."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
    beside = f"   {seconds / floor:4.1f} times the floor" if floor else ""
    print(f"{name:34s} {seconds:7.1f} s   processor {cpu:7.1f} s{beside}", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="scratch folder; 41 tilts with halves need 24 GB twice")
    parser.add_argument("--tilts", type=int, default=41)
    parser.add_argument("--shape", type=int, nargs=2, default=[4092, 5760])
    parser.add_argument("--halves", action="store_true", help="even and odd images as well")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cryoloom-speed-", dir=arguments.folder))
    try:
        shape = (arguments.tilts, *arguments.shape)
        stack = make_stack(folder, shape, halves=arguments.halves)
        angles = np.linspace(-60, 60, arguments.tilts)
        tilts = tuple(Tilt(i, float(t), 3.0 * i, 3.0 * i + 3, section=i) for i, t in enumerate(angles))
        series = TiltSeries("TS", Microscope(), PIXEL_ANGSTROM, tilts, stack=stack)
        size = sum(pixels.shape[0] for pixels in stack.present.values()) * shape[1] * shape[2] * 4 / 1e9
        print(f"{shape[0]} tilts of {shape[2]} x {shape[1]}, {size:.1f} GB")

        def context() -> EngineContext:
            return EngineContext(folder, folder / "out", "cpu", 2, 4 << 30, 1)

        def writing(step: Callable, params: object) -> Callable[[], None]:
            def run() -> None:
                one = context()
                step(series, params, one)
                one.commit()
                shutil.rmtree(folder / "out")

            return run

        warm = TiltSeries("w", Microscope(), 4.0, tilts[:6], stack=Stack(stack.images[:6, :256, :256], 4.0))
        for step, params in ((erase_xrays, EraseXraysParams()), (weight_dose, WeightDoseParams())):
            step(warm, params, context())
        select_tilts(warm, SelectTiltsParams(), context())
        read = timed("floor: read the images", lambda: copy(stack, folder, write=False))
        both = timed("floor: read and write everything", lambda: copy(stack, folder, write=True))
        for path in folder.glob("copy_*"):
            path.unlink()
        timed("select_tilts", lambda: select_tilts(series, SelectTiltsParams(), context()), read)
        timed("erase_xrays", writing(erase_xrays, EraseXraysParams()), both)
        timed("weight_dose", writing(weight_dose, WeightDoseParams()), both)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
