"""Reading and writing of a large particle set: its tables, its spectra, and what 200,000 particles need.

    python benchmarks/particle_set_io.py [--particles 200000] [--measured 400] [--folder DIR]

Tables of all particles are written and read whole. Spectra (41 tilts, box 64) are written for some series of
100 particles and read back as a pass reads them, to a coarse band and then all, from the disk (the system's
cache is emptied of them first) and from memory. Times of the whole set are multiples of these.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.particle_images import BoxLayout, ParticleImages
from cryoloom.formats.exchange.parquet import ParquetTable, write_parquet
from cryoloom.formats.pixels.array_files import open_arrays, write_arrays
from cryoloom.model import ParticleRows

PER_SERIES, N_TILTS, COARSE_ANGSTROM = 100, 41, 40.0
LAYOUT = BoxLayout(128, 64, 64, 2.7)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what the work gave."""
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made


def rows_of(n: int, rng: np.random.Generator) -> list[ParticleRows]:
    """Particles by tomogram, with everything that a refinement stores."""
    return [
        ParticleRows.of(
            f"TS_{i:05d}",
            rng.uniform(-2000, 2000, (PER_SERIES, 3)),
            rotations=Rotation.random(PER_SERIES, rng).as_matrix(),
            score=rng.normal(size=PER_SERIES),
            half=rng.integers(1, 3, PER_SERIES),
        )
        for i in range(n // PER_SERIES)
    ]


def measure_tables(n: int, folder: Path, rng: np.random.Generator) -> None:
    """Write and read one table a tomogram."""
    every = rows_of(n, rng)
    paths = [folder / f"{rows.tomogram[0]}.parquet" for rows in every]
    writing, _ = timed(lambda: [write_parquet(p, r.columns()) for p, r in zip(paths, every, strict=True)])
    reading, joined = timed(
        lambda: ParticleRows.joined([ParticleRows.from_table(ParquetTable(path)) for path in paths])
    )
    size = sum(path.stat().st_size for path in paths)
    print(f"{joined.n} particles in {len(paths)} tables: {size / 1e6:.0f} MB, written in {writing:.1f} s, "
          f"read and joined in {reading:.1f} s")  # fmt: skip


def forget(folder: Path) -> None:
    """Empty the system's cache of the files of a folder."""
    for path in folder.rglob("*.npy"):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def read_to(folders: list[Path], band_angstrom: float) -> int:
    """Read spectra to a band; gives the samples that were read."""
    n = 0
    for folder in folders:
        images = ParticleImages.of_arrays(open_arrays(folder))
        used = images.plane.n_within(band_angstrom) if band_angstrom else len(images.plane.kxy)
        for particle in range(images.n):
            float(images.data[particle, :, :used].real.sum() + images.weights[particle, :, :used].sum())
        n += images.n * N_TILTS * used
    return n


def measure_spectra(n_measured: int, n_all: int, folder: Path, rng: np.random.Generator) -> None:
    """Write and read spectra of some series, and multiply."""
    plane = HalfPlane.of_box(LAYOUT.crop_px, LAYOUT.pixel_size_angstrom)
    shape = (PER_SERIES, N_TILTS, len(plane.kxy))
    data = rng.standard_normal(shape, np.float32).astype(np.complex64)
    images = ParticleImages(
        plane, np.broadcast_to(np.eye(3), (N_TILTS, 3, 3)), np.arange(N_TILTS), data,
        np.ones(shape, np.float32), np.ones(shape[:2], bool),
    )  # fmt: skip
    folders = [folder / f"images_{i:04d}" for i in range(max(1, n_measured // PER_SERIES))]
    writing, _ = timed(lambda: [write_arrays(one, images.arrays()) for one in folders])
    share = n_all / (len(folders) * PER_SERIES)
    whole = ParticleImages.bytes_of(n_all, N_TILTS, LAYOUT)
    print(f"spectra of {n_all} particles, {N_TILTS} tilts, box {LAYOUT.crop_px}: {whole / 1e9:.0f} GB")
    print(f"written at {whole / share / writing / 1e6:.0f} MB/s: {writing * share / 60:.0f} min")
    for band, name in ((COARSE_ANGSTROM, f"{COARSE_ANGSTROM:g} A"), (0.0, "Nyquist")):
        forget(folder)
        cold, n = timed(lambda band=band: read_to(folders, band))
        warm, _ = timed(lambda band=band: read_to(folders, band))
        print(f"a pass to {name} uses {12 * n * share / 1e9:.1f} GB: {cold * share / 60:.1f} min from the "
              f"disk, {warm * share / 60:.1f} min from memory, in one process")  # fmt: skip


def main() -> None:
    """Measure, and print a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--particles", type=int, default=200_000)
    parser.add_argument("--measured", type=int, default=400)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        measure_tables(asked.particles, folder, rng)
        measure_spectra(asked.measured, asked.particles, folder, rng)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
