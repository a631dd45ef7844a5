"""Camera defects: text of SerialEM or MotionCor, or a map image of the movie's shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels

__all__ = ["load_defects"]


def load_defects(path: Path, shape_yx: tuple[int, int]) -> NDArray[np.bool_]:
    """Map of defective pixels ``(y, x)``, row 0 at the bottom, for movies of a shape.

    A map image marks defects by values other than 0. MotionCor's lines are ``x y width height`` with row 0 at
    the bottom. SerialEM counts rows from the top; a list made at half the movie's size is doubled.
    """
    if not path.is_file():
        raise UserInputError(f"the defects file {path} does not exist; correct defects_path")
    suffix = path.suffix.lower()
    if suffix in (".mrc", ".tif", ".tiff"):
        image = MrcPixels(path)[0] if suffix == ".mrc" else tifffile.imread(path)[::-1]
        if image.shape != shape_yx:
            raise DataUnfitError(
                f"the defect map {path.name} has another shape than the movies; give one that fits",
                got_yx=image.shape,
                expected_yx=shape_yx,
            )
        return np.asarray(image != 0)
    lines = [line.split() for line in path.read_text(encoding="latin-1").splitlines()]
    lines = [words for words in lines if words and not words[0].startswith("#")]
    try:
        is_serialem = any(not _is_number(words[0]) for words in lines)
        return _serialem(lines, shape_yx) if is_serialem else _motioncor(lines, shape_yx)
    except ValueError as error:
        raise DataUnfitError(
            f"{path.name} is not a defect list as SerialEM or MotionCor write ({error}); use one of these"
        ) from error


def _motioncor(lines: list[list[str]], shape_yx: tuple[int, int]) -> NDArray[np.bool_]:
    bad = np.zeros(shape_yx, dtype=bool)
    for words in lines:
        x, y, width, height = (int(word) for word in words)
        bad[max(0, y) : y + height, max(0, x) : x + width] = True
    return bad


def _serialem(lines: list[list[str]], shape_yx: tuple[int, int]) -> NDArray[np.bool_]:
    entries = [(words[0], [int(word) for word in words[1:] if _is_number(word)]) for words in lines]
    size = {key: numbers[0] for key, numbers in entries if key in ("CameraSizeX", "CameraSizeY") and numbers}
    camera_yx = (size.get("CameraSizeY", shape_yx[0]), size.get("CameraSizeX", shape_yx[1]))
    scale = next((n for n in (1, 2, 4) if (n * camera_yx[0], n * camera_yx[1]) == shape_yx), None)
    if scale is None:
        raise ValueError(
            f"it is for {camera_yx[1]} x {camera_yx[0]} pixels, movies are {shape_yx[1]} x {shape_yx[0]}"
        )
    top_down = np.zeros(camera_yx, dtype=bool)
    for key, numbers in entries:
        if key == "BadColumns":
            top_down[:, numbers] = True
        elif key == "BadRows":
            top_down[numbers, :] = True
        elif key == "BadPixels":
            top_down[numbers[1::2], numbers[0::2]] = True
        elif key == "PartialBadCol":
            for column, first, last in zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True):
                top_down[first : last + 1, column] = True
        elif key == "PartialBadRow":
            for row, first, last in zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True):
                top_down[row, first : last + 1] = True
    return np.repeat(np.repeat(top_down[::-1], scale, axis=0), scale, axis=1)


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdigit()
