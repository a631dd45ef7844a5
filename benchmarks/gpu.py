"""Every kernel that dominates, on a GPU: seconds, bytes and operations a second, and parts of the peak.

The peaks are measured on the same device: a copy of a large array, and a product of large float32 matrices.
Bytes are those that must cross the memory once, operations those of the algorithm: so a kernel that reads an
image again and again from the cache may reach more operations than its bytes allow. One table is printed.

``benchmarks/gpu.sh`` runs it with the tests on a bare machine. ``--device cpu --size 256`` only shows that it
runs.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.series.aligned_images import spline_image
from cryoloom.algorithms.series.derived_pixels import DoseWeighted
from cryoloom.algorithms.series.low_frequencies import low_frequencies
from cryoloom.kernels.projection.backproject import STRIP_ROWS, back_project
from cryoloom.kernels.projection.forward_project import forward_project
from cryoloom.kernels.projection.project import add_back_projection, project
from cryoloom.kernels.slices.fourier_slices import cube_shape, insert_slices, take_slices

N_TILTS, N_FRAMES = 41, 8


@dataclass(frozen=True)
class Work:
    """One kernel with its data on the device."""

    name: str
    run: Callable[[], object]
    n_bytes: float
    n_flop: float


def seconds_of(run: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Median after a first run, which compiles."""

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    found = []
    for _ in range(repeats + 1):
        finish()
        clock = time.perf_counter()
        run()
        finish()
        found.append(time.perf_counter() - clock)
    return statistics.median(found[1:])


def peaks(device: str, size: int) -> tuple[float, float]:
    """Bytes and operations a second that this device reaches."""
    array = torch.empty(size * size * 16, device=device)
    target = torch.empty_like(array)
    copied = 2 * 4 * array.numel() / seconds_of(lambda: target.copy_(array), device)
    a = torch.randn((size * 2, size * 2), device=device)
    return copied, 2 * (2 * size) ** 3 / seconds_of(lambda: a @ a, device)


def transform_flop(n_pixels: float) -> float:
    """Operations of a transform of real values: 2.5 n log2 n."""
    return 2.5 * n_pixels * math.log2(n_pixels)


def works(device: str, size: int) -> Iterator[Work]:
    """All kernels at a camera's size: images of ``2 size`` by ``2.8 size``, strips of ``size`` columns."""
    rng = torch.Generator().manual_seed(1)
    n_y, n_x = 2 * size, round(2.8 * size)
    image = torch.randn((n_y, n_x), generator=rng) + 5
    frames = torch.poisson(torch.full((N_FRAMES, n_y, n_x), 1.0), generator=rng).to(device)
    pixels = float(n_y * n_x)
    yield Work(
        f"transforms of {N_FRAMES} frames",
        lambda: torch.fft.rfft2(frames),
        N_FRAMES * pixels * 8,
        N_FRAMES * transform_flop(pixels),
    )
    stack = DoseWeighted(image.numpy()[None], ((0.0, 3.0),), "mean", 300.0, 1.35)
    small = (2 * (n_y // 8), 2 * (n_x // 8))
    scratch = ScratchBuffers()
    yield Work(
        "weighted image, binned 4 times, from the host",
        lambda: low_frequencies(stack, 0, small, scratch, device=device),
        pixels * 4,
        transform_flop(pixels),
    )
    on_device = image.to(device)
    band = SpectrumBand(1 / 35, 1 / 5)
    yield Work(
        "spectra of tiles",
        lambda: tile_spectra(on_device, 1.35, band, 700.0),
        pixels * 4,
        1.3 * transform_flop(pixels),
    )
    yield Work(
        "splines of an image, binned 4 times",
        lambda: spline_image(on_device, (4.0, 4.0)),
        pixels * 4,
        transform_flop(pixels),
    )
    yield from projections(device, size)
    yield from slices(device, size)


def projections(device: str, size: int) -> Iterator[Work]:
    """A strip of 32 rows: what a tomogram and iterations are made of."""
    n_z = max(8, size // 4)
    tilt = np.deg2rad(np.linspace(-60, 60, N_TILTS))
    per_x, per_z = np.cos(tilt), np.sin(tilt)
    n_columns = size + n_z + 4

    def rays(scale: float, middle: int) -> torch.Tensor:
        start = middle - scale * (per_x * (size // 2) + per_z * (n_z // 2))
        return torch.from_numpy(np.stack([start, scale * per_x, scale * per_z], 1).astype(np.float32))

    fine = torch.randn((N_TILTS, 2 * n_columns + 2, STRIP_ROWS)).to(device)
    strip = torch.zeros((n_z, STRIP_ROWS, size), device=device)
    columns = rays(2.0, n_columns + 1).to(device)
    updates = float(N_TILTS * n_z * size * STRIP_ROWS)
    voxels = float(n_z * size * STRIP_ROWS)
    yield Work(
        "back-projection",
        lambda: back_project(fine, columns, strip),
        4 * (fine.numel() + voxels),
        4 * updates,
    )
    volume = torch.randn((n_z, size, STRIP_ROWS)).to(device)
    volume[:, 0] = volume[:, -1] = 0
    images = torch.zeros((N_TILTS, n_columns, STRIP_ROWS), device=device)
    coarse = rays(1.0, n_columns // 2).to(device)
    scale = torch.ones((n_z, size), device=device)
    yield Work(
        "projection (SIRT)",
        lambda: project(volume, coarse, images),
        4 * (voxels + images.numel()),
        4 * updates,
    )
    yield Work(
        "its transpose (SIRT)",
        lambda: add_back_projection(images, coarse, scale, volume),
        4 * (2 * voxels + images.numel()),
        4 * updates,
    )
    # The ray of column u passes layer z at (u - u0 - z sin) / cos.
    inverse = torch.stack([-coarse[:, 0] / coarse[:, 1], 1 / coarse[:, 1], -coarse[:, 2] / coarse[:, 1]], 1)
    yield Work(
        "projection along rays",
        lambda: forward_project(volume, inverse.contiguous(), images),
        4 * (voxels + images.numel()),
        4.0 * N_TILTS * n_z * n_columns * STRIP_ROWS,
    )


def slices(device: str, size: int) -> Iterator[Work]:
    """Central slices of a map's transform, for averages."""
    highest = size // 8
    shape = cube_shape(2.0 * highest)
    cube = torch.randn((*shape, 2)).to(device)
    cube = torch.view_as_complex(cube)
    axis = torch.arange(-highest, highest + 1, dtype=torch.float32)
    samples = torch.cartesian_prod(axis[highest:], axis)
    samples = samples[samples.norm(dim=1) <= highest].contiguous().to(device)
    rotations, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(256, 3, 3)))
    frames = torch.from_numpy((2.0 * rotations[:, :2]).astype(np.float32)).contiguous().to(device)
    n_samples = float(len(frames) * len(samples))
    yield Work(
        "slices of a cube", lambda: take_slices(cube, frames, samples), 8 * n_samples * 9, 40 * n_samples
    )
    values = torch.ones((len(frames), len(samples)), dtype=torch.complex64, device=device)
    weights = torch.ones((len(frames), len(samples)), device=device)
    total, total_weight = torch.zeros_like(cube), torch.zeros(shape, device=device)
    yield Work(
        "insertion of slices",
        lambda: insert_slices(values, weights, frames, samples, total, total_weight),
        n_samples * (12 + 8 * 24),
        50 * n_samples,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--size", type=int, default=2048, help="half the shorter side of an image")
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device == "cuda" else "processor"
    memory, arithmetic = peaks(options.device, options.size)
    print(f"{name}: copies {memory / 1e9:.1f} GB/s, float32 products {arithmetic / 1e12:.2f} TFLOP/s")
    head = (
        f"| {'kernel':46} | {'ms':>9} | {'GB/s':>8} | {'of peak':>7} | {'TFLOP/s':>8} | {'of roofline':>11} |"
    )
    print(head, "-" * len(head), sep="\n")
    for work in works(options.device, options.size):
        seconds = seconds_of(work.run, options.device)
        least = max(work.n_bytes / memory, work.n_flop / arithmetic)
        print(
            f"| {work.name:46} | {1e3 * seconds:9.3f} | {work.n_bytes / seconds / 1e9:8.1f} |"
            f" {work.n_bytes / seconds / memory:7.0%} | {work.n_flop / seconds / 1e12:8.3f} |"
            f" {least / seconds:11.0%} |",
            flush=True,
        )
    if options.device == "cuda":
        print(f"memory of the device at the peak: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
