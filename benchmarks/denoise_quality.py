"""What the networks of `denoise` make of a tomogram, against the truth and against what a plain filter does.

Simulated series with true poses and CTFs; every count of their images goes by chance to the even or the odd
half, as even and odd frames do. Tomograms of both are corrected for the CTF (3D-CTF, phase flips). Two
regions of Fourier space are judged apart: where images measured, and the missing wedge.

Fourier shell correlation with the true specimen does not change with any radial filter, deconvolution and
low-pass included (but for what leaks where the ice is cut out), so it shows what a network does that they
cannot. The correlation of the voxels does change with them; it is given as it is, and with the radial filter
that makes it largest, which is found with the truth.

    python benchmarks/denoise_quality.py [--seeds 1 2 3] [--specimens builtin MODEL.cif.gz] [--size 384]
        [--keep DIR] [--figure docs/images/denoise.png]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from cryoloom.model import Sourced, Stack, TiltSeries, Tomogram
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.specimen import make_specimen
from cryoloom.simulate.stage import tilt_truths
from cryoloom.steps.deconvolve import DeconvolveParams, deconvolve
from cryoloom.steps.denoise import DenoiseParams, denoise
from cryoloom.steps.reconstruct import ReconstructParams, reconstruct
from cryoloom.views.images import with_scale_bar
from ctf_correction_quality import correlation_of, shell_sums, soft_crop, true_density
from kept_series import kept_series

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

EDGES = np.array([1 / 300, 1 / 150, 1 / 100, 1 / 75, 1 / 60, 1 / 50, 1 / 40, 1 / 30])
FINE_EDGES = np.linspace(1 / 300, 1 / 25, 40)
REGIONS = ("measured", "missing")
THICKNESS_ANGSTROM = 1200.0
VOXEL_ANGSTROM = 10.0
MARGIN_PX = 20
Volume = NDArray[np.float32]
Curves = dict[str, NDArray[np.float64]]


def scenario(seed: int, specimen: str, size: int) -> SimulationParams:
    return SimulationParams(
        seed=seed,
        specimen=specimen,
        image_shape_yx=(size, size),
        pixel_size_angstrom=5.0,
        thickness_angstrom=THICKNESS_ANGSTROM,
        n_beads=0,
        z_offset_angstrom=0.0,
        pretilt_x_deg=0.0,
        pretilt_y_deg=0.0,
        n_particles=round(120 * size * size / (512 * 720)),
    )


def halved_series(params: SimulationParams, keep: Path) -> TiltSeries:
    """A series with even and odd images, true poses and true CTFs."""
    series, truth = kept_series(params, keep)
    series = truth.with_true_ctfs(truth.with_true_poses(series))
    images = np.asarray(series.best_stack.images)
    rng = np.random.default_rng([params.seed, 99])
    even = rng.binomial(images.astype(np.int64), 0.5).astype(np.float32)
    stack = Stack(images, params.pixel_size_angstrom, even=even, odd=images - even)
    handedness = Sourced.from_told(truth.handedness, "truth")
    return replace(series, stack=stack, handedness=handedness)


def true_volume(params: SimulationParams, shape: tuple[int, int, int]) -> Volume:
    # The simulator's own streams of chance for stage and specimen: 0 and 1.
    tilts = tilt_truths(params, np.random.default_rng([params.seed, 0, 0]))
    specimen = make_specimen(params, tilts, np.random.default_rng([params.seed, 0, 1]))
    return true_density(specimen, shape, VOXEL_ANGSTROM)


def ice_of(volume: Volume) -> Volume:
    return soft_crop(volume, MARGIN_PX, VOXEL_ANGSTROM, THICKNESS_ANGSTROM)


def likeness(found: Volume, true: Volume, region: str | None) -> tuple[float, float]:
    """Correlation of the voxels between 300 and 25 A: as they are, and after the best radial filter.

    With the correlation ``c`` of a shell and the truth's power ``P`` in it the latter is
    ``sqrt(sum P c^2 / sum P)``.
    """
    regions = REGIONS if region is None else (region,)
    sums = sum(shell_sums(found, true, VOXEL_ANGSTROM, FINE_EDGES, which) for which in regions).sum(axis=1)
    as_is = correlation_of(sums.sum(axis=1))
    explained = np.maximum(sums[0], 0.0) ** 2 / sums[1]
    return float(as_is), float(np.sqrt(explained.sum() / sums[2].sum()))


def made_of(raw: Tomogram, methods: list[str]) -> dict[str, Volume]:
    """The tomogram as it is and what the steps make of it; says how long they took."""
    volumes = {"raw": np.asarray(raw.volume)}
    steps = (
        ("deconvolved", deconvolve, DeconvolveParams(multiscale=False)),
        ("noise2noise", denoise, DenoiseParams(multiscale=False)),
        ("missing_wedge", denoise, DenoiseParams(method="missing_wedge", multiscale=False)),
    )
    for name, step, params in steps:
        if name not in methods:
            continue
        context = MemoryContext()
        start_cpu = time.process_time()
        volumes[name] = np.asarray(step(raw, params, context).volume)
        figures = ", ".join(f"{key} {value:.3g}" for key, value in context.figures.items())
        print(f"  {name}: {time.process_time() - start_cpu:.0f} s of processor time; {figures}", flush=True)
        if "training" in context.records:
            losses = context.records["training"]["validation_loss"]
            print("    validation loss " + " ".join(f"{loss:.4f}" for loss in losses), flush=True)
    return volumes


def compared(volumes: dict[str, Volume], true: Volume) -> Curves:
    """Print and return, for each volume and region, the shells' correlations and those of the voxels."""
    true_ice = ice_of(true)
    ice = {name: ice_of(volume) for name, volume in volumes.items()}
    rows: Curves = {}
    print_header()
    for region in REGIONS:
        for name, volume in ice.items():
            sums = shell_sums(volume, true_ice, VOXEL_ANGSTROM, EDGES, region)
            curve = correlation_of(sums.sum(axis=1))
            rows[f"{region} {name}"] = np.array([*curve, *likeness(volume, true_ice, region)])
    for name, volume in ice.items():
        rows[f"all {name}"] = np.array([*[np.nan] * (len(EDGES) - 1), *likeness(volume, true_ice, None)])
    print_rows(rows)
    return rows


def print_header() -> None:
    centres = "".join(f"{1 / k:>7.0f}" for k in 0.5 * (EDGES[1:] + EDGES[:-1]))
    print(f"  {'shell, A':<26}{centres}{'as is':>8}{'filter':>8}")


def print_rows(rows: Curves) -> None:
    for name, row in rows.items():
        shells = "".join("       " if np.isnan(value) else f"{value:7.3f}" for value in row[:-2])
        print(f"  {name:<26}{shells}{row[-2]:8.3f}{row[-1]:8.3f}", flush=True)


def summarise(found: list[Curves]) -> None:
    """Mean over the series, and mean and standard error of what each gains over raw."""
    print(f"mean of {len(found)} series")
    print_header()
    print_rows({name: np.mean([rows[name] for rows in found], axis=0) for name in found[0]})
    if len(found) < 2:
        return
    print("gain over raw, and its standard error over the series")
    for name in found[0]:
        region, made = name.split(" ", 1)
        if made != "raw":
            gains = np.array([rows[name] - rows[f"{region} raw"] for rows in found])
            error = gains.std(axis=0, ddof=1) / np.sqrt(len(found))
            print_rows({name: gains.mean(axis=0), "  error": error})


def slices(volumes: dict[str, Volume]) -> Image.Image:
    """Central xy slices of all volumes side by side, their xz slices below, and names above."""
    n_z, n_y, n_x = next(iter(volumes.values())).shape
    gap, title = 6, 22
    figure = Image.new("L", ((n_x + gap) * len(volumes) - gap, title + n_y + gap + n_z), 255)
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(13)
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
        draw.text((i * (n_x + gap) + 4, 1), name.replace("_", " "), fill=0, font=font)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--specimens", nargs="+", default=["builtin"], help="'builtin' or an atomic model")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--methods", nargs="+", default=["deconvolved", "noise2noise", "missing_wedge"])
    parser.add_argument("--keep", type=Path, help="folder of simulated stacks, made there once")
    parser.add_argument("--figure", type=Path, help="PNG of slices, of the first series")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep = options.keep or Path(tempfile.mkdtemp())
    found: list[Curves] = []
    for seed in options.seeds:
        for specimen in options.specimens:
            params = scenario(seed, specimen, options.size)
            wanted = ReconstructParams(
                voxel_size_angstrom=VOXEL_ANGSTROM,
                thickness_angstrom=THICKNESS_ANGSTROM + 400,
                ctf_correction="phase_flip",
                multiscale=False,
            )
            raw = reconstruct(halved_series(params, keep), wanted, MemoryContext())
            print(f"{Path(specimen).name}, seed {seed}, {' x '.join(map(str, raw.volume.shape))} voxels")
            volumes = made_of(raw, options.methods)
            true = true_volume(params, raw.volume.shape)
            found.append(compared(volumes, true))
            if options.figure and len(found) == 1:
                options.figure.parent.mkdir(parents=True, exist_ok=True)
                slices({"truth": true, **volumes}).save(options.figure, optimize=True)
    summarise(found)


if __name__ == "__main__":
    main()
