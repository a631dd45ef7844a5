"""Fourier shell correlation of tomograms with the true specimen: 3D-CTF, strips and no correction of the CTF.

Simulated series of a specimen 2000 A thick, true poses and CTFs, noise and all; weighted back-projection at
the images' own pixel. Only Fourier components between the outermost tilts count, and only voxels every tilt
shows. Shells begin at the first zero of the transfer function at the specimen's origin.

    python benchmarks/ctf_correction_quality.py [--seeds 1 2 3] [--method multiply] [--size 320]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.geometry.frames import index_from_position
from cryoloom.model import TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_tilt_series
from cryoloom.simulate.specimen import Specimen, make_specimen
from cryoloom.simulate.stage import tilt_truths
from cryoloom.steps.correct_ctf import CorrectCtfParams, correct_ctf
from cryoloom.steps.reconstruct import ReconstructParams, reconstruct

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext

SPECIMENS = {
    "particles": {"n_particles": 60, "n_vesicles": 0},
    "membranes": {"n_particles": 0, "n_vesicles": 8},
}
THICKNESS_ANGSTROM = 2000.0
N_SHELLS = 8
N_GROUPS = 64
"""Parts of the Fourier components that tell how much of a difference is chance."""


def true_density(specimen: Specimen, shape: tuple[int, int, int], voxel: float) -> NDArray[np.float32]:
    """The specimen's points spread linearly over voxels, dark."""
    clouds = specimen.clouds
    volume = np.zeros(int(np.prod(shape)), dtype=np.float32)
    for (start, stop), turn, centre in zip(clouds.spans, clouds.rotations, clouds.centres, strict=True):
        places = clouds.points[start:stop] @ turn.T + centre
        at = index_from_position(places, shape, voxel)
        weights = clouds.weights[start:stop]
        inside = ((at >= 0) & (at < np.array(shape) - 1)).all(axis=1)
        low = np.floor(at[inside]).astype(np.int64)
        part = at[inside] - low
        for corner in np.ndindex(2, 2, 2):
            share = np.prod(np.where(corner, part, 1 - part), axis=1) * weights[inside]
            flat = np.ravel_multi_index(tuple((low + corner).T), shape)
            np.subtract.at(volume, flat, share.astype(np.float32))
    return volume.reshape(shape)


def correlations(
    found: NDArray[np.float32],
    true: NDArray[np.float32],
    voxel: float,
    edges: NDArray[np.float64],
    region: Literal["measured", "missing"] = "measured",
) -> NDArray[np.float64]:
    """Correlation of Fourier components in shells between ``edges`` (1/A), of tilts to 60 degrees.

    measured : components within 57 degrees; missing : those beyond 63, which no image holds.
    """
    return correlation_of(shell_sums(found, true, voxel, edges, region).sum(axis=1))


def shell_sums(
    found: NDArray[np.float32],
    true: NDArray[np.float32],
    voxel: float,
    edges: NDArray[np.float64],
    region: Literal["measured", "missing"] = "measured",
) -> NDArray[np.float64]:
    """Sums of both's product and of their squares, ``(3, group, shell)``: components in groups by chance."""
    transforms = [torch.fft.rfftn(torch.from_numpy(volume - volume.mean())) for volume in (found, true)]
    n_z, n_y, n_x = found.shape
    k_z = torch.fft.fftfreq(n_z, voxel)[:, None, None]
    k_y = torch.fft.fftfreq(n_y, voxel)[None, :, None]
    k_x = torch.fft.rfftfreq(n_x, voxel)[None, None]
    shell = torch.bucketize(torch.sqrt(k_z**2 + k_y**2 + k_x**2), torch.from_numpy(edges).float())
    left_out = {
        "measured": k_z.abs() > k_x * np.tan(np.deg2rad(57)),
        "missing": k_z.abs() <= k_x * np.tan(np.deg2rad(63)),
    }[region]
    shell[left_out.expand_as(shell)] = 0
    group = torch.randint(N_GROUPS, shell.shape, generator=torch.Generator().manual_seed(1))
    cell, n_cells = (group * (len(edges) + 1) + shell).ravel(), N_GROUPS * (len(edges) + 1)
    sums = []
    for a, b in ((0, 1), (0, 0), (1, 1)):
        product = (transforms[a] * transforms[b].conj()).real.double()
        binned = torch.bincount(cell, product.ravel(), minlength=n_cells).reshape(N_GROUPS, -1)
        sums.append(binned[:, 1 : len(edges)].numpy())
    return np.stack(sums)


def correlation_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the three sums ``(3, ...)``."""
    return np.asarray(sums[0] / np.sqrt(sums[1] * sums[2]))


def error_of_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error of the difference of two correlations from sums by group (jackknife)."""
    without = [
        correlation_of(one.sum(axis=1) - one[:, g]) - correlation_of(other.sum(axis=1) - other[:, g])
        for g in range(N_GROUPS)
    ]
    return np.asarray(np.sqrt((N_GROUPS - 1) * np.var(without, axis=0)))


def tomogram(series: TiltSeries, params: ReconstructParams) -> NDArray[np.float32]:
    context = MemoryContext()
    return np.asarray(reconstruct(series, params, context).volume)


def soft_crop(
    volume: NDArray[np.float32], margin: int, voxel: float, thickness: float = THICKNESS_ANGSTROM
) -> NDArray[np.float32]:
    """The ice in the middle of the field, with edges that fade."""
    n_z = volume.shape[0]
    half = round(0.5 * thickness / voxel)
    cut = volume[n_z // 2 - half : n_z // 2 + half, margin:-margin, margin:-margin]
    cut = cut - cut.mean()
    for axis in range(3):
        n = cut.shape[axis]
        fade = np.clip(np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / 16, 0, 1)
        window = (0.5 - 0.5 * np.cos(np.pi * fade)).astype(np.float32)
        cut = cut * window.reshape([-1 if a == axis else 1 for a in range(3)])
    return cut


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--method", choices=["multiply", "phase_flip", "wiener"], default="multiply")
    parser.add_argument("--specimens", nargs="+", choices=list(SPECIMENS), default=list(SPECIMENS))
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--pixel", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--finest", type=float, default=10.0, help="end of the last shell, angstrom")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    all_curves: list[dict[str, NDArray[np.float64]]] = []
    for name in options.specimens:
        content = SPECIMENS[name]
        for seed in options.seeds:
            start = time.perf_counter()
            params = SimulationParams(
                seed=seed,
                image_shape_yx=(options.size, options.size),
                pixel_size_angstrom=options.pixel,
                thickness_angstrom=THICKNESS_ANGSTROM,
                layer_thickness_angstrom=150.0,
                n_beads=0,
                z_offset_angstrom=0.0,
                pretilt_x_deg=0.0,
                pretilt_y_deg=0.0,
                handedness=1 if seed % 2 else -1,
                **content,
            )
            series, truth = simulate_tilt_series(params)
            print(f"{name}, seed {seed}: simulated in {time.perf_counter() - start:.0f} s", flush=True)
            series = truth.with_true_ctfs(truth.with_true_poses(series))
            handedness = type(series.handedness).from_told(truth.handedness, "truth")
            series = TiltSeries(
                **{f: getattr(series, f) for f in series.__slots__} | {"handedness": handedness}
            )
            plain = ReconstructParams(
                binning=1, thickness_angstrom=2400.0, cutoff_per_px=0.45, halves=False, multiscale=False
            )
            deep = plain.model_copy(update={"ctf_correction": options.method})
            strips = correct_ctf(series, CorrectCtfParams(method=options.method), MemoryContext())
            # The simulator's own streams of chance for stage and specimen: 0 and 1.
            tilts = tilt_truths(params, np.random.default_rng([seed, 0, 0]))
            specimen = make_specimen(params, tilts, np.random.default_rng([seed, 0, 1]))
            margin = round(options.size * 0.15)
            wavelength = series.microscope.wavelength_angstrom
            zero = np.sqrt(1 / (wavelength * params.defocus_angstrom))
            edges = np.linspace(zero, 1 / options.finest, N_SHELLS + 1)
            sums: dict[str, NDArray[np.float64]] = {}
            true = None
            for label, made, wanted in (
                ("none", series, plain),
                ("strips", strips, plain),
                ("3D-CTF", series, deep),
            ):
                volume = tomogram(made, wanted)
                print(f"  {label}: made after {time.perf_counter() - start:.0f} s", flush=True)
                if true is None:
                    true = soft_crop(
                        true_density(specimen, volume.shape, options.pixel), margin, options.pixel
                    )
                sums[label] = shell_sums(soft_crop(volume, margin, options.pixel), true, options.pixel, edges)
            curves = {label: correlation_of(parts.sum(axis=1)) for label, parts in sums.items()}
            in_order = (curves["3D-CTF"] > curves["strips"]).all() and (
                curves["strips"] > curves["none"]
            ).all()
            seconds = time.perf_counter() - start
            print(f"{name}, seed {seed}: in order at every shell: {in_order} ({seconds:.0f} s)")
            print(f"{'shell, A':>10}" + "".join(f"{1 / k:>8.1f}" for k in 0.5 * (edges[1:] + edges[:-1])))
            for label, curve in curves.items():
                print(f"{label:>10}" + "".join(f"{value:>8.4f}" for value in curve), flush=True)
            gain = curves["3D-CTF"] - curves["strips"]
            error = error_of_difference(sums["3D-CTF"], sums["strips"])
            print(f"{'gain':>10}" + "".join(f"{value:>8.4f}" for value in gain))
            print(f"{'its error':>10}" + "".join(f"{value:>8.4f}" for value in error), flush=True)
            all_curves.append(curves)
    if len(all_curves) > 1:
        report_means(all_curves)


def report_means(all_curves: list[dict[str, NDArray[np.float64]]]) -> None:
    """Mean over the series, and gains with their standard errors from the scatter between series."""
    print(f"mean of {len(all_curves)} series")
    for label in all_curves[0]:
        mean = np.mean([curves[label] for curves in all_curves], axis=0)
        print(f"{label:>10}" + "".join(f"{value:>8.4f}" for value in mean))
    for better, worse in (("strips", "none"), ("3D-CTF", "strips")):
        gains = np.array([curves[better] - curves[worse] for curves in all_curves])
        error = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
        print(f"{better} over {worse}, its error, least of the series, series in which it gains")
        for row in (gains.mean(axis=0), error, gains.min(axis=0)):
            print(" " * 10 + "".join(f"{value:>8.4f}" for value in row))
        print(" " * 10 + "".join(f"{count:>8d}" for count in (gains > 0).sum(axis=0)))


if __name__ == "__main__":
    main()
