"""Volumes as multiscale OME-Zarr 0.5 (Zarr format 3), which the field's viewers read level by level.

Metadata: https://ngff.openmicroscopy.org/0.5. Each level is the mean over 2 x 2 x 2 voxels of the one before.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from cryoloom.errors import DataUnfitError, TransientError
from cryoloom.model import Pixels
from cryoloom.model.pixels import Index

__all__ = ["ZarrPixels", "multiscales", "write_multiscale"]

_CHUNK = 128
_COARSEST = 128
"""Chosen: voxels along a chunk, 8 MB; and along the coarsest level, which viewers load whole."""


class ZarrPixels:
    """One level of a multiscale volume ``(z, y, x)``, read as float32 when sliced."""

    def __init__(self, path: str | os.PathLike[str], level: int = 0) -> None:
        self.path = Path(path)
        self._level = level
        try:
            group = zarr.open_group(self.path, mode="r")
            array = group[str(level)]
            datasets: Any = group.attrs["ome"]
            transforms = datasets["multiscales"][0]["datasets"][level]["coordinateTransformations"]
        except (FileNotFoundError, KeyError, IndexError) as error:
            raise DataUnfitError(f"{self.path} is not an OME-Zarr volume with a level {level}") from error
        self.pixel_size_angstrom = float(transforms[0]["scale"][-1])
        self._shape, self._dtype = tuple(array.shape), np.dtype(array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(z, y, x)``."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored values."""
        return self._dtype

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        array = zarr.open_array(self.path / str(self._level), mode="r")
        return np.asarray(array[index], dtype=np.float32)


def write_multiscale(pixels: Pixels, path: str | os.PathLike[str], voxel_size_angstrom: float) -> None:
    """Write a volume ``(z, y, x)`` with all its levels; the folder gets its name when it is whole.

    Made chunk by chunk: a slab of 128 x 128 rows is the most that is in memory.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        group = zarr.open_group(part, mode="w", zarr_format=3)
        group.attrs["ome"] = multiscales(path.stem, len(_level_shapes(pixels.shape)), voxel_size_angstrom)
        shapes = _level_shapes(pixels.shape)
        dtype = "float16" if pixels.dtype == np.float16 else "float32"
        previous = _new_level(group, 0, shapes[0], dtype)
        for rows in _chunks(shapes[0][:2]):  # whole rows are what a file reads best
            previous[rows] = pixels[rows].astype(dtype, copy=False)
        for level, shape in enumerate(shapes[1:], start=1):
            current = _new_level(group, level, shape, dtype)
            for region in _chunks(shape):
                finer = tuple(slice(2 * cut.start, 2 * cut.stop) for cut in region)
                current[region] = _halve(np.asarray(previous[finer], dtype=np.float32)).astype(dtype)
            previous = current
        _replace_folder(part, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"the disk is full: cannot write {path}; free some space and resume"
        else:
            message = f"cannot write {path}: {error.strerror}; remove the cause, then resume"
        raise TransientError(message) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _replace_folder(part: Path, path: Path) -> None:
    """Give the new folder its name; one of that name is moved aside first, since folders do not replace."""
    if path.exists():
        old = path.with_name(f".{path.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        part.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    else:
        part.rename(path)


def _new_level(group: zarr.Group, level: int, shape: tuple[int, ...], dtype: str) -> Any:
    return group.create_array(
        str(level),
        shape=shape,
        chunks=tuple(min(_CHUNK, n) for n in shape),
        dtype=dtype,
        # Shuffled bytes put the exponents of noise together, all that can be packed: zstd takes a third more
        # time to save 2 %.
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
        dimension_names=("z", "y", "x"),
    )


def _level_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    if len(shape) != 3:
        raise DataUnfitError("only volumes are written as OME-Zarr", got_shape=shape, expected="(z, y, x)")
    shapes = [tuple(shape)]
    while max(shapes[-1]) > _COARSEST:
        shapes.append(tuple((n + 1) // 2 for n in shapes[-1]))
    return shapes


def _chunks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    cuts = [[slice(a, min(a + _CHUNK, n)) for a in range(0, n, _CHUNK)] for n in shape]
    return itertools.product(*cuts)


def _halve(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over 2 x 2 x 2; an odd last plane stands for two."""
    for axis in range(3):
        if block.shape[axis] % 2:
            block = np.concatenate([block, np.take(block, [-1], axis=axis)], axis=axis)
        pairs = np.moveaxis(block, axis, 0)
        block = np.moveaxis((pairs[0::2] + pairs[1::2]) * np.float32(0.5), 0, axis)
    return block


def multiscales(name: str, n_levels: int, voxel_size_angstrom: float) -> dict[str, Any]:
    """OME-Zarr's ``ome``: scale and place of every level, each binned by two.

    A binned voxel lies between those it is the mean of, so its place is that of their middle.
    """
    datasets = []
    for level in range(n_levels):
        size = voxel_size_angstrom * 2**level
        place = voxel_size_angstrom * (2**level - 1) / 2
        transforms = [
            {"type": "scale", "scale": [size] * 3},
            {"type": "translation", "translation": [place] * 3},
        ]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    axes = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
    return {
        "version": "0.5",
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets, "type": "mean"}],
    }
