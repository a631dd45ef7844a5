"""From raw frames to spectra: gain, bad pixels, and a padded grid on which the binned pixel size is exact."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.kernels.movies.frame_transform import ROWS, lines_shape, transform_lines, transform_rows

__all__ = ["BadPixels", "FrameGrid", "find_bad_pixels", "frame_grid", "frame_spectrum"]

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameGrid:
    """Grid frames are transformed on, and the shape their spectra are cropped to for a binned sum.

    ``shape_yx / binned_yx`` is the binning, to about 1e-4, along both axes: cropping a spectrum of the
    bare frame would scale the two axes by different, slightly wrong factors.
    """

    frame_yx: tuple[int, int]
    shape_yx: tuple[int, int]
    binned_yx: tuple[int, int]

    @property
    def binning_yx(self) -> tuple[float, float]:
        """True factor along each axis."""
        return self.shape_yx[0] / self.binned_yx[0], self.shape_yx[1] / self.binned_yx[1]


def frame_grid(frame_yx: tuple[int, int], binning: float) -> FrameGrid:
    """Grid a little larger than a frame, of even sizes that transform fast and divide by the binning."""
    sizes = [_padded_size(n, binning) for n in frame_yx]
    return FrameGrid(frame_yx, (sizes[0][0], sizes[1][0]), (sizes[0][1], sizes[1][1]))


def _padded_size(n: int, binning: float) -> tuple[int, int]:
    """Padded size and binned size, both even: the smallest that transforms fast and bins exactly enough."""
    candidates = []
    for size in range(n + n % 2, n + max(64, n // 20), 2):
        binned = max(2, 2 * round(size / binning / 2))
        error = abs(size / binned / binning - 1.0)
        # 1e-4 of pixel size is far below its uncertainty; primes above 7 have no fast butterfly.
        if _largest_prime_factor(size) <= 7 and error <= 1e-4:
            return size, binned
        candidates.append((error, size, binned))
    return min(candidates)[1:]


def _largest_prime_factor(n: int) -> int:
    largest = candidate = 2
    while n > 1:
        while n % candidate == 0:
            n //= candidate
            largest = candidate
        candidate += 1
    return largest


@dataclass(frozen=True, slots=True)
class BadPixels:
    """Bad pixels, ordered by row, and for each frame good pixels nearby that replace them.

    Every frame uses other replacements, so that replaced pixels do not stay fixed and pull the correlation
    there.
    """

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    stand_ins: NDArray[np.int64]
    """(frame, bad pixel), flat indices into a frame."""
    mean_counts: float
    """Mean of the good pixels of a frame, gain applied."""


def find_bad_pixels(
    frames: Sequence[NDArray[Any]],
    gain: Image | None,
    n_sigma: float,
    rng: np.random.Generator,
    pool: Executor,
    dead: NDArray[np.bool_] | None = None,
) -> BadPixels:
    """Defects (gain 0), and pixels whose summed counts differ by ``n_sigma`` from the rows around them.

    frames : raw counts ``(y, x)``. gain : multiplies them. dead : further pixels known to be bad.
    """
    n_y, n_x = frames[0].shape

    def scan(start: int) -> tuple[NDArray[np.int64], float, int]:
        stop = min(n_y, start + ROWS)
        total = frames[0][start:stop].astype(np.float32)
        for frame in frames[1:]:
            total += frame[start:stop]
        good = np.isfinite(total)
        if gain is not None:
            total *= gain[start:stop]
            good &= gain[start:stop] > 0
        if dead is not None:
            good &= ~dead[start:stop]
        all_good = bool(good.all())
        values = total if all_good else total[good]
        if values.size == 0:
            return np.arange(start * n_x, stop * n_x), 0.0, 0
        mean, sigma = float(values.mean(dtype=np.float64)), float(values.std())
        # Bright blocks of few counts have a long tail: fewer than 10 excess counts are never hot.
        off = np.abs(total - mean) > max(n_sigma * sigma, 10.0 if mean < 10.0 else 0.0)
        bad = off if all_good else off | ~good
        return np.flatnonzero(bad) + start * n_x, mean * values.size, values.size

    parts = list(pool.map(scan, range(0, n_y, ROWS)))
    flat = np.concatenate([part[0] for part in parts])
    n_good = sum(part[2] for part in parts)
    mean_counts = sum(part[1] for part in parts) / max(n_good, 1) / len(frames)
    return BadPixels(flat // n_x, flat % n_x, _stand_ins(flat, (n_y, n_x), len(frames), rng), mean_counts)


def _stand_ins(
    bad: NDArray[np.int64], shape_yx: tuple[int, int], n_frames: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Good pixels drawn from a neighbourhood that grows until there is one, ``(frame, bad)`` flat indices."""
    n_y, n_x = shape_yx
    is_bad = np.zeros(n_y * n_x, dtype=bool)
    is_bad[bad] = True
    found = np.tile(bad, (n_frames, 1))
    if len(bad) == 0 or len(bad) == n_y * n_x:
        return found
    y, x = np.tile(bad // n_x, (n_frames, 1)), np.tile(bad % n_x, (n_frames, 1))
    open_ones = np.ones(found.shape, dtype=bool)
    for attempt in range(40):
        reach = 3 + attempt
        offset = rng.integers(-reach, reach + 1, size=(2, int(open_ones.sum())))
        index = np.clip(y[open_ones] + offset[0], 0, n_y - 1) * n_x + np.clip(
            x[open_ones] + offset[1], 0, n_x - 1
        )
        found[open_ones] = index
        open_ones = is_bad[found]
        if not open_ones.any():
            return found
    good = np.flatnonzero(~is_bad)
    found[open_ones] = rng.choice(good, size=int(open_ones.sum()))
    return found


def frame_spectrum(
    frame: NDArray[Any],
    i_frame: int,
    gain: Image | None,
    bad: BadPixels,
    grid: FrameGrid,
    into: NDArray[np.complex64],
    scratch: ScratchBuffers,
) -> None:
    """Transform one frame, less its mean, and keep its low frequencies.

    into : (y, x // 2 + 1) complex64, any even shape within the grid's; frequencies in the layout of an rfft2.
    """
    (n_y, n_x), (height, width), n_columns = grid.shape_yx, frame.shape, into.shape[1]
    offset_y, offset_x = (n // 2 - m // 2 for n, m in zip(grid.shape_yx, grid.frame_yx, strict=True))
    lines = torch.from_numpy(scratch.array("lines", lines_shape(n_y, n_columns), np.float32))
    lines[:, :offset_y] = 0.0
    lines[:, offset_y + height :] = 0.0
    work = torch.from_numpy(scratch.array("row of lines", (n_x, ROWS), np.float32))
    replaced = frame.ravel()[bad.stand_ins[i_frame]]
    if gain is not None:
        replaced = replaced * gain.ravel()[bad.stand_ins[i_frame]]
    rows = np.zeros((ROWS, width), np.float32)
    bounds = np.searchsorted(bad.y, np.arange(0, height + ROWS, ROWS))
    for block, start in enumerate(range(0, height, ROWS)):
        stop = min(height, start + ROWS)
        part = rows[: stop - start]
        if gain is None:
            part[...] = frame[start:stop]
        else:
            np.multiply(frame[start:stop], gain[start:stop], out=part)
        here = slice(bounds[block], bounds[block + 1])
        part[bad.y[here] - start, bad.x[here]] = replaced[here]
        part -= bad.mean_counts
        rows[stop - start :] = 0.0
        transform_rows(torch.from_numpy(rows), offset_y + start, offset_x, n_x, n_columns, lines, work)
    transform_lines(lines, torch.from_numpy(into))
