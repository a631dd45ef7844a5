"""Aligned images for a program that turns the specimen about the images' own y.

apply_alignment centres images at index ``n // 2``; IMOD, NovaCTF and tomo3d turn about ``(n - 1) / 2``. So
images are shifted by half a pixel where their size is even, by Fourier phase, and the tomogram's poses say
where its origin is (`included_tilts.series_centred_on_voxel`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cryoloom.algorithms.images.fourier import shift_images
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.model import Pixels, Tilt, TiltSeries

__all__ = ["angles_of", "require_upright", "used_tilts", "write_flipped", "write_upright"]

_UPRIGHT = 1e-3
"""Chosen: degrees and angstrom, what writing poses as text leaves."""
_MOST_X_TILT_DEG = 0.05
"""Chosen: at the rim of a field of a micrometre it moves the specimen by 4 A."""


def used_tilts(series: TiltSeries) -> list[Tilt]:
    """Tilts in use that have an image, in order of tilt as the program gets them."""
    return [tilt for tilt in series.included if tilt.section is not None]


def require_upright(series: TiltSeries, program: str) -> None:
    """Raise DataUnfitError unless the images are aligned: tilt axis along y through their centre."""
    used = used_tilts(series)
    if len(used) < 2:
        raise DataUnfitError(f"{series.name} has {len(used)} tilts in use, expected at least 2")
    for tilt in used:
        pose = tilt.pose
        if pose is None or abs(pose.axis_deg) > _UPRIGHT or max(map(abs, pose.shift_xy_angstrom)) > _UPRIGHT:
            raise DataUnfitError(
                f"{program} takes aligned images, and those of {series.name} are not; run apply_alignment "
                "before this step"
            )
        if abs(pose.x_tilt_deg) > _MOST_X_TILT_DEG:
            raise DataUnfitError(
                f"{series.name} has an x-tilt of {pose.x_tilt_deg:.2f} deg, which {program} does not "
                "support; align without it"
            )


def angles_of(series: TiltSeries) -> str:
    """The tilts in use, one a line."""
    return "".join(f"{tilt.pose.tilt_deg:.4f}\n" for tilt in used_tilts(series) if tilt.pose is not None)


def write_upright(pixels: Pixels, series: TiltSeries, path: Path, pixel_size_angstrom: float) -> None:
    """Write the images of the tilts in use, centred as the program centres."""
    n_y, n_x = pixels.shape[1:]
    shift = torch.tensor([[-0.5 if n % 2 == 0 else 0.0 for n in (n_y, n_x)]])
    used = used_tilts(series)
    sink = MrcSink(path, (len(used), n_y, n_x), pixel_size_angstrom)
    try:
        for i, tilt in enumerate(used):
            image = torch.from_numpy(np.ascontiguousarray(pixels[tilt.section or 0], dtype=np.float32))
            sink[i] = shift_images(image[None], shift)[0].numpy()
        sink.commit()
    except BaseException:
        sink.discard()
        raise


def write_flipped(source: Path, path: Path, pixel_size_angstrom: float) -> None:
    """Exchange sections and rows, as IMOD's ``clip flipyz`` does: a section for each y."""
    images = MrcPixels(source)
    n, n_y, n_x = images.shape
    sink = MrcSink(path, (n_y, n, n_x), pixel_size_angstrom)
    try:
        for i in range(n):
            sink[:, i, :] = images[i]
        sink.commit()
    except BaseException:
        sink.discard()
        raise
