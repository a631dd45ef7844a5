"""CTF of a real micrograph: figures printed, and a picture of measured and fitted rings.

python benchmarks/ctf_micrograph.py [MICROGRAPH.mrc] [--figure FILE.png]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cryoloom.algorithms.ctf.phase import directional_defocus
from cryoloom.algorithms.ctf.transfer import ctf_2d
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Ctf, Microscope, Stack, Tilt, TiltSeries
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "micrographs" / "fei-extended.mrc"
EDGE = 640


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("micrograph", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--figure", type=Path, default=Path("ctf_micrograph.png"))
    parser.add_argument("--amplitude-contrast", type=float, default=0.1)
    arguments = parser.parse_args()
    pixels = MrcPixels(arguments.micrograph)
    image = np.asarray(pixels[...], dtype=np.float32).reshape(1, *pixels.shape[-2:])
    pixel = float(pixels.pixel_size_angstrom)
    microscope = Microscope(amplitude_contrast=arguments.amplitude_contrast)
    series = TiltSeries(
        arguments.micrograph.stem,
        microscope,
        pixel,
        (Tilt(0, 0.0, 0.0, 1.0, section=0),),
        stack=Stack(image, pixel),
    )
    context = MemoryContext()
    params = EstimateCtfParams(high_resolution_angstrom=3.0, min_defocus_angstrom=3000.0)
    start = time.perf_counter()
    ctf = estimate_ctf(series, params, context).tilts[0].ctf
    seconds = time.perf_counter() - start
    if ctf is None:
        raise SystemExit("; ".join(context.warnings))
    print(f"{arguments.micrograph.name}: {image.shape[2]} x {image.shape[1]}, {pixel:.4f} A/px")
    print(f"defocus u, v        {ctf.defocus_u_angstrom:8.0f} {ctf.defocus_v_angstrom:8.0f} A")
    print(f"astigmatism angle   {ctf.astigmatism_angle_deg:8.1f} deg")
    print(f"defocus error       {context.figures['defocus_sd_median_angstrom']:8.1f} A (Fisher information)")
    print(f"fit resolution      {ctf.fit_resolution_angstrom:8.2f} A")
    print(f"score               {ctf.score:8.3f}")
    print(f"time                {seconds:8.1f} s")
    measured = mean_spectrum(image[0], EDGE)
    model = ctf_2d((EDGE, EDGE), pixel, ctf, microscope).numpy() ** 2
    curve = context.records["ctf_curves"][0]
    averaged = equiphase_image(EDGE, pixel, ctf, curve)
    draw(arguments.figure, measured, averaged, whole(model), pixel, curve)
    print(f"figure              {arguments.figure}")


def mean_spectrum(image: NDArray[np.float32], edge: int) -> NDArray[np.float64]:
    """Mean power of half-overlapping tiles over its radial background, centred, ``(edge, edge)``."""
    window = np.hanning(edge)[:, None] * np.hanning(edge)
    total = np.zeros((edge, edge // 2 + 1))
    for y in range(0, image.shape[0] - edge + 1, edge // 2):
        for x in range(0, image.shape[1] - edge + 1, edge // 2):
            tile = torch.as_tensor((image[y : y + edge, x : x + edge] - image.mean()) * window)
            total += torch.fft.rfft2(tile).abs().square().numpy()
    power = whole(total)
    index = np.arange(edge) - edge // 2
    radius = np.hypot(*np.meshgrid(index, index))
    ring = radius.astype(int)
    radial = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    # The geometric mean over about two rings: a background only good enough to look at.
    smooth = np.exp(np.convolve(np.pad(np.log(radial), 12, mode="edge"), np.ones(25) / 25, "valid"))
    return power / np.interp(radius, np.arange(len(smooth)), smooth)


def equiphase_image(edge: int, pixel: float, ctf: Ctf, curve: dict[str, list[float]]) -> NDArray[np.float64]:
    """The equiphase average painted where its rings belong, centred, ``(edge, edge)``."""
    k_y, k_x = np.meshgrid(*[(np.arange(edge) - edge // 2) / (edge * pixel)] * 2, indexing="ij")
    defocus = directional_defocus(
        np.arctan2(k_y, k_x), ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.astigmatism_angle_deg
    )
    # The same phase is met at k sqrt(df) for small astigmatism.
    k = np.hypot(k_x, k_y) * np.sqrt(defocus / ctf.defocus_angstrom)
    return np.interp(k, curve["frequency_per_angstrom"], curve["spectrum"], left=np.nan)


def whole(half: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred full spectrum from the half an rfft2 keeps."""
    edge = half.shape[0]
    mirrored = half[-np.arange(edge) % edge, 1 : edge // 2][:, ::-1]
    return np.fft.fftshift(np.concatenate([half[:, : edge // 2 + 1], mirrored], axis=1))


def draw(
    path: Path,
    measured: NDArray[np.float64],
    averaged: NDArray[np.float64],
    model: NDArray[np.float64],
    pixel: float,
    curve: dict[str, list[float]],
) -> None:
    """Left half measured (below: averaged along the rings), right half model, to 4 angstrom; the curves."""
    edge = measured.shape[0]
    reach = min(edge // 2, round(edge * pixel / 4.0))
    middle = slice(edge // 2 - reach, edge // 2 + reach)
    # Row 0 is the bottom.
    left = (measured[middle, middle][:, :reach] - 0.75) / 0.6
    left[:reach] = averaged[middle, middle][:reach, :reach] / 0.24 + 0.5
    left = np.nan_to_num(left, nan=0.5)
    both = np.concatenate(
        [
            np.clip(left, 0, 1),
            np.clip(model[middle, middle][:, reach:], 0, 1),
        ],
        axis=1,
    )
    size = 800
    rings = Image.fromarray((both[::-1] * 255).astype(np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    canvas = Image.new("RGB", (size, size + 320), "white")
    canvas.paste(rings, (0, 0))
    pen = ImageDraw.Draw(canvas)
    frequency = np.array(curve["frequency_per_angstrom"])
    top = max(np.percentile(np.abs(curve["spectrum"]), 98), 1e-6)
    for values, colour in ((curve["spectrum"], (40, 90, 160)), (curve["model"], (200, 60, 40))):
        y = size + 150 - 110 * np.clip(np.array(values) / top, -1.2, 1.2)
        x = 20 + (size - 40) * frequency / frequency[-1]
        pen.line([(float(a), float(b)) for a, b in zip(x, y, strict=True)], fill=colour, width=2)
    pen.line([(20, size + 290), (size - 20, size + 290)], fill="black")
    for angstrom in (20, 10, 8, 6, 5, 4, 3.5, 3):
        x = 20 + (size - 40) / angstrom / float(frequency[-1])
        if x <= size - 20:
            pen.line([(x, size + 284), (x, size + 290)], fill="black")
            pen.text((x - 8, size + 294), f"{angstrom:g} A", fill="black")
    pen.text((8, 6), "measured", fill="white")
    pen.text((8, size - 18), "measured, averaged along the rings", fill="white")
    pen.text((size - 50, 6), "model", fill="white")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path)


if __name__ == "__main__":
    main()
