"""Threads of a task."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from cryoloom.algorithms.images.single_thread_pool import of_each, set_transform_threads
from cryoloom.engine.worker.resources import N_TORCH_THREADS, set_threads


def on_a_thread_of_its_own(work):
    """Threads are set for the thread that asks; the tests' own keeps its number."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    before = torch.get_num_threads()
    thread.start()
    thread.join()
    torch.set_num_threads(before)
    return results[0]


def test_torch_works_on_as_many_threads_on_every_machine():
    def work():
        set_threads(1)
        return torch.get_num_threads()

    assert on_a_thread_of_its_own(work) == N_TORCH_THREADS


def test_transforms_stay_on_one_thread_after_torchs_first_work_and_after_a_pool():
    def work():
        set_threads(1)
        torch.fft.rfft2(torch.ones((64, 64)))
        first = set_transform_threads(1), torch.get_num_threads()
        of_each(lambda x: x, [1, 2])
        return first, (set_transform_threads(1), torch.get_num_threads())

    for transforms, others in on_a_thread_of_its_own(work):
        assert transforms in (0, 1)  # 0: a torch without MKL
        assert others == N_TORCH_THREADS


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processor cores cannot be chosen here")
def test_a_small_transform_does_not_wait_for_threads_that_have_no_core():
    """MKL's own threads, four on one core, took 8 to 50 ms for each of these."""

    def work():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # of this thread
        set_threads(1)
        image = torch.ones((64, 64))
        torch.fft.rfft2(image)
        begin = time.thread_time(), time.perf_counter()
        for _ in range(20):
            torch.fft.rfft2(image)
        return time.perf_counter() - begin[1]

    assert on_a_thread_of_its_own(work) / 20 < 4e-3
