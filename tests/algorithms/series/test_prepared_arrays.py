"""Arrays that nothing was prepared of."""

from __future__ import annotations

import numpy as np

from cryoloom.algorithms.series.prepared_arrays import made_now


def test_arrays_are_made_when_they_are_needed():
    made = {"x": np.arange(3)}
    assert made_now(5, lambda: made) is made
