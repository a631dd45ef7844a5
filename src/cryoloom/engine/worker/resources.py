"""Resources of a worker, and its threads."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numba
import torch
from threadpoolctl import threadpool_limits

from cryoloom.algorithms.images.single_thread_pool import set_transform_threads

__all__ = ["Resources", "set_threads"]

N_TORCH_THREADS = 4
"""Torch's sums depend on the number of threads in the last bits, so it is the same on every machine
(decision 9). Numba, FFTs and decoding give the same bits with any number."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one worker."""

    device: str
    n_threads: int
    memory_bytes: int
    parts_at_once: int = 1
    """Parts of a task's work that may be done at the same time, by all workers together."""

    part_memory_bytes: int = 0
    """Memory of a part's worker; 0 for as much as that of the task."""

    @property
    def of_a_part(self) -> Resources:
        """Resources of a part's worker."""
        return replace(self, memory_bytes=self.part_memory_bytes or self.memory_bytes, parts_at_once=1)


def set_threads(n_threads: int) -> None:
    """Give torch, its FFTs, numba and BLAS their threads; they keep the number per thread: for every task."""
    # Numba first: when it starts its threads it changes the number of OpenMP's, which are torch's.
    numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(N_TORCH_THREADS)
    torch.get_num_threads()  # at its first use in a thread torch sets its own and MKL's once more: now
    _limit_blas()
    set_transform_threads(1)


@functools.cache
def _limit_blas() -> None:
    threadpool_limits(1, user_api="blas")
