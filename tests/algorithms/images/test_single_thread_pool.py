"""Threads in which torch works alone."""

from __future__ import annotations

import threading
import time

import torch

from cryoloom.algorithms.images.single_thread_pool import (
    of_each,
    set_transform_threads,
    single_thread_pool,
)


def test_torch_works_alone_inside_and_as_before_outside():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with single_thread_pool(2) as pool:
            assert list(pool.map(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
        assert torch.get_num_threads() == 3
        seen = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert seen == [3]
    finally:
        torch.set_num_threads(before)


def test_work_of_each_item_comes_back_in_the_order_of_the_items():
    def work(name: str) -> tuple[str, int]:
        if name == "first":
            time.sleep(0.05)
        return name, torch.get_num_threads()

    assert of_each(work, ["first", "second", "third"]) == [("first", 1), ("second", 1), ("third", 1)]
    assert of_each(work, []) == []


def test_transforms_outside_keep_their_number_of_threads():
    before, of_transforms = torch.get_num_threads(), set_transform_threads(1)
    torch.set_num_threads(3)
    set_transform_threads(1)
    try:
        assert of_each(lambda x: x + 1, [1, 2]) == [2, 3]
        assert set_transform_threads(1) in (0, 1)  # 0: a torch without MKL
    finally:
        torch.set_num_threads(before)
        set_transform_threads(of_transforms)
