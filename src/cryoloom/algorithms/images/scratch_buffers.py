"""Arrays that are reused when the same work is done for one movie or image after another."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

__all__ = ["ScratchBuffers"]

_LINE_BYTES = 64
"""Size of a cache line. Vectors that cross lines take twice the time, and NumPy does not align to lines."""


class ScratchBuffers(threading.local):
    """Scratch memory by name, separate for every thread.

    The system allocates new memory page by page, which takes longer than to fill it.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, NDArray[np.uint8]] = {}
        self._tensors: dict[str, torch.Tensor] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array with its previous content; it is valid until the same name is requested again."""
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        block = self._blocks.get(name)
        if block is None or block.size < n_bytes:
            self._blocks.pop(name, None)  # free it first, because both may not fit together
            block = np.empty(n_bytes + _LINE_BYTES, np.uint8)
            block = self._blocks[name] = block[-block.ctypes.data % _LINE_BYTES :]
        return block[:n_bytes].view(dtype).reshape(shape)

    def tensor(self, name: str, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """A float32 tensor on a device, as `array`; its memory begins at a cache line."""
        n = math.prod(shape)
        block = self._tensors.get(name)
        if block is None or block.numel() < n or block.device != device:
            self._tensors.pop(name, None)
            block = self._tensors[name] = torch.empty(n, dtype=torch.float32, device=device)
        return block[:n].view(shape)
