"""Decoding side by side: all is done, in place, and the first error is raised."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.formats.pixels.decoding_threads import empty_sum, n_decoding_threads, run_side_by_side


@pytest.fixture(params=[1, 3])
def n_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_task_is_done(n_threads):
    assert n_decoding_threads() == n_threads
    done = np.zeros(7, int)

    def task(i):
        def run():
            done[i] += i

        return run

    run_side_by_side([task(i) for i in range(7)])
    assert done.tolist() == list(range(7))
    run_side_by_side([])


def test_the_first_error_is_raised(n_threads):
    def fail():
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        run_side_by_side([fail, lambda: None])


def test_sums_begin_at_zero_in_the_array_given():
    into = np.full((2, 3), 9, np.uint16)
    assert empty_sum((2, 3), into) is into
    assert not into.any()
    assert empty_sum((2, 3), None).dtype == np.float32
    with pytest.raises(ValueError, match="expected an array of shape"):
        empty_sum((3, 3), into)
