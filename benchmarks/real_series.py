"""The real tilt series EMPIAR-10499 00254: stack to tomogram with one command, and how compact its beads are.

Needs the series beside the checkout (shared/data/tilt-series/empiar-10499) or --series STACK.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, minimum_filter

from cryoloom.formats.pixels.mrc import MrcPixels

SERIES = Path(__file__).resolve().parents[2] / "shared/data/tilt-series/empiar-10499/00254.mrc"


def widths(volume: np.ndarray, n_beads: int) -> np.ndarray:
    """Full widths at half depth along z, y, x of the darkest spots, in voxels, ``(n, 3)``."""
    smooth = gaussian_filter(volume, 1.0)
    spots = np.argwhere(smooth == minimum_filter(smooth, 15))
    margin = 14
    inside = [p for p in spots if all(margin <= i < n - margin for i, n in zip(p, volume.shape, strict=True))]
    darkest = sorted(inside, key=lambda p: smooth[tuple(p)])[:n_beads]
    found = []
    for z, y, x in darkest:
        lines = (
            volume[z - margin : z + margin + 1, y, x],
            volume[z, y - margin : y + margin + 1, x],
            volume[z, y, x - margin : x + margin + 1],
        )
        found.append([_width(line, margin) for line in lines])
    return np.array(found)


def _width(line: np.ndarray, centre: int) -> float:
    """Distance between the half-depth crossings on both sides of the centre."""
    depth = np.median(line) - line
    half = depth[centre] / 2
    total = 0.0
    for direction in (-1, 1):
        i = centre
        while 0 < i < len(line) - 1 and depth[i] > half:
            i += direction
        before, after = depth[i - direction], depth[i]
        total += abs(i - direction - centre) + (before - half) / max(before - after, 1e-9)
    return float(total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=Path, default=SERIES)
    parser.add_argument("--beads", type=int, default=12)
    arguments = parser.parse_args()
    if not arguments.series.is_file():
        sys.exit(f"no series at {arguments.series}")
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "p"
        command = [sys.executable, "-m", "cryoloom.cli.entry"]
        clock = time.perf_counter()
        subprocess.run([*command, "process", str(arguments.series), "--project", str(project), "--json"],
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        seconds = time.perf_counter() - clock
        shown = subprocess.run([*command, "results", "--project", str(project), "--json"],
                               check=True, capture_output=True, text=True)  # fmt: skip
        results = {entry["step"]: entry for entry in map(json.loads, shown.stdout.splitlines())}
        tomogram = MrcPixels(Path(results["reconstruct"]["files"]["tomogram"]))
        voxel = tomogram.pixel_size_angstrom
        size = widths(tomogram[:], arguments.beads) * voxel
        print(f"stack to tomogram and report       {seconds:6.1f} s")
        for name, value in results["align_series"]["figures"].items():
            print(f"{name:34s} {value:6.2f}")
        z, y, x = np.median(size, axis=0)
        print(
            f"width of {len(size)} darkest spots, median: z {z:.0f}, y {y:.0f}, x {x:.0f} A (beads are 100 A)"
        )


if __name__ == "__main__":
    main()
