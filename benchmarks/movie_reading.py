"""Time to read movies as sums of counts: TIFF of several compressions, and EER against imagecodecs' decoder.

Default: one 5760 x 4092 x 8 movie of 1 count a pixel and frame, and one EER of 4096 x 4096 x 56 frames at
0.04 electrons a pixel and frame, a sixth of a usual exposure. Minima over repeats.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import torch

from cryoloom.formats.pixels.eer_writer import encode_eer_frame, write_eer
from cryoloom.formats.pixels.movie import describe_movie, open_movie


def fastest(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def tiff_rows(folder: Path, rng: np.random.Generator, repeats: int) -> None:
    frames = rng.poisson(1.0, (8, 4092, 5760)).astype(np.uint8)
    for name, options in {
        "raw": {},
        "LZW": {"compression": "lzw"},
        "LZW, one strip": {"compression": "lzw", "rowsperstrip": 4092},
        "deflate": {"compression": "zlib"},
    }.items():
        path = folder / "movie.tif"
        tifffile.imwrite(path, frames, photometric="minisblack", **options)
        opened = open_movie(describe_movie(path))
        together = fastest(lambda opened=opened: opened.read_sum(0, 8), repeats)
        singly = fastest(lambda opened=opened: [opened.read_sum(i, i + 1) for i in range(8)], repeats)
        size_mb = path.stat().st_size / 1e6
        print(f"TIFF {name:16s} {size_mb:8.1f} MB  sum {together:6.2f} s  singly {singly:6.2f} s", flush=True)
        path.unlink()


def eer_rows(folder: Path, rng: np.random.Generator, repeats: int) -> None:
    n_frames, n_events = 56, int(0.04 * 4096**2)
    events = [rng.integers(0, 4 * 4096, (n_events, 2)) for _ in range(4)]  # four frames, taken in turn
    path = folder / "movie.eer"
    write_eer(
        path,
        (events[i % 4] for i in range(n_frames)),
        (4096, 4096),
        dose_per_angstrom2=1.0,
        pixel_size_angstrom=1.5,
    )
    for sampling in (1, 2):
        opened = open_movie(describe_movie(path, sampling))
        opened.read_sum(0, 1)  # compiles
        seconds = fastest(lambda opened=opened: opened.read_sum(0, n_frames), repeats)
        print(f"EER sampling {sampling}          {n_frames} frames  sum {seconds:6.2f} s")
    raw = encode_eer_frame(events[0], (4096, 4096))[0]
    seconds = n_frames * fastest(lambda: imagecodecs.eer_decode(raw, (4096, 4096), 7, 2, 2), repeats)
    print(f"EER, imagecodecs, one thread, decoding alone: {seconds:6.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        tiff_rows(Path(folder), rng, arguments.repeats)
        eer_rows(Path(folder), rng, arguments.repeats)
    print(f"{arguments.threads} threads, minima of {arguments.repeats}")


if __name__ == "__main__":
    main()
