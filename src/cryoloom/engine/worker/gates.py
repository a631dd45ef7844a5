"""Checks before anything is recorded.

Pixels that are constant or NaN, or differ in shape or pixel size from the step's value, never become a
result.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.model import Item, PixelSet
from cryoloom.model.pixels import Index

__all__ = ["GatedSink", "check_columns", "check_value"]


# Columns of `model.ParticleRows` that are never unknown.
_ALWAYS_KNOWN = {"x_angstrom", "y_angstrom", "z_angstrom"} | {f"r{i}{j}" for i in range(3) for j in range(3)}


class FileSink(Protocol):
    """A file being written: what `formats.mrc.MrcSink` is."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[np.generic]: ...
    @property
    def is_finite(self) -> bool: ...
    def section_extremes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def __getitem__(self, index: Index, /) -> NDArray[np.float32]: ...
    def __setitem__(self, index: Index, values: NDArray[np.float32], /) -> None: ...


class GatedSink:
    """Pixels being written, judged by what the file notes as it is written: nothing is read again."""

    def __init__(
        self,
        role: str,
        sink: FileSink,
        path: Path,
        pixel_size_angstrom: float = 0.0,
        *,
        sections_are_images: bool = False,
    ) -> None:
        self.role = role
        self.sections_are_images = sections_are_images
        """True for a tilt series, whose sections are checked one by one; a volume may have empty ones."""
        self.pixel_size_angstrom = pixel_size_angstrom
        """As it stands in the file's header."""
        self.path = path
        """The file these pixels will be."""
        self._sink = sink
        self._n_written = 0
        self._counting = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        """Array order."""
        return self._sink.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored values."""
        return self._sink.dtype

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        return self._sink[index]

    def __setitem__(self, index: Index, values: NDArray[np.float32], /) -> None:
        self._sink[index] = values
        if not self._sink.is_finite:
            n_bad = int(np.size(values) - np.isfinite(values).sum())
            raise DataUnfitError(
                f"{self.role} would hold {n_bad} values that are not finite; expected numbers: "
                "look for NaN in the input of this step",
                where=str(index),
            )
        self._note_written(int(np.size(values)))

    def _note_written(self, n_values: int) -> None:
        with self._counting:  # parts may be written side by side
            self._n_written += n_values

    def check(self) -> None:
        """Raise DataUnfitError unless everything was written and the values vary."""
        expected = int(np.prod(self.shape))
        if self._n_written < expected:
            raise DataUnfitError(
                f"{self.role} was left unfinished: {self._n_written} of {expected} values were written"
            )
        lowest, highest = self._sink.section_extremes()
        if lowest.min() == highest.max():
            raise DataUnfitError(
                f"{self.role} is constant: every value is {lowest[0]:g}; expected an image. "
                "The input of this step is empty or the device failed"
            )

    @property
    def constant_sections(self) -> tuple[int, ...]:
        """Sections in which all values are equal: no images."""
        lowest, highest = self._sink.section_extremes()
        return tuple(int(i) for i in np.flatnonzero(lowest == highest))


def check_columns(role: str, columns: Mapping[str, NDArray[Any]]) -> None:
    """Raise unless a new table's columns have one length and its positions and rotations are numbers.

    Other columns may hold NaN where something is not known.
    """
    shapes = {name: np.shape(values) for name, values in columns.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"the columns of {role} have the shapes {shapes}; expected one axis of one length")
    for name in _ALWAYS_KNOWN & columns.keys():
        n_bad = int(np.count_nonzero(~np.isfinite(columns[name])))
        if n_bad:
            raise DataUnfitError(
                f"{n_bad} values of {name} in {role} are not finite; expected a number for every particle"
            )


def check_value(made: object, gives: type, item_name: str) -> None:
    """Raise if a step's result is not what it declares, or does not match the pixels made with it."""
    if not isinstance(made, gives):
        raise TypeError(f"the step declares a {gives.__name__}, but gave a {type(made).__name__}")
    if not isinstance(made, Item):
        return  # a step that selects items may get anything
    if made.name != item_name:
        raise ValueError(
            f"the step was given {item_name!r} and gave {made.name!r}; a step must not rename an item"
        )
    for pixel_set in made.pixel_sets():
        _check_pixels(pixel_set)


def _check_pixels(pixel_set: PixelSet) -> None:
    """Check pixels of this task: three axes, one shape, and the item's pixel size and sections."""
    shape = next(iter(pixel_set.pixels.values())).shape
    pixel_size_angstrom, n_sections = pixel_set.pixel_size_angstrom, pixel_set.n_sections
    for role, pixels in pixel_set.pixels.items():
        if not isinstance(pixels, GatedSink):
            continue  # made and checked by an earlier step, or the user's own file
        if len(pixels.shape) != 3 or pixels.shape != shape:
            raise DataUnfitError(
                f"{role} has the shape {pixels.shape}; expected {shape}, three axes, as what it belongs to"
            )
        if not math.isclose(pixels.pixel_size_angstrom, pixel_size_angstrom, rel_tol=1e-4):
            raise DataUnfitError(
                f"{role} was written with {pixels.pixel_size_angstrom:g} A per pixel; expected "
                f"{pixel_size_angstrom:g}"
            )
        if n_sections > pixels.shape[0]:
            raise DataUnfitError(
                f"a tilt has section {n_sections - 1}, but the stack has {pixels.shape[0]} sections, "
                f"0 to {pixels.shape[0] - 1}"
            )
