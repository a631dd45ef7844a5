"""Arrays kept for a while in a folder, one NumPy file each, read where they lie (memory-mapped)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["open_arrays", "write_arrays"]


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write ``folder/<name>.npy`` for each array; a file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        part = folder / f".{name}.npy.part"
        with part.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        os.replace(part, folder / f"{name}.npy")


def open_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Every array of a folder by name; nothing is read until it is used."""
    return {
        path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))
    }
