"""Weights of networks as safetensors files: arrays by name and facts as text; nothing in them can run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cryoloom.errors import DataUnfitError, TransientError, UserInputError

__all__ = ["read_network", "write_network"]


def write_network(path: Path, weights: Mapping[str, NDArray[Any]], facts: Mapping[str, str]) -> None:
    """Write weights and what must be known to use them."""
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, path, dict(facts))
    except (SafetensorError, OSError) as error:  # safetensors has its own error for a full disk
        raise TransientError(f"cannot write {path}: {error}; fix that and resume") from error


def read_network(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Weights and facts; raises UserInputError where there is no such file, DataUnfitError for another."""
    if not path.is_file():
        raise UserInputError(f"the weights {path} do not exist; give a network.safetensors of an earlier run")
    try:
        with safe_open(path, framework="numpy") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}, dict(stored.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise DataUnfitError(f"{path.name} is not a safetensors file that can be read: {error}") from error
