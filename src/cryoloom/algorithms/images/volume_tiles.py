"""Processing of a volume in overlapping tiles, with bounded memory and without visible seams.

A tile is read with a margin as wide as the reach of the operation, processed as a whole, and only its core is
kept: if the margin covers the reach, the result is that of the whole volume.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoloom.model import Pixels, PixelSink

__all__ = ["TilePlan", "map_tiles", "read_mirrored"]

Volume = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Tiles of one size that cover a volume; ``(z, y, x)`` in voxels."""

    volume_shape: tuple[int, int, int]
    core_shape: tuple[int, int, int]
    """Size of the part of a tile that is kept."""
    margins: tuple[int, int, int]
    """Margin that is read around it on both sides along an axis."""

    @property
    def tile_shape(self) -> tuple[int, int, int]:
        """Core and margins."""
        n_z, n_y, n_x = (n + 2 * m for n, m in zip(self.core_shape, self.margins, strict=True))
        return n_z, n_y, n_x

    @property
    def starts(self) -> list[tuple[int, int, int]]:
        """Start of each core."""
        z, y, x = (range(0, n, core) for n, core in zip(self.volume_shape, self.core_shape, strict=True))
        return list(itertools.product(z, y, x))

    def read(self, source: Pixels, start: tuple[int, int, int]) -> Volume:
        """The tile whose core begins at ``start``, margins included."""
        return read_mirrored(
            source, tuple(s - m for s, m in zip(start, self.margins, strict=True)), self.tile_shape
        )

    def inside(self, start: tuple[int, int, int]) -> tuple[slice, ...]:
        """Place of the core in the tile, as far as it is inside the volume."""
        zipped = zip(self.margins, self.core_shape, self.volume_shape, start, strict=True)
        return tuple(slice(m, m + min(core, n - s)) for m, core, n, s in zipped)

    @classmethod
    def fitting(
        cls,
        volume_shape: tuple[int, int, int],
        margins: tuple[int, int, int],
        largest_tile_voxels: float,
        multiple: int = 1,
    ) -> TilePlan:
        """Tiles of at most this many voxels, cut along y first, then z, then x.

        multiple : tiles and cores are whole multiples of it; the margins must be, too.
        """
        n_z, n_y, n_x = (-(-n // multiple) * multiple for n in volume_shape)
        core = [n_z, n_y, n_x]

        def is_too_large() -> bool:
            tile = [n + 2 * m for n, m in zip(core, margins, strict=True)]
            return math.prod(tile) > largest_tile_voxels

        for axis in (1, 0, 2):
            while is_too_large() and core[axis] > max(multiple, margins[axis] // 2):
                core[axis] = max(multiple, -(-core[axis] // (2 * multiple)) * multiple)
        return cls(volume_shape, (core[0], core[1], core[2]), margins)


def map_tiles(
    sources: Sequence[Pixels], plan: TilePlan, work: Callable[..., Volume], sink: PixelSink
) -> Iterator[None]:
    """Write ``work`` of the same tile of every source, which returns an equally large array; yields per tile.

    Beyond its faces a volume is mirrored.
    """
    for start in plan.starts:
        done = work(*(plan.read(source, start) for source in sources))
        inside = plan.inside(start)
        target = tuple(slice(s, s + i.stop - i.start) for s, i in zip(start, inside, strict=True))
        sink[target] = np.ascontiguousarray(done[inside])
        yield


def read_mirrored(source: Pixels, start: tuple[int, ...], shape: tuple[int, ...]) -> Volume:
    """A box of a volume, mirrored at its faces, face voxels not repeated."""
    inside, before_after = [], []
    for s, n, full in zip(start, shape, source.shape, strict=True):
        low, high = max(0, s), min(full, s + n)
        inside.append(slice(low, high))
        before_after.append((low - s, s + n - high))
    box = np.asarray(source[tuple(inside)], dtype=np.float32)
    return np.pad(box, before_after, mode="reflect") if any(map(any, before_after)) else box
