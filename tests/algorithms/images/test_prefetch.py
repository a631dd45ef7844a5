"""Work ahead: in order, and never more at once than allowed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cryoloom.algorithms.images.prefetch import prefetch


def test_results_come_in_order_and_no_more_than_allowed_are_held():
    held, most, lock = 0, 0, threading.Lock()

    def work(task):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return task**2

    with ThreadPoolExecutor(4) as pool:
        for task, done in prefetch(pool, work, range(20), 3):
            assert done == task**2
            with lock:
                held -= 1
    assert 1 <= most <= 3 + 1  # the one handed out is let go of only when the next is asked for


def test_an_error_is_raised_where_its_result_is_due():
    with ThreadPoolExecutor(2) as pool:
        results = prefetch(pool, lambda n: 1 // n, [2, 1, 0, 5], 2)
        assert next(results) == (2, 0)
        assert next(results) == (1, 1)
        with pytest.raises(ZeroDivisionError):
            next(results)
