"""Slices of volumes and tilt images as JPEG: from 8-bit levels while scrubbing, then from the floats."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from cryoloom.errors import UserInputError
from cryoloom.kernels.images.eight_bit_cpu import mean_across_numba
from cryoloom.web.pictures.images import Image
from cryoloom.web.pictures.levels import (
    Levels,
    Range,
    binned,
    display_range,
    eight_bit,
    level_shapes,
    tilt_range,
    volume_range,
)

__all__ = [
    "Slice",
    "SliceRequest",
    "Strip",
    "jpeg_of",
    "render",
    "render_strip",
    "shown_range",
    "thumbnail",
    "value_at",
]

Axis = Literal["x", "y", "z"]
T = TypeVar("T", bound=np.generic)
#: Chosen: longest side of one answer; larger pictures are requested region by region.
_LARGEST_PX = 4096


@dataclass(frozen=True, slots=True)
class SliceRequest:
    """A requested slice. Index and thickness are in sections of level 0, for any level."""

    level: int
    axis: Axis
    index: int
    n_sections: int = 1
    quality: int = 80
    region: tuple[int, int, int, int] | None = None
    """Left, bottom, width and height in pixels of the level; None for the whole slice."""
    shown: Range | None = None
    """Values for black and white, if the stored values are requested instead of the 8-bit copy."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A JPEG, upper row first, and the values of its black and white."""

    jpeg: bytes
    low: float
    high: float


def render(image: Image, levels: Levels | None, request: SliceRequest) -> Slice:
    """One slice: z as (y, x), y as (z, x), x as (y, z), with the first axis upwards.

    Raises UserInputError for a slice that the image does not have.
    """
    plane, shown = _plane(image, levels, request)
    return Slice(jpeg_of(plane, request.quality), *shown)


@dataclass(frozen=True, slots=True)
class Strip:
    """Consecutive slices in one JPEG, one below the other, and their values of black and white."""

    jpeg: bytes
    ranges: tuple[Range, ...]


def render_strip(image: Image, levels: Levels, request: SliceRequest, n_slices: int) -> Strip:
    """Slices from the index on, in steps of the level's sections; fewer at the end of the image.

    Raises UserInputError for slices that the image does not have, or that are too large for one picture.
    """
    step = 2**request.level if image.kind == "volume" or request.axis != "z" else 1
    last = image.shape["zyx".index(request.axis)]
    indices = range(request.index, max(min(request.index + n_slices * step, last), request.index + 1), step)
    made: list[tuple[NDArray[np.uint8], Range]] = []
    for index in indices:
        made.append(_plane(image, levels, replace(request, index=index)))
        if len(made[0][0]) * len(indices) > _LARGEST_PX:
            raise UserInputError(
                f"{len(indices)} slices of {len(made[0][0])} rows are too large for one picture of "
                f"{_LARGEST_PX}; ask for fewer, or for a coarser level"
            )
    # Row 0 is at the bottom of a picture, so the first slice is last.
    stacked = np.concatenate([plane for plane, _ in reversed(made)])
    return Strip(jpeg_of(stacked, request.quality), tuple(shown for _, shown in made))


def _plane(image: Image, levels: Levels | None, request: SliceRequest) -> tuple[NDArray[np.uint8], Range]:
    """The 8-bit values of a slice, and the values of its black and white."""
    shapes = level_shapes(image.shape, image.kind)
    axis = "zyx".index(request.axis)
    if not 0 <= request.level < len(shapes):
        raise UserInputError(f"{image.name} has levels 0 to {len(shapes) - 1}, got {request.level}")
    if not 0 <= request.index < image.shape[axis]:
        raise UserInputError(
            f"{image.name} has slices 0 to {image.shape[axis] - 1} along {request.axis}, got {request.index}"
        )
    stored = None if levels is None else levels.arrays[request.level]
    if request.shown is not None or stored is None or levels is None:
        plane, shown = _from_values(image, request), request.shown
        if shown is None:
            is_single_section = request.n_sections == 1 and image.kind == "volume"
            shown = shown_range(image) if is_single_section else _range_of_plane(plane, image)
        return _in_eight_bits(_cut(plane, request), shown), shown
    low, high = levels.range_of(request.index)
    chosen = _sections(request, image, stored.shape[axis])
    if len(chosen) == 1:
        return _cut(_taken(stored, axis, chosen[0]), request), (low, high)
    # The mean of many slices has a narrow range and needs its own, because 8 bits are not enough otherwise.
    mean = _mean(stored, axis, chosen)
    darkest, brightest = display_range(mean)
    scale = (high - low) / 255.0
    eight = _in_eight_bits(_cut(mean, request), (darkest, brightest))
    return eight, (low + darkest * scale, low + brightest * scale)


def thumbnail(image: Image, levels: Levels | None, index: int, longest_px: int) -> bytes:
    """A small JPEG of one section with its own contrast; for a volume, the mean of neighbouring sections."""
    shapes = level_shapes(image.shape, image.kind)
    fine_enough = [i for i, shape in enumerate(shapes) if max(shape[1:]) >= longest_px]
    level = fine_enough[-1] if fine_enough else 0
    n_sections = 1 if image.kind == "stack" else max(1, image.shape[0] // 16)
    picked = SliceRequest(level, "z", index, n_sections)
    if levels is not None and (stored := levels.arrays[level]) is not None:
        plane = _mean(stored, 0, _sections(picked, image, stored.shape[0]))
    else:
        plane = _from_values(image, picked)
    small = binned(plane, -(-max(plane.shape) // longest_px))
    return jpeg_of(eight_bit(small, display_range(small, 1.0)), 75)


def value_at(image: Image, z: int, y: int, x: int) -> float:
    """The stored value of one voxel."""
    n_z, n_y, n_x = image.shape
    if not (0 <= z < n_z and 0 <= y < n_y and 0 <= x < n_x):
        raise UserInputError(f"{image.name} has {n_z} x {n_y} x {n_x} voxels (z, y, x), got ({z}, {y}, {x})")
    return float(image.pixels[z, y : y + 1, x : x + 1][0, 0])


def _sections(request: SliceRequest, image: Image, n_at_level: int) -> range:
    """Sections of the level that are averaged for the slice, without those beyond the ends."""
    halved = image.kind == "volume" or request.axis != "z"
    step = 2**request.level if halved else 1
    n = max(1, round(request.n_sections / step))
    first = min(request.index // step, n_at_level - 1) - (n - 1) // 2
    return range(max(0, first), min(n_at_level, first + n))


def _taken(array: NDArray[np.uint8], axis: int, index: int) -> NDArray[np.uint8]:
    if axis == 2:
        return _mean(array, axis, range(index, index + 1)).astype(np.uint8)
    plane: NDArray[np.uint8] = array[(slice(None),) * axis + (index,)]
    return plane


def _mean(array: NDArray[np.uint8], axis: int, chosen: range) -> NDArray[np.float32]:
    if axis == 2:
        out = np.empty((array.shape[1], array.shape[0]), dtype=np.float32)
        mean_across_numba(array, chosen.start, chosen.stop, out)
        return out
    cut: list[slice] = [slice(None)] * 3
    cut[axis] = slice(chosen.start, chosen.stop)
    mean = array[tuple(cut)].sum(axis=axis, dtype=np.uint32).astype(np.float32) / np.float32(len(chosen))
    return np.ascontiguousarray(mean)


def _from_values(image: Image, request: SliceRequest) -> NDArray[np.float32]:
    """The slice from the stored values, averaged to the size of the level."""
    axis = "zyx".index(request.axis)
    half = (request.n_sections - 1) // 2
    first = max(0, request.index - half)
    last = min(image.shape[axis], request.index - half + request.n_sections)
    if axis == 0:
        plane = image.pixels[first]
        if last > first + 1:  # for one section, a copy of a large tilt takes as long as reading it
            plane = np.array(plane, dtype=np.float32)
            for z in range(first + 1, last):
                plane += image.pixels[z]
            plane /= np.float32(last - first)
    else:
        cut = (
            (slice(None), slice(first, last)) if axis == 1 else (slice(None), slice(None), slice(first, last))
        )
        plane = image.pixels[cut].mean(axis=axis, dtype=np.float32)
        plane = plane.T if axis == 2 else plane
    return binned(np.ascontiguousarray(plane, dtype=np.float32), 2**request.level)


@functools.lru_cache(maxsize=64)
def _known_range(key: str, image: Image) -> Range:
    return volume_range(image.pixels)


def shown_range(image: Image) -> Range:
    """First values for black and white of a volume; 0 and 1 for a stack, where each tilt has its own."""
    return _known_range(image.key, image) if image.kind == "volume" else (0.0, 1.0)


def _range_of_plane(plane: NDArray[np.float32], image: Image) -> Range:
    return tilt_range(plane) if image.kind == "stack" else display_range(plane)


def _cut(plane: NDArray[T], request: SliceRequest) -> NDArray[T]:
    """The requested region of a plane, or the whole plane."""
    if request.region is None:
        return plane
    left, bottom, width, height = request.region
    cut = plane[max(0, bottom) : bottom + height, max(0, left) : left + width]
    if not cut.size:
        raise UserInputError(f"no pixels in the region {request.region} of an image of {plane.shape} (y, x)")
    return cut


def _in_eight_bits(plane: NDArray[np.float32], shown: Range) -> NDArray[np.uint8]:
    return eight_bit(np.asarray(plane, dtype=np.float32), shown)


def jpeg_of(plane: NDArray[np.generic], quality: int) -> bytes:
    """JPEG of 8-bit values ``(y, x)``, row 0 at the bottom."""
    if max(plane.shape) > _LARGEST_PX:
        raise UserInputError(
            f"a picture of {plane.shape[1]} x {plane.shape[0]} pixels is too large; "
            f"ask for a region of at most {_LARGEST_PX} or a coarser level"
        )
    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(plane[::-1])).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()
