"""Particles cut out: images, or volumes with their weights."""

from __future__ import annotations

import numpy as np

from cryoloom.model import ExtractedImages
from cryoloom.model.table import ArrayTable

PIXELS = np.zeros((6, 8, 8), np.float32)


def extracted(**more):
    table = ArrayTable({"particle": np.arange(2)})
    return ExtractedImages("TS_01", PIXELS, table, table, 4.0, 2.0, 16, 8, True, **more)


def test_volumes_are_those_that_have_weights():
    assert not extracted().is_volume
    assert extracted(weights=np.zeros((12, 8, 5), np.float32)).is_volume
