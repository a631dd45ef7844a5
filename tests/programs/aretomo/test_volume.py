"""A volume of another thickness than asked for is refused."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.programs.aretomo.volume import volume_shape


def test_sections_are_along_y(tmp_path):
    write_mrc(tmp_path / "v.mrc", np.zeros((12, 10, 8), np.float32), 10.0)
    assert volume_shape(tmp_path / "v.mrc", 100.0, 2.0, 5.0) == (10, 12, 8)
    with pytest.raises(DataUnfitError, match="a volume of 10 planes, expected 20"):
        volume_shape(tmp_path / "v.mrc", 200.0, 2.0, 5.0)
