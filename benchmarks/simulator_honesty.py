"""Is a simulated series like a real one? Prints what was asked for beside what the images show.

A plain CTF fit (one defocus an image, no tilt, no neighbours) is made of every fourth tilt; on real images of
this kind CTFFIND fits to about 6.5 A untilted, to 9-11 A at 48 degrees, and is lost beyond 54.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, gaussian_filter, gaussian_filter1d

from cryoloom.formats.pixels.movie import describe_movie, open_movie
from cryoloom.geometry.frames import index_from_position
from cryoloom.geometry.projection import project
from cryoloom.simulate.camera import make_camera
from cryoloom.simulate.session import SimulationParams, simulate_session, simulate_tilt_series
from cryoloom.simulate.truth import Truth

TILE = 512
WAVELENGTH_ANGSTROM = 0.0196875  # 300 kV


@dataclass(frozen=True)
class Spectrum:
    """Mean power spectrum of tiles, and the frequencies of its pixels in 1 / A."""

    power: NDArray[np.float64]
    k: NDArray[np.float64]
    angle: NDArray[np.float64]


def spectrum_of(image: NDArray[np.float32], pixel: float) -> Spectrum:
    window = np.hanning(TILE)[:, None] * np.hanning(TILE)
    starts = [range(0, n - TILE + 1, TILE // 2) for n in image.shape]
    total = np.zeros((TILE, TILE // 2 + 1))
    flat = image / gaussian_filter(image, 40.0)
    for y in starts[0]:
        for x in starts[1]:
            tile = torch.from_numpy((flat[y : y + TILE, x : x + TILE] - 1.0) * window)
            total += torch.fft.rfft2(tile).abs().numpy() ** 2
    fy, fx = np.fft.fftfreq(TILE)[:, None] / pixel, np.fft.rfftfreq(TILE)[None] / pixel
    return Spectrum(total, np.hypot(fy, fx), np.arctan2(fy, fx))


def squared_ctf(k: NDArray[np.float64], defocus: float, params: SimulationParams) -> NDArray[np.float64]:
    spherical = params.spherical_aberration_mm * 1e7
    chi = np.pi * WAVELENGTH_ANGSTROM * k**2 * (defocus - 0.5 * spherical * WAVELENGTH_ANGSTROM**2 * k**2)
    return np.sin(chi + np.arcsin(params.amplitude_contrast)) ** 2


def profile(spectrum: Spectrum, defocus: float, params: SimulationParams) -> NDArray[np.float64]:
    """Radial mean along lines of equal phase: astigmatism is taken as known, rings stay sharp."""
    angle = spectrum.angle - np.deg2rad(params.astigmatism_angle_deg)
    local = defocus + 0.5 * params.astigmatism_angstrom * np.cos(2 * angle)
    ring = np.round(spectrum.k * np.sqrt(np.abs(local / defocus)) * TILE * params.pixel_size_angstrom * 2)
    ring = np.clip(ring.astype(int), 0, TILE)
    axes = (np.abs(np.sin(spectrum.angle)) < 0.02) | (np.abs(np.cos(spectrum.angle)) < 0.02)
    keep = ~axes
    sums = np.bincount(ring[keep], spectrum.power[keep], TILE + 1)
    return sums[:TILE] / np.maximum(np.bincount(ring[keep], minlength=TILE + 1)[:TILE], 1)


def rings_of(curve: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve less its mean over about one oscillation on either side, over their spread."""
    smooth = np.empty_like(curve)
    spread = np.empty_like(curve)
    for i, half in enumerate(width):
        near = curve[max(0, i - int(half)) : i + int(half) + 1]
        smooth[i], spread[i] = near.mean(), near.std() + 1e-30
    return (curve - smooth) / spread


def fit(image: NDArray[np.float32], params: SimulationParams) -> tuple[float, float]:
    """Best defocus within 8000 A of the aim, and the resolution to which rings follow the model (A)."""
    pixel = params.pixel_size_angstrom
    spectrum = spectrum_of(image, pixel)
    k = np.arange(TILE) / (2 * TILE * pixel)
    aim = params.defocus_angstrom
    # Rings in defocus: one is 1 / (lambda defocus k) wide in k.
    width = np.clip(1 / (WAVELENGTH_ANGSTROM * aim * np.maximum(k, 1e-4)) / k[1], 3, 120)
    # The search uses the means along circles; only the judgement follows astigmatism.
    searched = (k > 1 / 35) & (k < 1 / 7)
    measured = rings_of(gaussian_filter1d(profile(spectrum, aim, params), 1.0), width)
    tried = np.arange(aim - 8000, aim + 8001, 25.0)
    scores = [
        np.corrcoef(rings_of(squared_ctf(k, defocus, params), width)[searched], measured[searched])[0, 1]
        for defocus in tried
    ]
    best = float(tried[int(np.argmax(scores))])
    measured = rings_of(gaussian_filter1d(profile(spectrum, best, params), 1.0), width)
    model = rings_of(squared_ctf(k, best, params), width)
    for i in range(int(np.searchsorted(k, 1 / 18)), TILE - 4):
        half = max(int(1.5 * width[i]), 6)
        near = slice(max(0, i - half), i + half + 1)
        if np.corrcoef(measured[near], model[near])[0, 1] < 0.5:
            return best, float(1 / k[i])
    return best, float(1 / k[-1])


def ring_table(params: SimulationParams) -> None:
    start = time.perf_counter()
    series, truth = simulate_tilt_series(params)
    seconds = time.perf_counter() - start
    print(f"{len(series.tilts)} tilts of {params.image_shape_yx} made in {seconds:.0f} s\n")
    print("tilt   counts/expected  defocus true  found  difference  rings to")
    for section, tilt in enumerate(series.tilts):
        if round(tilt.nominal_tilt_deg / params.tilt_step_deg) % 4:
            continue
        known = truth.tilt(tilt.acquisition_index)
        image = np.asarray(series.stack.images[section])  # type: ignore[union-attr]
        expected = params.dose_per_tilt_per_angstrom2 * params.pixel_size_angstrom**2 * known.transmission
        true = truth.defocus_of_ice_angstrom(tilt.acquisition_index)
        found, resolution = fit(image, params)
        print(
            f"{tilt.nominal_tilt_deg:5.0f}  {image.mean() / expected:14.4f}  {true:12.0f}"
            f"  {found:6.0f}  {found - true:9.0f}  {resolution:7.1f} A"
        )
    bead_table(series.stack.images, series.tilts, truth, params)  # type: ignore[union-attr]


def bead_table(images: NDArray[np.float32], tilts: tuple, truth: Truth, params: SimulationParams) -> None:
    """Dark centres near projected beads, against where the truth projects them."""
    misses = []
    pixel = params.pixel_size_angstrom
    reach = round(0.75 * params.bead_diameter_angstrom / pixel)
    for section, tilt in enumerate(tilts):
        pose = truth.tilt(tilt.acquisition_index).pose
        places = project(truth.beads_xyz_angstrom, [pose.matrix], [pose.shift_xy_angstrom])[0]
        places = index_from_position(places, params.image_shape_yx, pixel)
        smooth = -gaussian_filter(images[section], 2.0)
        for place in places:
            alone = np.sort(np.hypot(*(places - place).T))[1] > 4 * reach
            inside = all(
                2 * reach < c < n - 2 * reach for c, n in zip(place, params.image_shape_yx, strict=True)
            )
            if alone and inside:
                y, x = (round(c) for c in place)
                near = smooth[y - reach : y + reach + 1, x - reach : x + reach + 1]
                near = np.clip(near - np.percentile(near, 75), 0, None)
                misses.append(np.add(center_of_mass(near), (y - reach, x - reach)) - place)
    rms = np.sqrt((np.array(misses) ** 2).mean()) * pixel
    print(f"\nbeads: {len(misses)} seen, {rms:.2f} A rms an axis from where the truth projects them")


def session_table() -> None:
    """Files: the same seed twice, counts against dose, what the gain does, EER beside TIFF."""
    params = SimulationParams(tilt_min_deg=-30, tilt_max_deg=30, tilt_step_deg=30, n_vesicles=0, n_beads=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digests = []
        for again in ("one", "two"):
            truth = simulate_session(params, folder / again)
            files = sorted(path for path in (folder / again).rglob("*") if path.is_file())
            digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
        print(
            f"\nsame seed, {len(digests[0])} files: "
            f"{'identical' if digests[0] == digests[1] else 'DIFFERENT'}"
        )
        path = next((folder / "one" / "frames").glob("TS_01_000*"))
        raw = open_movie(describe_movie(path)).read_sum(0, params.n_frames)
        camera = make_camera(params, np.random.default_rng([params.seed, 0, 2]))
        good = camera.gain > 0
        corrected = (raw * camera.gain)[good]
        expected = 3.0 * 25.0 * truth.tilts[0].transmission
        print(
            f"TIFF: mean {corrected.mean() / expected:.3f} of expected, variance / mean raw "
            f"{raw[good].var() / raw[good].mean():.2f}, corrected {corrected.var() / corrected.mean():.2f}"
        )
        eer = params.model_copy(
            update={"camera": "falcon_eer", "pixel_size_angstrom": 2.0, "n_hot_pixels": 0}
        )
        truth = simulate_session(eer, folder / "eer")
        path = next((folder / "eer" / "frames").glob("*_001_*.eer"))
        movie = open_movie(describe_movie(path))
        counted = movie.read_sum(0, movie.n_frames)[good].mean() / (12.0 * truth.tilts[0].transmission)
        rate = 12.0 * truth.tilts[0].transmission / movie.n_frames
        print(
            f"EER: mean {counted:.3f} of expected; one electron a pixel and frame at most: "
            f"{(1 - np.exp(-rate)) / rate:.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--specimen", default="builtin")
    chosen = parser.parse_args()
    ring_table(
        SimulationParams(
            seed=chosen.seed, specimen=chosen.specimen, image_shape_yx=(chosen.size, chosen.size),
            pixel_size_angstrom=2.7, n_particles=200,
        )
    )  # fmt: skip
    session_table()


if __name__ == "__main__":
    main()
