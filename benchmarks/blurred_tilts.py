"""Are blurred tilts found after motion correction, and good ones kept? Simulated movies, and a real series.

Simulated: three specimens, three seeds, 25 tilts of 6 frames (320 x 320 at 5 A, 3 e/A^2) of which five are
smeared within their frames; movies go through align_frames and select_tilts. Real: EMPIAR-10499 as it is, and
with six tilts smeared along a line, the noise that a smear would not have taken put back.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Microscope, Stack, Tilt, TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.steps.align_frames import AlignFramesParams, align_frames
from cryoloom.steps.select_tilts import SelectTiltsParams, select_tilts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from makers.context import MemoryContext
from makers.simulated_movies import FLAWLESS_CAMERA, simulated_movies

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BLURRED = (2, 7, 12, 17, 23)
SMEARS = (("vibration", 60.0), ("vibration", 30.0), ("drift", 40.0))


def report(name: str, series: TiltSeries, blurred: set[int], expected: str) -> None:
    """Print who was found, who was not, who wrongly, and the smear of the rest."""
    context = MemoryContext()
    selected = select_tilts(series, SelectTiltsParams(), context)  # type: ignore[arg-type]
    found = {t.acquisition_index: t.exclusion for t in selected.tilts if t.exclusion is not None}
    record = context.records["tilt_quality"]
    smear = dict(zip(record["acquisition_index"], record["smear_angstrom"], strict=True))
    lengths = sorted(round(smear[i]) for i in blurred)
    print(
        f"{name:44s} {len(blurred & set(found))} of {len(blurred)} {len(set(found) - blurred):7d}"
        f"   {expected:>8s}   {' '.join(map(str, lengths)):24s}"
        f"{max(v for i, v in smear.items() if i not in blurred):8.0f}",
        flush=True,
    )


def simulated(specimen: str, n_beads: int, seed: int) -> None:
    """One simulated series."""
    kind, width = SMEARS[(seed - 1) % len(SMEARS)]
    params = SimulationParams(
        seed=seed, specimen=specimen, n_beads=n_beads, image_shape_yx=(320, 320), pixel_size_angstrom=5.0,
        n_frames=6, tilt_min_deg=-60, tilt_max_deg=60, tilt_step_deg=5, n_particles=90, n_vesicles=3,
        shift_rms_angstrom=30.0, shift_trend_angstrom=80.0, blurred_tilts=BLURRED, blur_angstrom=width,
        blur_kind=kind, **FLAWLESS_CAMERA,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        series, _ = simulated_movies(Path(folder), params)
        aligned = align_frames(series, AlignFramesParams(), MemoryContext())  # type: ignore[arg-type]
    # A vibration's places have the variance of a steady smear 1.22 times its width.
    expected = width * (1.22 if kind == "vibration" else 1.0)
    name = f"{specimen.split('/')[-1].split('.')[0]}, {n_beads} beads, seed {seed}, {kind} {width:.0f} A"
    report(name, aligned, set(BLURRED), f"{expected:.0f}")


def real(length_angstrom: float) -> None:
    """The real series, with six tilts smeared where a length is given."""
    folder = DATA / "tilt-series" / "empiar-10499"
    if not folder.is_dir():
        print(f"no real series at {folder}")
        return
    tilt_deg = np.loadtxt(folder / "00254.rawtlt")
    order = np.argsort(np.argsort(np.abs(tilt_deg), kind="stable"))
    images = np.array(MrcPixels(folder / "00254.mrc")[:])
    rng = np.random.default_rng(1)
    chosen = [3, 9, 15, 22, 30, 37] if length_angstrom else []
    for section in chosen:
        images[section] = _smeared(images[section], length_angstrom, rng)
    tilts = tuple(
        Tilt(int(i), float(t), 3.0 * i, 3.0 * i + 3, section=section)
        for section, (i, t) in enumerate(zip(order, tilt_deg, strict=True))
    )
    series = TiltSeries("real", Microscope(), 10.0, tilts, stack=Stack(images, 10.0))
    name = f"EMPIAR-10499, {f'smeared by {length_angstrom:.0f} A' if length_angstrom else 'as it is'}"
    report(name, series, {int(order[s]) for s in chosen}, f"{length_angstrom:.0f}")


def _smeared(image: np.ndarray, length_angstrom: float, rng: np.random.Generator) -> np.ndarray:
    """An image moved steadily along a random line during the exposure; its noise is as white as before."""
    angle = rng.uniform(0, np.pi)
    k_y, k_x = np.fft.fftfreq(image.shape[0], 10.0)[:, None], np.fft.rfftfreq(image.shape[1], 10.0)[None]
    transfer = np.sinc(length_angstrom * (np.sin(angle) * k_y + np.cos(angle) * k_x))
    spectrum = np.fft.rfft2(image)
    outermost = (np.hypot(k_y, k_x) > 0.045) & (k_y != 0) & (k_x != 0)
    noise_rms = np.sqrt(np.median(np.abs(spectrum[outermost]) ** 2) / np.log(2) / image.size)
    noise = np.fft.rfft2(rng.normal(0, noise_rms, image.shape)) * np.sqrt(1 - transfer**2)
    return np.fft.irfft2(spectrum * transfer + noise, s=image.shape).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    seeds = parser.parse_args().seeds
    print(f"{'series':44s} found  wrongly   true A   measured A {'':13s} good up to")
    for length in (0.0, 30.0, 50.0):
        real(length)
    ferritin = DATA / "models" / "4v1w.cif.gz"
    specimens = [("builtin", 8), ("builtin", 0)] + ([(str(ferritin), 0)] if ferritin.is_file() else [])
    for specimen, n_beads in specimens:
        for seed in seeds:
            simulated(specimen, n_beads, seed)


if __name__ == "__main__":
    main()
