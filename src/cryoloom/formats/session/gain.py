"""Gain references of every camera, as one thing: what counts are multiplied by, oriented like the frames.

MRC, TIFF and DM4 multiply (K2, K3). For EER movies a ``.gain`` file multiplies and, a TIFF though it is, is
not flipped; any other file divides (RELION's rules). TIFF is flipped upside down as TIFF movies are, DM4 too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.dm4 import read_dm_image
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.session.defects import load_defects
from cryoloom.geometry.image_orientation import orient_image
from cryoloom.model import GainReference

__all__ = ["fit_to_shape", "load_gain", "read_gain_file", "read_reference_image"]

_SUFFIXES = (".mrc", ".mrcs", ".tif", ".tiff", ".gain", ".dm4", ".dm3")


def load_gain(gain: GainReference, shape_yx: tuple[int, int]) -> NDArray[np.float32]:
    """Multiplicative gain ``(y, x)`` for frames of a shape; 0 marks a defect.

    A reference of half or twice the frames' size (EER sampling, super-resolution) is replicated or averaged.
    Raises DataUnfitError if it does not fit, and says whether a quarter turn would.
    """
    image = orient_image(read_gain_file(gain), gain.quarter_turns, gain.flip)
    fitted = fit_to_shape(image, shape_yx)
    if fitted is None:
        turned = fit_to_shape(image.T, shape_yx) is not None
        hint = (
            "a quarter turn more would fit"
            if turned
            else "no rotation fits; give the reference of this camera"
        )
        raise DataUnfitError(
            f"the gain reference {gain.path.name} does not fit the movies; {hint}",
            got_yx=image.shape,
            expected_yx=shape_yx,
            quarter_turns=gain.quarter_turns,
        )
    if gain.defects_path is not None:
        fitted[load_defects(gain.defects_path, shape_yx)] = 0.0
    return fitted


def read_gain_file(gain: GainReference) -> NDArray[np.float32]:
    """Multiplicative gain as its file is oriented, row 0 at the bottom; 0 where it is not positive."""
    path = gain.path
    image = read_reference_image(path, "gain reference")
    good = np.isfinite(image) & (image > 0)
    if not good.any():
        raise DataUnfitError(
            f"{path.name} has no positive value; give a gain reference", got_shape=image.shape
        )
    result = np.zeros(image.shape, dtype=np.float32)
    np.divide(1.0, image, out=result, where=good) if gain.divides else np.copyto(result, image, where=good)
    return result


def read_reference_image(path: Path, role: str) -> NDArray[np.float32]:
    """Single image ``(y, x)`` of a reference of the camera, row 0 at the bottom; errors name its ``role``."""
    suffix = path.suffix.lower()
    if not path.is_file():
        raise UserInputError(f"the {role} {path} does not exist; correct the parameter of import_movies")
    if suffix in (".mrc", ".mrcs"):
        image = MrcPixels(path)[0]
    elif suffix in (".dm4", ".dm3"):
        image = read_dm_image(path)
    elif suffix in _SUFFIXES:
        image = _read_tiff(path)
        image = image if suffix == ".gain" else image[::-1]
    else:
        raise UserInputError(f"{path.name} cannot be read as a {role}; expected {', '.join(_SUFFIXES)}")
    if image.ndim == 3 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 2:
        raise DataUnfitError(f"{path.name} is not a single image; give a {role}", got_shape=image.shape)
    return np.asarray(image, dtype=np.float32)


def fit_to_shape(image: NDArray[np.float32], shape_yx: tuple[int, int]) -> NDArray[np.float32] | None:
    """Gain on the frames' grid: as it is, repeated, or averaged over good values; None if it cannot fit."""
    n_y, n_x = image.shape
    if (n_y, n_x) == shape_yx:
        return image
    for factor in (2, 4):
        if (n_y * factor, n_x * factor) == shape_yx:
            return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)
        if (n_y, n_x) == (shape_yx[0] * factor, shape_yx[1] * factor):
            blocks = image.reshape(shape_yx[0], factor, shape_yx[1], factor)
            n_good = np.count_nonzero(blocks, axis=(1, 3))
            return np.asarray(blocks.sum(axis=(1, 3)) / np.maximum(n_good, 1), dtype=np.float32)
    return None


def _read_tiff(path: Path) -> NDArray[np.float32]:
    try:
        with tifffile.TiffFile(path) as tiff:
            return np.asarray(tiff.pages[0].asarray(), dtype=np.float32)
    except (tifffile.TiffFileError, ValueError, RuntimeError) as error:
        raise DataUnfitError(f"{path.name} cannot be read as a TIFF image: {error}") from error
