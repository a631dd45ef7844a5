"""The cell of a half Fourier cube in which a point lies, for numba loops.

The half cube is ``(z, y, x)``: x from zero, z and y with zero at index ``n // 2``. The function is inlined:
four loops have the results and the speed that they had with the code written out. What a loop does with the
cell's eight samples stays in the loop. One function that reads a channel took 21 % more time in
`take_slices_numba` and changed last bits. `sum_equivalents_numba` goes to the cube's last sample and must
not read beyond, so it has signed indices and weights that are tested.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["FAST", "ONE", "cell_of"]

FAST = {"contract", "reassoc", "arcp", "nsz"}
"""Reordering that numba may do: sums are vectorised, and infinities and NaN keep their meaning."""
# Indices are unsigned: signed ones are tested for counting from the end, which takes as long as the reading.
ONE = np.uintp(1)


@numba.njit(fastmath=FAST, error_model="numpy", inline="always")
def cell_of(x: Any, y: Any, z: Any, middle: Any) -> Any:
    """First sample (x, y, z) of the cell about a point, how far the point lies in it, and 1 or -1.

    -1: the point lies at negative x, so the cell is that of the opposite point, where the cube is conjugate.
    """
    sign = np.float32(1.0)
    if x < 0:
        x, y, z, sign = -x, -y, -z, np.float32(-1.0)
    y, z = y + middle, z + middle
    ix, iy, iz = np.uintp(x), np.uintp(y), np.uintp(z)
    return ix, iy, iz, x - np.float32(ix), y - np.float32(iy), z - np.float32(iz), sign
