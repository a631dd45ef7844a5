"""Decode parts of a file side by side: decompressors let go of Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["empty_sum", "n_decoding_threads", "run_side_by_side"]


def empty_sum(shape_yx: tuple[int, int], into: NDArray[Any] | None) -> NDArray[Any]:
    """Zeros to add frames to: the array given, or a new one of float32."""
    if into is None:
        return np.zeros(shape_yx, np.float32)
    if into.shape != shape_yx:
        raise ValueError(f"expected an array of shape {shape_yx}, got {into.shape}")
    into.fill(0)
    return into


def n_decoding_threads() -> int:
    """Threads this process may use: what the engine set for torch."""
    import torch  # here, so that describing a movie does not wait for torch

    return torch.get_num_threads()


def run_side_by_side(tasks: Sequence[Callable[[], None]]) -> None:
    """Run all tasks, as many at a time as there are threads; the first error is raised."""
    n_threads = min(n_decoding_threads(), len(tasks))
    if n_threads <= 1:
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(n_threads) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()
