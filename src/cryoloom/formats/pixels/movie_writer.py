"""Writing raw movies and gain references as cameras do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import tifffile
from numpy.typing import NDArray

__all__ = ["write_eer_gain", "write_gain_mrc", "write_movie_mrc", "write_movie_tiff"]


def write_movie_tiff(path: Path, frames: NDArray[np.generic]) -> None:
    """Write frames ``(frame, y, x)``, row 0 at the bottom, as an LZW-compressed TIFF, row 0 at the top."""
    with tifffile.TiffWriter(path) as writer:
        for frame in frames:
            writer.write(
                np.ascontiguousarray(frame[::-1]),
                photometric="minisblack",
                compression="lzw",
                # Strips of 64 rows: what SerialEM-like writers do; readers decode them in parallel.
                rowsperstrip=64,
                contiguous=False,
                metadata=None,
            )


def write_movie_mrc(path: Path, frames: NDArray[np.generic], pixel_size_angstrom: float) -> None:
    """Write frames ``(frame, y, x)``, row 0 at the bottom, as an MRC stack (8 bit: mode 0)."""
    data = frames.astype(np.int8) if frames.dtype == np.uint8 else frames
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(data))
        file.set_image_stack()
        _finish_header(file, pixel_size_angstrom)


def write_gain_mrc(path: Path, gain: NDArray[np.float32], pixel_size_angstrom: float) -> None:
    """Write a multiplicative gain reference ``(y, x)``, row 0 at the bottom, as MRC."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(gain, dtype=np.float32))
        _finish_header(file, pixel_size_angstrom)


def _finish_header(file: Any, pixel_size_angstrom: float) -> None:
    """Set the pixel size, and no label.

    Mrcfile writes the time into it, and the same seed must give the same file.
    """
    file.voxel_size = pixel_size_angstrom
    file.header.nlabl = 0
    file.header.label[:] = b""


def write_eer_gain(path: Path, gain: NDArray[np.float32]) -> None:
    """Write a multiplicative gain ``(y, x)`` as a Falcon's ``.gain``: a TIFF with the rows of the EER."""
    tifffile.imwrite(
        path, np.ascontiguousarray(gain, dtype=np.float32), photometric="minisblack", metadata=None
    )
