"""Resources of a worker, and its threads."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numba
import torch
from threadpoolctl import threadpool_limits

__all__ = ["Resources", "set_threads"]

N_TORCH_THREADS = 4
"""Torch's sums depend on the number of threads in the last bits, so it is the same on every machine
(decision 9). Numba, FFTs and decoding give the same bits with any number."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker may use."""

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
    torch.set_num_threads(N_TORCH_THREADS)
    numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
    _limit_blas()
    _limit_transforms()


@functools.cache
def _limit_blas() -> None:
    threadpool_limits(1, user_api="blas")


def _limit_transforms() -> None:
    """One thread for each of torch's FFTs (MKL's) that the calling thread asks for.

    MKL shares a single transform out among its threads, which wait for each other busily: where they have
    fewer cores than they are, a transform of 64 x 64 pixels takes 8 to 50 ms instead of 0.02 ms. Its bits,
    too, depend on whether there is more than one.
    """
    library = _mkl()
    if library is not None:
        library.MKL_Set_Num_Threads_Local(1)


@functools.cache
def _mkl() -> ctypes.CDLL | None:
    """The library with torch's MKL; None if torch was built without."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    library = ctypes.CDLL(str(path)) if path.is_file() else None
    return library if hasattr(library, "MKL_Set_Num_Threads_Local") else None
