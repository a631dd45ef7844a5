"""8-bit copies of volumes and stacks at full, half, quarter ... size, for scrubbing in the browser.

An xz slice of a float volume of 2 GB requires reading the whole volume; from its 8-bit copy it takes
milliseconds. A copy is in the project (or in the user's cache folder). It is made on first view, renamed when
it is complete, and found by the key of its file.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import TransientError
from cryoloom.kernels.images.block_mean_cpu import block_mean_numba
from cryoloom.kernels.images.eight_bit_cpu import (
    halve_eight_bit_numba,
    mean_across_numba,
    to_eight_bit_numba,
)
from cryoloom.model import Pixels

__all__ = [
    "Kind",
    "Levels",
    "display_range",
    "eight_bit",
    "level_shapes",
    "load_kernels",
    "make_levels",
    "open_levels",
]

Kind = Literal["volume", "stack"]
Range = tuple[float, float]
Progress = Callable[[float], None]
GiveWay = Callable[[], None]
"""Called before each section by the threads that make levels: it returns when nothing more urgent is done."""
_COARSEST_PX = 256
"""Chosen: side of the coarsest level, which is sent at once."""
#: Chosen: longest side of a stored level of a tilt image; finer levels are read from the stack.
_LARGEST_STORED_PX = 2048
#: Chosen: side of the block means from which a tilt's contrast is found, so that pixel noise has no
#: influence.
_RANGE_PX = 512
#: Chosen: sections of a volume from which its contrast is found.
_N_SAMPLED = 12
_N_THREADS = 2
"""Chosen: few threads, because levels are made while a session is processed."""
_NICENESS = 10
"""Chosen: requests for pictures come before the computation of levels."""
_VERSION = 4
"""Increased if the same images give other levels, so that stored levels are replaced."""


@dataclass(frozen=True, slots=True)
class Levels:
    """8-bit levels of one image ``(z, y, x)``, finest first, and the values of 0 and 255.

    A level that is not stored (for stacks of large images) is None.
    """

    arrays: tuple[NDArray[np.uint8] | None, ...]
    ranges: tuple[Range, ...]
    """One range for a volume, one for each section of a stack."""
    kind: Kind

    def range_of(self, section: int) -> Range:
        """Values of 0 and 255 in a section of level 0."""
        return self.ranges[section if self.kind == "stack" else 0]


def display_range(values: NDArray[np.float32], percent: float = 0.05) -> Range:
    """Display range of an image from percentiles; for a constant image a range of one about its value."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, [percent, 100 - percent]))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def volume_range(pixels: Pixels) -> Range:
    """Display range of a volume ``(z, y, x)`` from a few sections; it depends only on the pixels."""
    n_z, n_y, n_x = pixels.shape
    step = max(1, int((n_y * n_x / 65_536) ** 0.5))
    chosen = np.unique(np.linspace(0, n_z - 1, min(n_z, _N_SAMPLED)).round().astype(int))
    return display_range(np.concatenate([pixels[int(z)][::step, ::step].ravel() for z in chosen]))


def tilt_range(image: NDArray[np.float32]) -> Range:
    """Display range of a tilt image ``(y, x)`` from block means, for the view of a whole tilt."""
    return display_range(binned(image, max(1, max(image.shape) // _RANGE_PX)), 0.2)


def binned(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means over square blocks of an image ``(y, x)``; remaining rows and columns are dropped."""
    if factor == 1:
        return image
    n_y, n_x = max(1, image.shape[0] // factor), max(1, image.shape[1] // factor)
    out = np.empty((n_y, n_x), dtype=np.float32)
    block_mean_numba(np.ascontiguousarray(image[: n_y * factor, : n_x * factor], dtype=np.float32), out)
    return out


def eight_bit(image: NDArray[np.float32], shown: Range) -> NDArray[np.uint8]:
    """An image ``(y, x)`` mapped linearly to 0 to 255."""
    out = np.empty(image.shape, dtype=np.uint8)
    to_eight_bit_numba(np.ascontiguousarray(image, dtype=np.float32), *shown, out)
    return out


def level_shapes(shape: tuple[int, ...], kind: Kind) -> list[tuple[int, int, int]]:
    """Shapes of all levels: a volume is halved along all axes, a tilt image along two."""
    n_z, n_y, n_x = shape
    shapes = [(n_z, n_y, n_x)]
    while max(shapes[-1][1:]) > _COARSEST_PX and min(shapes[-1][1:]) > 1:
        z, y, x = shapes[-1]
        halved = ((z + 1) // 2, (y + 1) // 2, (x + 1) // 2) if kind == "volume" else (z, y // 2, x // 2)
        shapes.append(halved)
    return shapes


def open_levels(folder: Path) -> Levels | None:
    """Existing levels, memory-mapped; None if there are none, or only those of another version."""
    try:
        facts = json.loads((folder / "levels.json").read_text())
        if facts["version"] != _VERSION:
            return None
        arrays = tuple(
            np.memmap(folder / f"{i}.u8", dtype=np.uint8, mode="r", shape=tuple(shape))
            if (folder / f"{i}.u8").exists()
            else None
            for i, shape in enumerate(facts["shapes"])
        )
    except (OSError, ValueError, KeyError):
        return None
    return Levels(arrays, tuple((low, high) for low, high in facts["ranges"]), facts["kind"])


def load_kernels(levels: Levels) -> None:
    """Run the code of yz slices once, so that the first slice does not wait for it to load."""
    for array in levels.arrays[-1:]:
        if array is not None:
            out = np.empty((array.shape[1], array.shape[0]), dtype=np.float32)
            mean_across_numba(array, 0, 1, out)
            eight_bit(out, (0.0, 255.0))


def make_levels(
    pixels: Pixels,
    folder: Path,
    kind: Kind,
    progress: Progress = lambda _: None,
    give_way: GiveWay = lambda: None,
) -> Levels:
    """Make the levels of an image ``(z, y, x)`` in ``folder``, which appears when they are complete.

    progress : called with the finished fraction, 0 to 1. give_way : see `GiveWay`.
    Raises TransientError if the disk is full.
    """
    shapes = level_shapes(pixels.shape, kind)
    stored = [kind == "volume" or max(shape[1:]) <= _LARGEST_STORED_PX for shape in shapes]
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.mkdir(parents=True)
        needed = sum(int(np.prod(s, dtype=np.int64)) for s, kept in zip(shapes, stored, strict=True) if kept)
        if (free := shutil.disk_usage(part).free) < needed + 50_000_000:
            raise TransientError(
                f"no room for the 8-bit copy in {folder.parent}: free some space, then look again",
                free_bytes=free,
                needed_bytes=needed,
            )
        arrays: list[Any] = [
            np.memmap(part / f"{i}.u8", dtype=np.uint8, mode="w+", shape=shape) if kept else None
            for i, (shape, kept) in enumerate(zip(shapes, stored, strict=True))
        ]
        fill = _fill_volume if kind == "volume" else _fill_stack
        ranges = fill(pixels, arrays, progress, give_way)
        facts = {"version": _VERSION, "kind": kind, "shapes": shapes, "ranges": ranges}
        (part / "levels.json").write_text(json.dumps(facts))
        del arrays
        if open_levels(folder) is None:  # otherwise another process was faster
            shutil.rmtree(folder, ignore_errors=True)  # levels of another version
            part.rename(folder)
    except OSError as error:
        raise TransientError(f"no 8-bit copy can be made in {folder.parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    made = open_levels(folder)
    if made is None:
        raise TransientError(f"the 8-bit copy in {folder} vanished while it was made; look again")
    return made


def _fill_volume(
    pixels: Pixels, arrays: list[NDArray[np.uint8]], progress: Progress, give_way: GiveWay
) -> list[Range]:
    """Fill all levels in blocks of sections: each section is read once, and halved while in the cache."""
    shown = volume_range(pixels)
    deep = 2 ** (len(arrays) - 1)
    starts = range(0, pixels.shape[0], deep)

    def fill(start: int) -> None:
        for z in range(start, min(start + deep, pixels.shape[0])):
            give_way()
            to_eight_bit_numba(pixels[z], *shown, arrays[0][z])
        for level in range(1, len(arrays)):
            finer, coarser = arrays[level - 1], arrays[level]
            first = start >> level
            for z in range(first, min(first + (deep >> level), len(coarser))):
                halve_eight_bit_numba(finer[2 * z], finer[min(2 * z + 1, len(finer) - 1)], coarser[z])

    with ThreadPoolExecutor(_N_THREADS, initializer=_step_back) as pool:
        for done, _ in enumerate(pool.map(fill, starts), 1):
            progress(done / len(starts))
    return [shown]


def _fill_stack(
    pixels: Pixels, arrays: list[NDArray[np.uint8] | None], progress: Progress, give_way: GiveWay
) -> list[Range]:
    """Fill the stored levels; the finest is made from means of the image, which is read once."""
    finest = next(level for level, array in enumerate(arrays) if array is not None)

    def fill(z: int) -> Range:
        give_way()
        image = binned(pixels[z], 2**finest)
        shown = tilt_range(image)
        for level, array in enumerate(arrays):
            if array is not None:
                to_eight_bit_numba(
                    binned(image, 2 ** (level - finest))[: array.shape[1], : array.shape[2]],
                    *shown,
                    array[z],
                )
        return shown

    ranges = []
    with ThreadPoolExecutor(_N_THREADS, initializer=_step_back) as pool:
        for done, shown in enumerate(pool.map(fill, range(pixels.shape[0])), 1):
            ranges.append(shown)
            progress(done / pixels.shape[0])
    return ranges


def _step_back() -> None:
    """Lower the priority of this thread, if threads have priorities."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
