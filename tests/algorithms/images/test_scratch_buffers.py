import threading

import numpy as np

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers


def test_memory_is_used_again_and_grows_where_it_must():
    scratch = ScratchBuffers()
    first = scratch.array("a", (4, 6), np.complex64)
    assert (first.shape, first.dtype) == ((4, 6), np.complex64)
    assert np.shares_memory(first, scratch.array("a", (5,), np.float64))
    assert not np.shares_memory(first, scratch.array("b", (4, 6), np.complex64))
    assert scratch.array("a", (100, 100), np.uint8).shape == (100, 100)
    assert scratch.array("empty", (0, 3), np.float32).shape == (0, 3)


def test_threads_do_not_share():
    scratch, made = ScratchBuffers(), []
    mine = scratch.array("a", (8,), np.float32)
    thread = threading.Thread(target=lambda: made.append(scratch.array("a", (8,), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, made[0])


def test_arrays_begin_on_a_line_of_the_caches():
    scratch = ScratchBuffers()
    for n in (1, 1000, 100_000):
        assert scratch.array("a", (n,), np.float32).ctypes.data % 64 == 0
