"""What deconvolution and the networks of `denoise` make of a tomogram whose truth is known.

A simulated series with true poses and CTFs; every count of its images goes by chance to the even or the odd
half, as even and odd frames do. Tomograms of both are corrected for the CTF (3D-CTF, phase flips). Compared
with the true density between 300 A and 40 A: where images measured, and in the missing wedge.

    python benchmarks/denoise_quality.py [--seeds 1] [--figure docs/images/denoise.png]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from cryoloom.model import Stack, TiltSeries, Tomogram
from cryoloom.report.images import with_scale_bar
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_tilt_series
from cryoloom.simulate.specimen import make_specimen
from cryoloom.simulate.stage import tilt_truths
from cryoloom.steps.deconvolve import DeconvolveParams, deconvolve
from cryoloom.steps.denoise import DenoiseParams, denoise
from cryoloom.steps.reconstruct import ReconstructParams, reconstruct
from ctf_correction_quality import THICKNESS_ANGSTROM, correlations, soft_crop, true_density

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from context import MemoryContext

EDGES = np.array([1 / 300, 1 / 150, 1 / 100, 1 / 75, 1 / 60, 1 / 50, 1 / 40])
VOXEL_ANGSTROM = 10.0
MARGIN_PX = 24
Volume = NDArray[np.float32]


def halved_series(seed: int, size: int) -> tuple[TiltSeries, SimulationParams]:
    """A series with even and odd images, true poses and true CTFs."""
    params = SimulationParams(
        seed=seed,
        image_shape_yx=(size, size),
        pixel_size_angstrom=5.0,
        thickness_angstrom=THICKNESS_ANGSTROM,
        n_beads=0,
        z_offset_angstrom=0.0,
        pretilt_x_deg=0.0,
        pretilt_y_deg=0.0,
        n_particles=round(120 * size * size / (512 * 720)),
    )
    series, truth = simulate_tilt_series(params)
    series = truth.with_true_ctfs(truth.with_true_poses(series))
    images = np.asarray(series.best_stack.images)
    rng = np.random.default_rng([seed, 99])
    even = rng.binomial(images.astype(np.int64), 0.5).astype(np.float32)
    stack = Stack(images, params.pixel_size_angstrom, even=even, odd=images - even)
    told = type(series.handedness).from_told(truth.handedness, "truth")
    return replace(series, stack=stack, handedness=told), params


def true_volume(params: SimulationParams, shape: tuple[int, int, int]) -> Volume:
    # The simulator's own streams of chance for stage and specimen: 0 and 1.
    tilts = tilt_truths(params, np.random.default_rng([params.seed, 0, 0]))
    specimen = make_specimen(params, tilts, np.random.default_rng([params.seed, 0, 1]))
    return true_density(specimen, shape, VOXEL_ANGSTROM)


def band(volume: Volume, region: str | None) -> Volume:
    """What of a volume lies between the outermost shells, and in a region."""
    spectrum = torch.fft.rfftn(torch.from_numpy(volume))
    n_z, n_y, n_x = volume.shape
    k_z = torch.fft.fftfreq(n_z, VOXEL_ANGSTROM)[:, None, None]
    k_y = torch.fft.fftfreq(n_y, VOXEL_ANGSTROM)[None, :, None]
    k_x = torch.fft.rfftfreq(n_x, VOXEL_ANGSTROM)[None, None]
    radius = torch.sqrt(k_z**2 + k_y**2 + k_x**2)
    kept = (radius >= EDGES[0]) & (radius < EDGES[-1])
    if region == "measured":
        kept &= k_z.abs() <= k_x * np.tan(np.deg2rad(57))
    elif region == "missing":
        kept &= k_z.abs() > k_x * np.tan(np.deg2rad(63))
    return torch.fft.irfftn(spectrum * kept, s=volume.shape).numpy()


def likeness(found: Volume, true: Volume, region: str | None) -> float:
    """Correlation coefficient of the voxels, between 300 and 40 A."""
    return float(np.corrcoef(band(found, region).ravel(), band(true, region).ravel())[0, 1])


def slices(volumes: dict[str, Volume]) -> Image.Image:
    """Central xy slices of all volumes side by side, their xz slices below, and names above."""
    n_z, n_y, n_x = next(iter(volumes.values())).shape
    gap, title = 6, 22
    figure = Image.new("L", ((n_x + gap) * len(volumes) - gap, title + n_y + gap + n_z), 255)
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(15)
    for i, (name, volume) in enumerate(volumes.items()):
        # Beyond 40 A nothing is true; 20 A of blur for the eye. Slices are 50 A thick.
        smooth = gaussian_filter(volume, 2.0 if name == "truth" else 1.0)
        xy = smooth[n_z // 2 - 2 : n_z // 2 + 3].mean(axis=0)
        xz = smooth[:, n_y // 2 - 2 : n_y // 2 + 3].mean(axis=1)
        low, high = np.percentile(xy[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX], [0.5, 99.5])
        for image, top in ((xy, title), (xz, title + n_y + gap)):
            grey = (255 * np.clip((image[::-1] - low) / (high - low), 0, 1)).astype(np.uint8)
            picture = Image.fromarray(grey)
            if i == 0 and image is xy:
                picture = with_scale_bar(picture, VOXEL_ANGSTROM)
            figure.paste(picture, (i * (n_x + gap), top))
        draw.text((i * (n_x + gap) + 4, 1), name, fill=0, font=font)
    return figure


def made_of(raw: Tomogram) -> dict[str, Volume]:
    """The tomogram as it is and what the steps make of it; says how long they took."""
    volumes = {"raw": np.asarray(raw.volume)}
    for name, step, params in (
        ("deconvolved", deconvolve, DeconvolveParams(multiscale=False)),
        ("Noise2Noise", denoise, DenoiseParams(multiscale=False)),
        ("wedge filled", denoise, DenoiseParams(method="missing_wedge", multiscale=False)),
    ):
        context = MemoryContext()
        start, start_cpu = time.perf_counter(), time.process_time()
        volumes[name] = np.asarray(step(raw, params, context).volume)
        figures = ", ".join(f"{key} {value:.3g}" for key, value in context.figures.items())
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        print(f"  {name}: {seconds:.0f} s, {cpu:.0f} s of processor time; {figures}", flush=True)
    return volumes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--figure", type=Path, help="PNG of slices, of the first seed")
    options = parser.parse_args()
    torch.set_num_threads(2)
    for seed in options.seeds:
        start = time.perf_counter()
        series, simulation = halved_series(seed, options.size)
        params = ReconstructParams(
            voxel_size_angstrom=VOXEL_ANGSTROM,
            thickness_angstrom=THICKNESS_ANGSTROM + 400,
            ctf_correction="phase_flip",
            multiscale=False,
        )
        raw = reconstruct(series, params, MemoryContext())
        print(f"seed {seed}: simulated and reconstructed in {time.perf_counter() - start:.0f} s", flush=True)
        true = true_volume(simulation, raw.volume.shape)
        volumes = made_of(raw)
        true_ice = soft_crop(true, MARGIN_PX, VOXEL_ANGSTROM)
        ice = {name: soft_crop(volume, MARGIN_PX, VOXEL_ANGSTROM) for name, volume in volumes.items()}
        centres = "".join(f"{1 / k:>8.0f}" for k in 0.5 * (EDGES[1:] + EDGES[:-1]))
        for region in ("measured", "missing"):
            print(f"  {region + ', shell A':<24}{centres}{'all':>8}")
            for name, volume in ice.items():
                curve = correlations(volume, true_ice, VOXEL_ANGSTROM, EDGES, region)
                row = "".join(f"{value:>8.3f}" for value in (*curve, likeness(volume, true_ice, region)))
                print(f"  {name:<24}{row}", flush=True)
        whole = "; ".join(f"{name} {likeness(volume, true_ice, None):.3f}" for name, volume in ice.items())
        print(f"  correlation of the voxels, everything from 300 to 40 A: {whole}", flush=True)
        if options.figure and seed == options.seeds[0]:
            options.figure.parent.mkdir(parents=True, exist_ok=True)
            slices({"truth": true, **volumes}).save(options.figure, optimize=True)


if __name__ == "__main__":
    main()
