"""Seconds for the CTF of a series of 41 images of 5760 x 4092 pixels of 1.35 A, beside its bare FFTs.

    python benchmarks/ctf_speed.py [--threads 2] [--tilts 41] [--size 4092 5760]

Images are in memory: five tilted films at 0 to 60 degrees, in turn. The floor is one forward transform of
every image, which any method needs that looks at whole images once.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.series_model import defocus_slope
from cryoloom.model import Microscope, Sourced, Stack, Tilt, TiltSeries
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

PIXEL_ANGSTROM = 1.35
DEFOCUS_ANGSTROM = 30000.0
TILTS_DEG = (0.0, 15.0, 30.0, 45.0, 60.0)


@dataclass(frozen=True)
class RepeatedImages:
    """A stack whose section ``i`` is the film of its tilt, as a copy, as a file would give it."""

    films: list[NDArray[np.float32]]
    n_tilts: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Sections and image shape."""
        return (self.n_tilts, *self.films[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of the films."""
        return self.films[0].dtype

    def __getitem__(self, section: Any) -> NDArray[np.float32]:
        return self.films[int(section) % len(self.films)].copy()


def film(rng: np.random.Generator, shape_yx: tuple[int, int], tilt_deg: float) -> NDArray[np.float32]:
    """White scattering seen with a defocus that changes along x in steps of 500 A: good enough to fit."""
    n_y, n_x = shape_yx
    microscope = Microscope()
    k2 = np.fft.fftfreq(n_y, PIXEL_ANGSTROM)[:, None] ** 2 + np.fft.rfftfreq(n_x, PIXEL_ANGSTROM) ** 2
    slope = defocus_slope(0.0, tilt_deg, 0.0, 1)[0]
    local = DEFOCUS_ANGSTROM + slope * (np.arange(n_x) - n_x // 2) * PIXEL_ANGSTROM
    noise = torch.fft.rfft2(torch.as_tensor(rng.standard_normal(shape_yx, dtype=np.float32) * 0.2))
    wavelength = microscope.wavelength_angstrom
    image = np.empty(shape_yx, np.float32)
    node = np.round(local / 500.0) * 500.0
    for value in np.unique(node):
        chi = np.pi * wavelength * value * k2 - 0.5 * np.pi * 2.7e7 * wavelength**3 * k2**2
        phase = torch.fft.irfft2(noise * torch.as_tensor(np.sin(chi + 0.1).astype(np.float32)), s=shape_yx)
        image[:, node == value] = phase.numpy()[:, node == value]
    return rng.poisson(5.0 * np.clip(1 - 2 * image, 0, None)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tilts", type=int, default=41)
    parser.add_argument("--size", type=int, nargs=2, default=[4092, 5760], metavar=("Y", "X"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = (arguments.size[0], arguments.size[1])
    rng = np.random.default_rng(1)
    films = [film(rng, shape, tilt_deg) for tilt_deg in TILTS_DEG]
    # Neighbours in tilt are 0.2 degrees apart, so that each has a name of its own.
    tilts = tuple(
        Tilt(i, TILTS_DEG[i % 5] + 0.02 * (i // 5), 3.0 * i, 3.0 * i + 3.0, section=i)
        for i in range(arguments.tilts)
    )
    series = TiltSeries(
        "speed",
        Microscope(),
        PIXEL_ANGSTROM,
        tuple(sorted(tilts, key=lambda tilt: tilt.nominal_tilt_deg)),
        tilt_axis_deg=Sourced.from_told(0.0, "user"),
        stack=Stack(RepeatedImages(films, arguments.tilts), PIXEL_ANGSTROM),
    )
    floor = bare_transforms(series)
    context = MemoryContext(n_threads=arguments.threads)
    start, cpu = time.perf_counter(), time.process_time()
    found = estimate_ctf(series, EstimateCtfParams(), context)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    errors = [t.ctf.defocus_angstrom - DEFOCUS_ANGSTROM for t in found.tilts if t.ctf is not None]
    floor = min(floor, bare_transforms(series))
    print(f"{arguments.tilts} images of {shape[1]} x {shape[0]}, {arguments.threads} threads")
    print(f"bare FFT of every image  {floor:7.1f} s")
    print(f"estimate_ctf             {seconds:7.1f} s, {cpu_seconds:.1f} s of processor time")
    print(f"defocus error, median    {np.median(np.abs(errors)):7.0f} A")


def bare_transforms(series: TiltSeries) -> float:
    start = time.perf_counter()
    for tilt in series.tilts:
        torch.fft.rfft2(torch.as_tensor(series.unweighted_stack.images[tilt.section or 0]))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
