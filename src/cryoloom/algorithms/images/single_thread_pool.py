"""Threads that each run torch on one thread.

Torch divides every transform among its own threads, which then busy-wait for each other longer than a small
transform takes. Independent pieces of work in parallel use the processor fully.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

__all__ = ["single_thread_pool"]


@contextmanager
def single_thread_pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which torch works on one thread."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        # New threads begin with the number of threads that was set last.
        torch.set_num_threads(before)
