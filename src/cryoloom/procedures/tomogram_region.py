"""The voxels of a tomogram that are kept when it is cut to a region about a middle."""

from __future__ import annotations

from cryoloom.errors import UserInputError

__all__ = ["kept_voxels"]

_LEAST_VOXELS = 4
"""Chosen: fewer are no volume."""


def kept_voxels(
    n: int, middle: int, sign: int, extent_angstrom: float | None, voxel_size_angstrom: float, name: str
) -> range:
    """Old indices of the voxels of a region along an axis, in the new order.

    Its middle becomes the new centre. n : voxels of the axis. middle : of the region, in voxels from the old
    centre ``n // 2``. sign : -1 if the axis is reversed. extent_angstrom : None keeps the largest region
    about the middle. name : of the axis. Raises UserInputError if the region does not fit.
    """
    centre = n // 2 + middle
    # New index j is old index centre + sign (j - m // 2), for j from 0 to m - 1.
    before, after = (centre, n - 1 - centre) if sign > 0 else (n - 1 - centre, centre)
    largest = max(0, 2 * min(before, after + 1))
    if extent_angstrom is None:
        size = n if middle == 0 and sign > 0 else largest
    else:
        size = max(2, 2 * round(extent_angstrom / voxel_size_angstrom / 2))
        if middle == 0 and sign > 0 and size >= n:
            size = n if extent_angstrom <= (n + 1) * voxel_size_angstrom else size
    if size < _LEAST_VOXELS or (size > largest and size != n):
        raise UserInputError(
            f"the tomogram's {name} reaches {n * voxel_size_angstrom:.0f} A; about "
            f"{middle * voxel_size_angstrom:.0f} "
            f"A at most {largest * voxel_size_angstrom:.0f} A can be kept; choose another extent or middle",
            got_angstrom=extent_angstrom,
        )
    first = centre - sign * (size // 2)
    return range(first, first + sign * size, sign)
