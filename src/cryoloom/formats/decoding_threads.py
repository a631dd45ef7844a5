"""Decode parts of a file side by side: decompressors let go of Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["n_decoding_threads", "run_side_by_side"]


def n_decoding_threads() -> int:
    """Threads this process may use: what the engine told torch."""
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
