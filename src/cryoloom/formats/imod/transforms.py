"""IMOD's text files of an alignment: linear transforms (.xf) and angles (.tlt, .rawtlt, .xtilt), and poses.

IMOD counts pixels from the corner: the first pixel's centre is at 0.5 and the middle of an image of n
pixels at n / 2, which is index ``n / 2 - 0.5``. Ours is index ``n // 2``, so for even n they differ by half
a pixel, ``h = n // 2 - (n - 1) / 2``. An ``.xf`` line says ``aligned = A (raw - c) + d + c``.

With c IMOD's middle, a point r lies at ``raw = c + h + shift / p + m Rz(axis) q`` where
``q = [Ry(tilt) Rx(x_tilt) r]_xy / p``. Wanted is ``aligned = c + q``, as IMOD's ``tilt`` turns about c. Hence
``A = Rz(-axis) / m`` and ``d = -A (h + shift / p)``.
Proven against tiltalign's tracks in tests/formats/test_imod_transforms.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.rotations import rotation_z
from cryoloom.model import Pose

__all__ = [
    "half_pixel_xy",
    "poses_from_xf",
    "read_angles",
    "read_xf",
    "write_angles",
    "write_xf",
    "xf_from_poses",
]


def read_xf(path: Path) -> NDArray[np.float64]:
    """Transforms ``(n, 2, 3)``: the matrix A in the first two columns, d in pixels in the third."""
    numbers = _read_table(path, 6, "A11 A12 A21 A22 DX DY")
    return np.concatenate([numbers[:, :4].reshape(-1, 2, 2), numbers[:, 4:, None]], axis=2)


def write_xf(path: Path, transforms: ArrayLike) -> None:
    """Write transforms ``(n, 2, 3)``, one line a section; IMOD reads any number of digits."""
    lines = [
        "".join(f"{value:15.10f}" for value in (a11, a12, a21, a22)) + f"{dx:15.6f}{dy:15.6f}"
        for (a11, a12, dx), (a21, a22, dy) in np.asarray(transforms, dtype=np.float64)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_angles(path: Path) -> NDArray[np.float64]:
    """Angles ``(n,)`` in degrees of a ``.tlt``, ``.rawtlt`` or ``.xtilt`` file."""
    return _read_table(path, 1, "one angle")[:, 0]


def write_angles(path: Path, angles_deg: ArrayLike) -> None:
    """Write one angle a line; IMOD reads any number of digits."""
    lines = [f"{angle + 0.0:11.6f}" for angle in np.round(np.asarray(angles_deg, dtype=np.float64), 6)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def xf_from_poses(
    poses: Sequence[Pose], pixel_size_angstrom: float, shape_yx: tuple[int, int]
) -> NDArray[np.float64]:
    """Transforms ``(n, 2, 3)`` in pixels of images of ``shape_yx`` at ``pixel_size_angstrom``."""
    axis = np.array([pose.axis_deg for pose in poses])
    magnification = np.array([pose.magnification for pose in poses])
    shift_px = np.array([pose.shift_xy_angstrom for pose in poses]) / pixel_size_angstrom
    matrix = rotation_z(-axis)[:, :2, :2] / magnification[:, None, None]
    displacement = -np.einsum("nij,nj->ni", matrix, shift_px + half_pixel_xy(shape_yx))
    return np.concatenate([matrix, displacement[..., None]], axis=2)


def poses_from_xf(
    transforms: ArrayLike,
    tilt_deg: ArrayLike,
    pixel_size_angstrom: float,
    shape_yx: tuple[int, int],
    x_tilt_deg: ArrayLike = 0.0,
) -> tuple[Pose, ...]:
    """Poses from transforms ``(n, 2, 3)`` and angles ``(n,)``; inverse of `xf_from_poses`.

    A stretch or skew in A, which a pose does not know, is left out: axis and magnification are those of
    the nearest rotation and scale.
    """
    found = np.asarray(transforms, dtype=np.float64)
    matrix, displacement = found[:, :, :2], found[:, :, 2]
    # The rotation nearest to A turns by atan2(a21 - a12, a11 + a22); A turns by -axis.
    axis = -np.rad2deg(np.arctan2(matrix[:, 1, 0] - matrix[:, 0, 1], matrix[:, 0, 0] + matrix[:, 1, 1]))
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    for i in np.flatnonzero(~(determinant > 0)):
        what = "mirrors the image" if determinant[i] < 0 else "is not an image's"
        raise DataUnfitError(
            f"the transform of line {i + 1} {what} (determinant {determinant[i]:g}, expected about 1)"
        )
    magnification = 1.0 / np.sqrt(determinant)
    shift_px = -np.linalg.solve(matrix, displacement[..., None])[..., 0] - half_pixel_xy(shape_yx)
    tilt, x_tilt = np.broadcast_arrays(
        np.asarray(tilt_deg, dtype=np.float64), np.asarray(x_tilt_deg, dtype=np.float64)
    )
    if len(tilt) != len(found):
        raise DataUnfitError(
            f"{len(found)} transforms but {len(tilt)} tilt angles; give files of the same series"
        )
    shifts = shift_px * pixel_size_angstrom
    return tuple(
        Pose(
            axis_deg=float(axis[i]),
            tilt_deg=float(tilt[i]),
            x_tilt_deg=float(x_tilt[i]),
            shift_xy_angstrom=(float(shifts[i, 0]), float(shifts[i, 1])),
            magnification=float(magnification[i]),
        )
        for i in range(len(found))
    )


def half_pixel_xy(shape_yx: tuple[int, int]) -> NDArray[np.float64]:
    """Our centre minus IMOD's, ``(2,)`` in pixels: 0.5 for an even number of pixels, 0 for an odd one."""
    return np.array([n // 2 - (n - 1) / 2 for n in shape_yx[::-1]])


def _read_table(path: Path, n_columns: int, meaning: str) -> NDArray[np.float64]:
    """Rows of ``n_columns`` numbers; blank lines are skipped."""
    try:
        rows = [
            [float(word) for word in line.split()] for line in path.read_text().splitlines() if line.strip()
        ]
    except (OSError, ValueError) as error:
        raise DataUnfitError(f"{path} cannot be read: {error}; expected {meaning} on each line") from error
    if not rows or any(len(row) != n_columns for row in rows):
        counts = sorted({len(row) for row in rows})
        raise DataUnfitError(f"{path} has {counts} numbers a line; expected {n_columns} ({meaning})")
    return np.array(rows)
