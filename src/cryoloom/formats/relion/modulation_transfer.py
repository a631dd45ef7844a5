"""A detector's modulation transfer as RELION keeps it: ``rlnResolutionInversePixel, rlnMtfValue``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import UserInputError
from cryoloom.formats.relion.star_tables import read_blocks

__all__ = ["read_mtf"]


def read_mtf(star: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies in cycles per detector pixel and the transfer there, each ``(n,)``, by frequency.

    Raises UserInputError if the file is no such table.
    """
    if not star.is_file():
        raise UserInputError(f"the modulation transfer file {star} does not exist; expected a STAR file")
    for rows in read_blocks(star).values():
        if rows and "rlnResolutionInversePixel" in rows[0] and "rlnMtfValue" in rows[0]:
            table = np.array(
                [[float(row["rlnResolutionInversePixel"]), float(row["rlnMtfValue"])] for row in rows]
            )
            table = table[np.argsort(table[:, 0])]
            if not np.isfinite(table).all() or table[:, 1].max() <= 0:
                raise UserInputError(
                    f"the modulation transfer file {star} contains no positive, finite values"
                )
            return table[:, 0], table[:, 1]
    raise UserInputError(
        f"{star} is not a modulation transfer: expected the columns rlnResolutionInversePixel and rlnMtfValue"
    )
