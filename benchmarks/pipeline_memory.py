"""Peak memory and time of the whole pipeline: 41 movies of 5760 x 4092 x 8 frames to a bin-4 tomogram.

The movies are noise with gold-like discs at the places a tilted specimen puts them, made from a few noise
frames moved about: their content costs nothing, their size is real. Raw data take 7.7 GB under --folder and
are removed afterwards.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from cryoloom.geometry.projection import project, projection_matrices

SHAPE = (4092, 5760)
PIXEL_SIZE_ANGSTROM = 1.35
AXIS_DEG = 85.0
N_FRAMES = 8


def dose_symmetric(n_tilts: int, step_deg: float = 3.0) -> list[float]:
    """0, 3, -3, -6, 6, 9 ... as SerialEM takes them."""
    angles = [0.0]
    side, k = 1.0, 1
    while len(angles) < n_tilts:
        angles += [side * k * step_deg, -side * k * step_deg]
        side, k = -side, k + 1
    return angles[:n_tilts]


def discs(image: np.ndarray, centres_yx: np.ndarray, radius_px: float) -> None:
    """Darken discs in place."""
    r = int(radius_px) + 1
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    inside = np.hypot(y, x) < radius_px
    for cy, cx in np.rint(centres_yx).astype(int):
        if r <= cy < image.shape[0] - r and r <= cx < image.shape[1] - r:
            image[cy - r : cy + r + 1, cx - r : cx + r + 1][inside] //= 2


def make_raw(folder: Path, n_tilts: int) -> None:
    """Movies and an mdoc."""
    rng = np.random.default_rng(5)
    noise = rng.poisson(0.9, (3, *SHAPE)).astype(np.uint8)
    points = np.column_stack(
        [rng.uniform(-3500, 3500, 60), rng.uniform(-2500, 2500, 60), rng.uniform(-600, 600, 60)]
    )
    lines = [
        f"PixelSpacing = {PIXEL_SIZE_ANGSTROM}",
        "Voltage = 300",
        f"ImageSize = {SHAPE[1]} {SHAPE[0]}",
        "",
    ]
    lines += [f"[T =     Tilt axis angle = {AXIS_DEG}, binning = 1  spot = 8  camera = 1]", ""]
    for i, angle in enumerate(dose_symmetric(n_tilts)):
        name = f"TS_01_{i:03d}_{angle:.1f}.tif"
        where = project(points, projection_matrices(AXIS_DEG, [angle]), rng.normal(0, 40, (1, 2)))[0]
        centres = where[:, ::-1] / PIXEL_SIZE_ANGSTROM + np.array(SHAPE) // 2
        frames = np.stack(
            [
                np.roll(noise[k % 3], (131 * (i + 1) * (k + 1), 977 * (i + 3) * (k + 1)), (0, 1))
                for k in range(N_FRAMES)
            ]
        )
        for frame in frames:
            discs(frame, centres, 37.0)
        tifffile.imwrite(folder / name, frames[:, ::-1])
        lines += [
            f"[ZValue = {i}]",
            f"TiltAngle = {angle}",
            f"PixelSpacing = {PIXEL_SIZE_ANGSTROM}",
            "ExposureDose = 3",
            f"SubFramePath = X:\\frames\\{name}",
            f"NumSubFrames = {N_FRAMES}",
            f"DateTime = 21-Nov-26  10:{i:02d}:00",
            "",
        ]
    (folder / "TS_01.mrc.mdoc").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="scratch folder with 20 GB free")
    parser.add_argument("--tilts", type=int, default=41)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cryoloom-memory-", dir=arguments.folder))
    try:
        raw = folder / "raw"
        raw.mkdir()
        make_raw(raw, arguments.tilts)
        clock = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "cryoloom.cli.main",
            "process",
            str(raw),
            "--project",
            str(folder / "p"),
        ]
        command += ["--set", "reconstruct.binning=4"]
        done = subprocess.run(command, check=False)
        seconds = time.perf_counter() - clock
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        size = f"{SHAPE[1]} x {SHAPE[0]} x {N_FRAMES}"
        print(f"{arguments.tilts} movies of {size} to a bin-4 tomogram (exit status {done.returncode})")
        print(f"  peak resident memory  {peak:6.2f} GiB   (limit 8)")
        print(f"  wall time             {seconds:6.0f} s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
